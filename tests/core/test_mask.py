"""Masks as runs: one set of pixels, one list of runs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput
from groundlook.core.geometry import envelope
from groundlook.core.mask import Mask

pictures = hnp.arrays(np.bool_, st.tuples(st.integers(1, 20), st.integers(1, 20)))


@given(pictures)
def test_pixels_come_back(pixels: NDArray[np.bool_]) -> None:
    mask = Mask.of(pixels)
    assert (mask.width, mask.height) == (pixels.shape[1], pixels.shape[0])
    back = mask.pixels()
    assert back.dtype == np.bool_
    assert np.array_equal(back, pixels)
    assert mask.area == pixels.sum()


@given(pictures)
def test_runs_are_in_order_and_never_touch(pixels: NDArray[np.bool_]) -> None:
    flat = Mask.of(pixels).runs.reshape(-1)
    assert (np.diff(flat) > 0).all()


@given(pictures)
def test_the_corners_are_those_of_the_box_around_the_pixels(pixels: NDArray[np.bool_]) -> None:
    mask = Mask.of(pixels)
    rows, columns = np.nonzero(pixels)
    if not len(rows):
        assert mask.corners().shape == (0, 2)
        assert envelope(mask) == (0, 0, 0, 0)
        return
    x0, x1, y0, y1 = columns.min(), columns.max() + 1, rows.min(), rows.max() + 1
    assert mask.corners().tolist() == [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]
    assert envelope(mask) == (x0, y0, x1, y1)


@given(pictures, pictures)
def test_equal_masks_are_equal_pixels(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> None:
    same = a.shape == b.shape and bool((a == b).all())
    assert (Mask.of(a) == Mask.of(b)) == same
    assert Mask.of(a) == Mask.of(a.copy())
    assert hash(Mask.of(a)) == hash(Mask.of(a.copy()))


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32])
def test_anything_but_zero_is_inside(dtype: type[np.generic]) -> None:
    pixels = np.array([[0, 1, 2], [255, 0, 0]]).astype(dtype)
    assert Mask.of(pixels).runs.tolist() == [[1, 4]]
    assert Mask.of(pixels[:, ::-1]).runs.tolist() == [[0, 2], [5, 6]]  # not contiguous in memory


def test_a_mask_is_not_its_runs() -> None:
    runs = np.array([[0, 4]])
    assert Mask(4, 2, runs) != Mask(2, 4, runs)
    assert Mask(4, 2, runs) != runs.tolist()


@pytest.mark.parametrize("runs", [[[0, 9]], [[-1, 3]]])
def test_runs_beyond_the_tile_are_refused(runs: list[list[int]]) -> None:
    with pytest.raises(InvalidInput, match="4 × 2 px"):
        Mask(4, 2, np.array(runs)).pixels()
