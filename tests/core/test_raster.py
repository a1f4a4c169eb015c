"""Regions as pixels and back."""

from __future__ import annotations

import numpy as np
import shapely
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from groundlook.core.geometry import Box, Point, Polygon, Shape, WholeTile
from groundlook.core.mask import Mask
from groundlook.core.raster import class_map, crop, enclosed, fill, mask_at, masks_of
from groundlook.core.types import Region

LABELS = ("roof", "water")
coordinates = st.floats(-5, 25, allow_nan=False)
ring = st.lists(st.tuples(coordinates, coordinates), min_size=3, max_size=7)
SIZE = (20, 16)


@given(ring)
def test_a_pixel_is_inside_when_its_centre_is(points: list[tuple[float, float]]) -> None:
    polygon = shapely.Polygon(points)
    if not polygon.is_valid or polygon.area == 0:
        return
    x, y = np.meshgrid(np.arange(SIZE[0]) + 0.5, np.arange(SIZE[1]) + 0.5)
    sure = shapely.distance(polygon.exterior, shapely.points(x, y)) > 1e-6
    inside = fill(np.array(points), *SIZE)
    np.testing.assert_array_equal(inside[sure], shapely.contains_xy(polygon, x, y)[sure])


@given(st.lists(ring, max_size=3))
def test_several_rings_are_even_and_odd_together(rings: list[list[tuple[float, float]]]) -> None:
    """As a polygon and its holes are."""
    points = [np.array(r) for r in rings]
    start = np.concatenate([np.zeros((0, 2)), *points])
    end = np.concatenate([np.zeros((0, 2)), *(np.roll(p, -1, axis=0) for p in points)])
    each = [fill(p, *SIZE) for p in points]
    expected = np.logical_xor.reduce([np.zeros(SIZE[::-1], dtype=bool), *each])
    assert enclosed(start, end, *SIZE) == Mask.of(expected)


def covered(shape: Shape, width: int, height: int) -> NDArray[np.bool_]:
    column, row, inside = crop(shape, width, height)
    canvas = np.zeros((height, width), dtype=bool)
    canvas[row : row + inside.shape[0], column : column + inside.shape[1]] = inside
    return canvas


@given(st.lists(ring, max_size=4))
def test_a_map_of_classes_is_the_regions_drawn_one_by_one(rings: list[list[tuple[float, float]]]) -> None:
    regions = [Region(Polygon(tuple(r)), LABELS[i % 2]) for i, r in enumerate(rings)]
    found = class_map([*regions, Region(WholeTile(), "roof"), Region(Box(0, 0, 9, 9), "tree")], LABELS, *SIZE)
    expected = np.zeros(SIZE[::-1], np.int16)
    drawn = [(fill(r.shape.corners(), *SIZE), LABELS.index(r.label) + 1) for r in regions]
    for inside, number in sorted(drawn, key=lambda d: -int(d[0].sum())):
        expected[inside] = number
    np.testing.assert_array_equal(found, expected)


def test_a_box_on_whole_pixels_has_its_area_and_a_mask_is_cut_to_the_tile() -> None:
    assert covered(Box(2, 3, 5, 4), *SIZE).sum() == 20
    assert covered(Box(-2, -3, 100, 100), *SIZE).all()
    assert covered(Mask.of(np.ones((30, 30), dtype=bool)), *SIZE).all()
    assert covered(Mask.of(np.ones((4, 5), dtype=bool)), *SIZE).sum() == 20
    assert not covered(Box(50, 50, 5, 5), *SIZE).any()
    assert not covered(Point(3, 3), *SIZE).any()
    top = class_map([Region(Box(5, 5, 3, 3), "water"), Region(Box(0, 0, 20, 16), "roof")], LABELS, *SIZE)
    assert top[6, 6] == 2  # the smaller lies on top, whatever the order


@given(arrays(np.int64, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 3)))
def test_masks_of_numbers_are_the_masks_of_each(numbers: NDArray[np.int64]) -> None:
    found = masks_of(numbers)
    assert set(found) == set(np.unique(numbers)) - {0}
    for number, mask in found.items():
        assert mask == Mask.of(numbers == number)


@given(
    arrays(np.bool_, st.tuples(st.integers(1, 6), st.integers(1, 6))),
    st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)),
)
def test_a_mask_in_a_window_is_the_mask_on_the_tile(
    pixels: NDArray[np.bool_], edges: tuple[int, int, int, int]
) -> None:
    left, top, right, bottom = edges
    whole = np.pad(pixels, ((top, bottom), (left, right)))
    assert mask_at(pixels, left, top, whole.shape[1], whole.shape[0]) == Mask.of(whole)
