"""Shapes ↔ geometries in tile pixels: what a control can hold, what it can't, and what is repaired."""

from __future__ import annotations

import math

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from groundlook.core.geo import GeoRef
from groundlook.core.geometry import Box, Ellipse, Point, Polygon, Shape, WholeTile
from groundlook.core.mask import Mask
from groundlook_adapters.vectors.geometry.shapes import to_geometry, to_map, to_pixel, to_shape

SIZE = (100, 80)
NAN = float("nan")


@pytest.mark.parametrize(
    ("shape", "area"),
    [
        (Box(10, 20, 30, 20), 600),
        (Box(10, 20, 30, 20, 45), 600),
        (Polygon(((0, 0), (10, 0), (0, 10))), 50),
        (WholeTile(), 8000),
        (Mask.of(np.eye(3, dtype=bool)), 3),
        (Ellipse(50, 40, 20, 10, 30), 200 * 36 * math.sin(math.pi / 36)),
    ],
)
def test_areas(shape: Shape, area: float) -> None:
    geometry, repaired = to_geometry(shape, SIZE)
    assert geometry is not None
    assert geometry.is_valid
    assert not repaired
    assert geometry.area == pytest.approx(area)


def test_a_point_is_a_point() -> None:
    assert to_geometry(Point(3, 4), SIZE) == (shapely.Point(3, 4), False)


@pytest.mark.parametrize(
    "shape",
    [
        Box(0, 0, 0, 5),
        Box(0, NAN, 5, 5),
        Box(0, 0, float("inf"), 5),
        Polygon(((0, 0), (1, 1))),
        Polygon(((0, 0), (1, 1), (2, 2))),
        Polygon(()),
        Ellipse(0, 0, 0, 3),
        Point(NAN, 0),
        Mask(4, 4, np.zeros((0, 2), dtype=np.int64)),
    ],
)
def test_nothing_is_left(shape: Shape) -> None:
    assert to_geometry(shape, SIZE)[0] is None


def test_a_figure_of_eight_keeps_both_halves() -> None:
    geometry, repaired = to_geometry(Polygon(((0, 0), (10, 10), (10, 0), (0, 10))), SIZE)
    assert repaired
    assert geometry is not None
    assert geometry.is_valid
    assert geometry.area == pytest.approx(50)


def test_the_rectangle_that_label_studio_turns() -> None:
    """x 40 y 30 w 30 h 20 percent, 30°, on 1000 × 500: the corners that the browser draws."""
    corners = [(400, 150), (659.808, 300), (609.808, 386.603), (350, 236.603)]
    geometry, _ = to_geometry(Box(400, 150, 300, 100, 30), (1000, 500))
    assert geometry is not None
    assert np.abs(shapely.get_coordinates(geometry)[:4] - corners).max() < 1e-3
    (back,) = to_shape(geometry, Box, (1000, 500))
    assert isinstance(back, Box)
    assert (back.x, back.y, back.width, back.height, back.rotation) == pytest.approx((400, 150, 300, 100, 30))


@pytest.mark.parametrize("turn", [0, 90, 180, 270, -90, 360])
@pytest.mark.parametrize("noise", [0, 1e-7])
def test_an_upright_box_has_no_rotation_at_all(turn: float, noise: float) -> None:
    geometry, _ = to_geometry(Box(500.25, 300.5, 120, 4, turn), (1000, 500))
    assert geometry is not None
    shaken = shapely.transform(geometry, lambda p: p + noise * np.sin(9999 * p))
    (back,) = to_shape(shaken, Box, (1000, 500))
    assert isinstance(back, Box)
    assert back.rotation == 0
    assert np.abs(np.subtract(back.corners()[[0, 2]].ravel(), geometry.bounds)).max() <= 1e-6


@given(st.floats(0, 89.99), st.floats(2, 500), st.floats(2, 500))
def test_a_turned_box_is_the_same_box(turn: float, width: float, height: float) -> None:
    box = Box(300, 200, width, height, turn)
    geometry, _ = to_geometry(box, (1000, 1000))
    assert geometry is not None
    (back,) = to_shape(geometry, Box, (1000, 1000))
    assert np.abs(back.corners() - box.corners()).max() < 1e-5


def test_the_box_around_many_corners() -> None:
    angles = np.linspace(0, 2 * np.pi, 5000, endpoint=False)
    outline = shapely.Polygon(np.stack([200 + 150 * np.cos(angles), 200 + 40 * np.sin(angles)], axis=1))
    (box,) = to_shape(shapely.affinity.rotate(outline, 25), Box, (400, 400))
    assert isinstance(box, Box)
    geometry, _ = to_geometry(box, (400, 400))
    assert geometry is not None
    assert geometry.area == pytest.approx(300 * 80, rel=1e-3)
    assert geometry.buffer(1e-3).covers(shapely.affinity.rotate(outline, 25))


@pytest.mark.parametrize("ratio", [1.0, 0.999999, 0.9, 0.5, 0.05, 1e-4])
@pytest.mark.parametrize("turn", [0.0, 1e-9, 17.0, 45.0, 89.9999, 90.0, 135.0, -30.0])
def test_an_ellipse_of_points_is_that_ellipse(ratio: float, turn: float) -> None:
    ellipse = Ellipse(400, 300, 200, 200 * ratio, turn)
    geometry, _ = to_geometry(ellipse, SIZE)
    assert geometry is not None
    (back,) = to_shape(geometry, Ellipse, SIZE)
    assert isinstance(back, Ellipse)
    assert 0 <= back.rotation < 90
    assert (back.x, back.y) == pytest.approx((400, 300), abs=1e-3)
    assert sorted([back.rx, back.ry]) == pytest.approx(sorted([ellipse.rx, ellipse.ry]), abs=0.01)
    if ratio < 0.99:
        again, _ = to_geometry(back, SIZE)
        assert again is not None
        assert shapely.hausdorff_distance(again, geometry) < 0.01


def test_an_ellipse_for_what_is_none_has_its_area_and_axes() -> None:
    house = shapely.affinity.rotate(shapely.box(10, 20, 50, 30), 20)
    (ellipse,) = to_shape(house, Ellipse, SIZE)
    assert isinstance(ellipse, Ellipse)
    assert (ellipse.x, ellipse.y) == pytest.approx((30, 25))
    assert math.pi * ellipse.rx * ellipse.ry == pytest.approx(400)
    assert ellipse.rotation == pytest.approx(20)
    assert ellipse.rx / ellipse.ry == pytest.approx(4)


def test_a_polygon_control_holds_no_holes_and_no_parts() -> None:
    ring = shapely.box(0, 0, 10, 10).difference(shapely.box(2, 2, 4, 7))
    both = shapely.MultiPolygon([ring, shapely.box(20, 0, 30, 10)])
    shapes = to_shape(both, Polygon, SIZE)
    assert [to_geometry(s, SIZE)[0].area for s in shapes] == [100, 100]  # type: ignore[union-attr]
    filled = shapely.union_all([to_geometry(s, SIZE)[0] for s in shapes])
    assert shapely.get_num_interior_rings(shapely.get_parts(filled)).sum() == 0
    assert filled.symmetric_difference(both).area == pytest.approx(10)
    (mask,) = to_shape(both, Mask, SIZE)
    kept, _ = to_geometry(mask, SIZE)
    assert kept is not None
    assert shapely.get_num_interior_rings(shapely.get_parts(kept)).sum() == 1
    assert kept.symmetric_difference(both).area == 0


def test_a_mask_is_the_pixels_whose_centres_are_inside() -> None:
    (mask,) = to_shape(shapely.Polygon([(0, 0), (5, 0), (0, 5)]), Mask, (6, 4))
    assert isinstance(mask, Mask)
    assert mask.pixels().astype(int).tolist() == [
        [1, 1, 1, 1, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 0, 0, 0, 0, 0],
    ]


def millionths(low: int, high: int) -> st.SearchStrategy[float]:
    return st.integers(low * 10**6, high * 10**6).map(lambda n: n / 10**6)


@settings(max_examples=40)
@given(st.lists(st.tuples(millionths(-20, 120), millionths(-20, 100)), min_size=3, max_size=9))
def test_a_mask_agrees_with_each_pixel_asked_alone(ring: list[tuple[float, float]]) -> None:
    area, _ = to_geometry(Polygon(tuple(ring)), SIZE)
    if area is None:
        return
    x, y = np.meshgrid(np.arange(100) + 0.5, np.arange(80) + 0.5)
    centres = shapely.points(x.ravel(), y.ravel())
    inside = shapely.contains(area, centres).reshape(80, 100)
    near = shapely.dwithin(area.boundary, centres, 1e-9).reshape(80, 100)
    masks = to_shape(area, Mask, SIZE)
    pixels = masks[0].pixels() if masks and isinstance(masks[0], Mask) else np.zeros((80, 100), dtype=bool)
    assert (pixels == inside)[~near].all()


def test_points_of_anything() -> None:
    assert to_shape(shapely.MultiPoint([(1, 2), (3, 4)]), Point, SIZE) == [Point(1, 2), Point(3, 4)]
    assert to_shape(shapely.box(0, 0, 4, 2), Point, SIZE) == [Point(2, 1)]
    horseshoe = shapely.box(0, 0, 10, 10).difference(shapely.box(1, 1, 9, 10))
    (point,) = to_shape(horseshoe, Point, SIZE)
    assert isinstance(point, Point)
    assert horseshoe.intersects(shapely.Point(point.x, point.y))


@pytest.mark.parametrize("like", [Box, Polygon, Ellipse, Mask, WholeTile])
@pytest.mark.parametrize(
    "geometry",
    [
        shapely.Point(1, 2),
        shapely.LineString([(0, 0), (5, 5)]),
        shapely.Polygon(),
        shapely.GeometryCollection(),
        shapely.Polygon([(0, 0), (1, 1), (2, 2)]),
        shapely.transform(shapely.box(0, 0, 4, 4), lambda p: np.where(p == 4, np.inf, p)),
    ],
)
def test_what_has_no_area_is_no_shape_with_one(like: type[Shape], geometry: shapely.Geometry) -> None:
    assert to_shape(geometry, like, SIZE) == []


@pytest.mark.parametrize("like", [Box, Polygon, Ellipse, Mask])
def test_collections_in_collections(like: type[Shape]) -> None:
    square = shapely.box(0, 0, 10, 10)
    inner = shapely.GeometryCollection([square, shapely.LineString([(0, 0), (50, 50)])])
    (shape,) = to_shape(shapely.GeometryCollection([inner, shapely.Point(70, 70)]), like, SIZE)
    assert to_geometry(shape, SIZE)[0].area == pytest.approx(100, rel=2e-3)  # type: ignore[union-attr]


def test_enormous_coordinates_stay_in_the_tile() -> None:
    (mask,) = to_shape(shapely.box(-1e15, -1e15, 1e15, 1e15), Mask, SIZE)
    assert mask == Mask.of(np.ones((80, 100), dtype=bool))
    assert to_shape(shapely.box(200, 200, 300, 300), Mask, SIZE) == []


@pytest.mark.parametrize("transform", [(0.5, 0, 5e5, 0, -0.5, 5e6), (0.5, 0.1, 5e5, 0.1, 0.5, 5e6)])
def test_rings_wind_counter_clockwise_on_the_map(transform: tuple[float, float, float, float, float, float]) -> None:
    grid = GeoRef("EPSG:32631", transform)
    geometry, _ = to_geometry(Mask.of(np.pad(np.zeros((2, 2), dtype=bool), 2, constant_values=True)), SIZE)
    placed = to_map(geometry, grid)
    assert placed.exterior.is_ccw
    assert not placed.interiors[0].is_ccw
    back = to_pixel(placed, grid)
    assert back.exterior.is_ccw
    assert shapely.hausdorff_distance(back, geometry) < 1e-6
