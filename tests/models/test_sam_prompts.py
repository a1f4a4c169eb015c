"""What SAM refuses, and how it says so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("segment_anything")

from groundlook.core.errors import InvalidImage, InvalidInput
from groundlook.core.geo import Tile
from groundlook.core.mask import Mask
from groundlook.core.prompts import Picture, Prompts
from groundlook.models.sam.pictures import picture_of
from groundlook.models.sam.segment import SamSegmenter
from tests.weights.house import Memory, click, one_thread, tiny


@pytest.fixture(autouse=True, scope="module")
def _quick() -> Iterator[None]:
    with one_thread():
        yield


GREY = Tile(np.full((90, 120, 3), 128, np.uint8))


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> SamSegmenter:
    return tiny(tmp_path_factory.mktemp("runtimes"))


def points(*given: tuple[float, float], positive: bool = True) -> Prompts:
    return Prompts(np.array(given, np.float32), np.full(len(given), positive))


BAD: list[tuple[Prompts, str]] = [
    (points((120.5, 10)), r"the point \(120.5, 10\) is outside the picture of 120 × 90 px"),
    (points((10, -1)), r"the point \(10, -1\) is outside the picture of 120 × 90 px"),
    (points((5, 5), (10, 91)), r"the point \(10, 91\) is outside"),
    (points((float("nan"), 5)), "coordinates must be finite"),
    (points((float("inf"), 5)), "coordinates must be finite"),
    (points((5, 5), (6, 6), positive=False), "only negative points; point at the object itself first"),
    (Prompts(), "points at nothing: give a point, a box or an earlier mask"),
    (Prompts(box=(10, 10, 10, 30)), r"the box \(10, 10, 10, 30\) has no area"),
    (Prompts(box=(30, 30, 10, 10)), "has no area"),
    (Prompts(box=(130, 10, 150, 30)), r"the box \(130, 10, 150, 30\) is outside the picture of 120 × 90 px"),
    (Prompts(box=(0, 0, float("nan"), 5)), "coordinates must be finite"),
    (Prompts(text="every roof"), "SAM does not read; for 'every roof' connect a model that takes text"),
    (Prompts(mask=Mask.of(np.ones((120, 90), bool))), "the mask is of 90 × 120 px, the picture of 120 × 90 px"),
    (Prompts(mask=Mask.of(np.zeros((90, 120), bool))), "points at a mask without a pixel"),
    (Prompts(np.zeros((2, 2), np.float32), np.array([True])), "2 points, but 1 signs"),
    (points(*[(5, 5)] * 65), "65 points; at most 64"),
]


@pytest.mark.parametrize(("prompts", "said"), BAD, ids=[said[:30] for _, said in BAD])
def test_a_prompt_that_means_nothing_is_refused_by_name(segmenter: SamSegmenter, prompts: Prompts, said: str) -> None:
    with pytest.raises(InvalidInput, match=f"^prompt 2.*{said}"):
        segmenter.segment(picture_of(GREY), [click(5, 5), prompts])


def test_edges_of_the_picture_are_inside(segmenter: SamSegmenter) -> None:
    asked = [click(0, 0), click(120, 90), Prompts(box=(-5, -5, 60, 60))]
    assert [(c.mask.width, c.mask.height) for c in segmenter.segment(picture_of(GREY), asked)] == [(120, 90)] * 3


def test_no_prompts_need_no_picture(tmp_path: Path) -> None:
    memory = Memory()
    assert tiny(tmp_path, memory).segment(picture_of(GREY), []) == []
    assert memory.made == 0


@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.float64])
def test_pixels_that_are_not_rendered_are_refused(segmenter: SamSegmenter, dtype: Any) -> None:
    pixels = np.full((40, 40, 3), 7, dtype)
    if dtype is not np.uint16:
        pixels[3, 3] = np.nan
    with pytest.raises(InvalidInput, match=f"tile pixels are {np.dtype(dtype)}: render the tile to uint8"):
        segmenter.segment(picture_of(Tile(pixels)), [click(5, 5)])


@pytest.mark.parametrize("bands", [1, 4])
def test_one_band_and_four_are_taken(segmenter: SamSegmenter, bands: int) -> None:
    tile = Tile(np.full((40, 60, bands), 99, np.uint8))
    (cut,) = segmenter.segment(picture_of(tile), [click(5, 5)])
    assert (cut.mask.width, cut.mask.height) == (60, 40)


def test_a_picture_over_the_limit_is_not_even_read(segmenter: SamSegmenter) -> None:
    def read() -> Tile:
        raise AssertionError("it was read")

    huge = Picture("huge", (8193, 20), read)
    for ask in (lambda: segmenter.segment(huge, [click(5, 5)]), lambda: segmenter.encode(huge)):
        with pytest.raises(InvalidInput, match="8193 × 20 px: SAM takes 1 to 8192 px a side"):
            ask()


def test_a_strip_of_one_pixel_is_answered(segmenter: SamSegmenter) -> None:
    for shape in ((1, 600, 3), (600, 1, 3), (1, 1, 3)):
        (cut,) = segmenter.segment(picture_of(Tile(np.full(shape, 50, np.uint8))), [click(0.5, 0.5)])
        assert (cut.mask.height, cut.mask.width) == shape[:2]


def test_a_picture_that_changed_under_its_key_is_refused(segmenter: SamSegmenter) -> None:
    changed = Picture("changed", (100, 90), lambda: GREY)
    with pytest.raises(InvalidImage, match="the picture is 120 × 90 px and was 100 × 90"):
        segmenter.segment(changed, [click(5, 5)])


def test_what_reading_raises_comes_through_and_nothing_is_kept(tmp_path: Path) -> None:
    def gone() -> Tile:
        raise InvalidImage("the file is gone")

    memory = Memory()
    segmenter = tiny(tmp_path, memory)
    with pytest.raises(InvalidImage, match="gone"):
        segmenter.encode(Picture("gone", (120, 90), gone))
    assert memory.made == 0
    assert segmenter.encode(Picture("gone", (120, 90), lambda: GREY))
    assert not segmenter.encode(Picture("gone", (120, 90), gone))
    assert (memory.made, memory.bulk) == (1, 1)
