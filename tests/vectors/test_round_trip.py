"""Pixel → map → pixel for every kind of region, on every kind of grid: nothing moves."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from groundlook.core.geo import GeoRef
from groundlook.core.geometry import Box, Ellipse, Point, Polygon, Shape, WholeTile
from groundlook.core.mask import Mask
from groundlook_adapters.labelstudio.values import SHAPES, decode_value, encode_value
from groundlook_adapters.vectors.geometry.shapes import shape_to_map, to_geometry, to_pixel, to_shape

SIZE = (1024, 768)

at = st.floats(-50, 1074)
length = st.floats(1, 900)
turn = st.floats(-360, 360)


@st.composite
def grids(draw: st.DrawFn) -> GeoRef:
    """Grids as scenes have them, upright, turned, sheared or mirrored, at the far ends of their CRS."""
    crs, pixel, reach = draw(
        st.sampled_from(
            [
                ("EPSG:32631", (0.02, 30.0), 1e7),
                ("EPSG:3031", (0.5, 1000.0), 4.5e6),
                ("EPSG:3995", (0.5, 1000.0), 4.5e6),
                ("EPSG:4326", (1e-7, 0.1), 180.0),
            ]
        )
    )
    sx, sy = draw(st.floats(*pixel)), draw(st.floats(*pixel))
    angle = math.radians(draw(st.one_of(st.just(0.0), st.floats(-180, 180))))
    skew = math.tan(math.radians(draw(st.one_of(st.just(0.0), st.floats(-45, 45)))))
    mirrored = draw(st.sampled_from([-1, -1, 1]))  # north up is mirrored: rows go down
    matrix = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    (a, b), (d, e) = (matrix @ np.array([[sx, skew * sy], [0, mirrored * sy]])).tolist()
    x, y = draw(st.floats(-reach, reach)), draw(st.floats(-reach, reach))
    return GeoRef(crs, (a, b, x, d, e, y))


@st.composite
def polygons(draw: st.DrawFn) -> Polygon:
    """Rings around a centre, corners at any distance: simple, and seldom convex."""
    n = draw(st.integers(3, 12))
    radii = draw(st.lists(st.floats(5, 400), min_size=n, max_size=n))
    x, y = draw(at), draw(at)
    angles = np.linspace(0, 2 * np.pi, n, endpoint=False)
    return Polygon(
        tuple((x + r * math.cos(t), y + r * math.sin(t)) for r, t in zip(radii, angles.tolist(), strict=True))
    )


@st.composite
def masks(draw: st.DrawFn) -> Mask:
    """Blocks with holes and parts, down to single pixels that touch by a corner."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    coarse = rng.random((12, 16)) < draw(st.floats(0.05, 0.95))
    pixels = np.kron(coarse, np.ones((64, 64), dtype=bool))
    speckle = rng.random(pixels.shape) < draw(st.sampled_from([0.0, 0.001]))
    mask = Mask.of(pixels ^ speckle)
    return mask if len(mask.runs) else Mask.of(np.ones_like(pixels))


boxes = st.builds(Box, at, at, length, length, st.one_of(st.just(0.0), turn))
ellipses = st.builds(Ellipse, at, at, length, length, st.one_of(st.just(0.0), turn))
points = st.builds(Point, at, at)


def there_and_back(shape: Shape, grid: GeoRef) -> Shape:
    placed, repaired = shape_to_map(shape, grid, SIZE)
    assert placed is not None
    assert not repaired
    assert placed.is_valid
    (back,) = to_shape(to_pixel(placed, grid), type(shape), SIZE)
    return back


def distance(a: Shape, b: Shape) -> float:
    """The furthest that a corner of one outline is from the other outline."""
    first, second = (to_geometry(s, SIZE)[0] for s in (a, b))
    assert first is not None
    assert second is not None
    return float(shapely.hausdorff_distance(first, second))


@given(boxes, grids())
def test_boxes(box: Box, grid: GeoRef) -> None:
    back = there_and_back(box, grid)
    assert isinstance(back, Box)
    assert 0 <= back.rotation < 90
    assert distance(box, back) < 1e-3


@given(st.builds(Box, at, at, length, length), grids())
def test_an_upright_box_comes_back_upright(box: Box, grid: GeoRef) -> None:
    back = there_and_back(box, grid)
    assert isinstance(back, Box)
    assert np.abs(np.subtract(box.corners(), back.corners())).max() < 1e-3


@given(polygons(), grids())
def test_polygons(polygon: Polygon, grid: GeoRef) -> None:
    back = there_and_back(polygon, grid)
    assert isinstance(back, Polygon)
    assert len(back.points) == len(polygon.points)
    assert distance(polygon, back) < 1e-3


@given(ellipses, grids())
def test_ellipses(ellipse: Ellipse, grid: GeoRef) -> None:
    back = there_and_back(ellipse, grid)
    assert isinstance(back, Ellipse)
    assert 0 <= back.rotation < 90
    assert np.hypot(back.x - ellipse.x, back.y - ellipse.y) < 1e-3
    assert sorted([back.rx, back.ry]) == pytest.approx(sorted([ellipse.rx, ellipse.ry]), abs=1e-3)
    # Both outlines are 72 corners; of a circle they need not be the same 72
    reach = max(ellipse.rx, ellipse.ry)
    assert distance(ellipse, back) < 0.01 + reach * (1 - math.cos(math.pi / 72))


@given(st.one_of(boxes, polygons(), ellipses, points, masks()), grids())
def test_percent_to_map_to_percent(shape: Shape, grid: GeoRef) -> None:
    """The whole way of an annotation: Label Studio's JSON → pixels → map → pixels → JSON → pixels."""
    kind = next(name for name, made in SHAPES.items() if isinstance(shape, made))

    def through_json(known: Shape) -> Shape:
        return decode_value(kind, json.loads(json.dumps(encode_value(known, SIZE))), SIZE)

    labelled = through_json(shape)
    back = through_json(there_and_back(labelled, grid))
    if isinstance(shape, Mask):
        assert back == shape
    elif not isinstance(shape, Ellipse):
        assert distance(back, shape) < 1e-3
    else:
        assert distance(back, shape) < 0.01 + max(shape.rx, shape.ry) * (1 - math.cos(math.pi / 72))


@given(points, grids())
def test_points(point: Point, grid: GeoRef) -> None:
    back = there_and_back(point, grid)
    assert isinstance(back, Point)
    assert np.hypot(back.x - point.x, back.y - point.y) < 1e-3


@given(masks(), grids())
def test_masks_come_back_pixel_for_pixel(mask: Mask, grid: GeoRef) -> None:
    assert there_and_back(mask, grid) == mask


@given(grids())
def test_whole_tiles(grid: GeoRef) -> None:
    placed, _ = shape_to_map(WholeTile(), grid, SIZE)
    assert placed is not None
    assert to_shape(to_pixel(placed, grid), WholeTile, SIZE) == [WholeTile()]
    (as_box,) = to_shape(to_pixel(placed, grid), Box, SIZE)
    assert distance(as_box, WholeTile()) < 1e-3
