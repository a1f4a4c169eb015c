"""Mask → polygons: exact along pixel edges, valid, and the same ground as GDAL's polygonizer finds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import rasterio.features
import shapely
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput
from groundlook.core.mask import Mask
from groundlook_adapters.vectors.geometry.scan import pixels_inside
from groundlook_adapters.vectors.geometry.trace import outlines

small = hnp.arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12)))


def drawn(*rows: str) -> Mask:
    return Mask.of(np.array([[c == "#" for c in row] for row in rows]))


def gdal(pixels: NDArray[np.bool_]) -> list[Any]:
    found = rasterio.features.shapes(pixels.astype(np.uint8), mask=pixels, connectivity=4)
    return [shapely.make_valid(shapely.geometry.shape(shape)) for shape, _ in found]


def turns_everywhere(ring: Any) -> bool:
    """Whether every edge is upright or level and follows one of the other kind."""
    steps = np.diff(shapely.get_coordinates(ring), axis=0)
    level = steps[:, 1] == 0
    return bool(((steps == 0).sum(axis=1) == 1).all() and (level != np.roll(level, 1)).all())


@given(small)
def test_the_same_ground_as_gdal(pixels: NDArray[np.bool_]) -> None:
    found, expected = outlines(Mask.of(pixels)), gdal(pixels)
    assert found.is_valid
    assert found.area == pixels.sum()
    if not pixels.any():
        assert found.is_empty
        return
    parts = shapely.get_parts(found)
    assert len(parts) == len(expected)
    assert shapely.union_all(expected).symmetric_difference(found).area == 0
    for part in parts:
        assert part.exterior.is_ccw
        assert not any(hole.is_ccw for hole in part.interiors)
        assert all(turns_everywhere(ring) for ring in (part.exterior, *part.interiors))
        assert min(shapely.symmetric_difference(part, e).area for e in expected) == 0


@given(small)
def test_a_mask_comes_back(pixels: NDArray[np.bool_]) -> None:
    mask = Mask.of(pixels)
    assert pixels_inside(outlines(mask), (mask.width, mask.height)) == mask


def test_large_noise_is_exact() -> None:
    pixels = np.random.default_rng(4).random((512, 700)) < 0.6
    found = outlines(Mask.of(pixels))
    assert found.is_valid
    assert found.area == pixels.sum()
    assert len(shapely.get_parts(found)) == len(gdal(pixels))


def test_parts_that_touch_by_a_corner_stay_two() -> None:
    found = outlines(drawn("#.", ".#"))
    assert found.geom_type == "MultiPolygon"
    assert found.equals(shapely.MultiPolygon([shapely.box(0, 0, 1, 1), shapely.box(1, 1, 2, 2)]))


@pytest.mark.parametrize(
    ("rows", "holes"),
    [
        (("#####", "#.#.#", "#####"), 2),
        (("####", "#.##", "##.#", "####"), 2),  # holes that touch by a corner
        (("###.", "#.##", "####"), 1),
        (("##.", "#.#", "###"), 1),  # the ring meets itself by a corner: a hole, not a bay
    ],
)
def test_one_component_is_one_valid_polygon(rows: tuple[str, ...], holes: int) -> None:
    mask = drawn(*rows)
    found = outlines(mask)
    assert found.geom_type == "Polygon"
    assert found.is_valid
    assert len(found.interiors) == holes
    assert found.area == mask.area


def test_a_part_in_a_hole_is_a_part_of_its_own() -> None:
    found = outlines(drawn("#####", "#...#", "#.#.#", "#...#", "#####"))
    assert [len(p.interiors) for p in found.geoms] == [1, 0]
    assert found.area == 17


def test_a_run_that_goes_on_in_the_next_rows() -> None:
    found = outlines(Mask(4, 4, np.array([[2, 14]])))
    corners = [(2, 0), (4, 0), (4, 3), (2, 3), (2, 4), (0, 4), (0, 1), (2, 1)]
    assert found.equals(shapely.Polygon(corners))


@pytest.mark.parametrize("runs", [[[-1, 3]], [[0, 17]], [[5, 5]], [[8, 4]], [[0, 4], [4, 8]], [[6, 8], [0, 2]]])
def test_runs_that_make_no_mask_are_refused(runs: list[list[int]]) -> None:
    with pytest.raises(InvalidInput, match="4 × 4"):
        outlines(Mask(4, 4, np.array(runs)))
