"""Few pixels of a whole scene, in bounded memory and time: for its stretch and for its quick-look.

A decimated read of a raster without overviews decodes all of it. So a large one without overviews is looked at in a
fixed grid of blocks instead: the same file gives the same sample on every machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groundlook.core.geo import WindowPx
from groundlook_adapters.rasters.reading.masks import all_valid, has_nodata, in_every, valid_decimated, valid_pixels
from groundlook_adapters.rasters.reading.opened import checked, read_bands

SIDE = 1024
"""Longest side, px, of the overview that the stretch is computed from."""

GRID, BLOCK = 8, 256
"""Without overviews: so many windows across and down, of so many pixels."""

WHOLE_PIXELS = (GRID * BLOCK) ** 2
"""A raster, or its nearest overview, up to this size is read whole and decimated."""

QUICK_PIXELS = 2**28
"""A quick-look decodes at most this many pixels of a band; a larger raster without overviews is shown by cells."""

_CELLS = 64
_SCAN = 2048

Sample = tuple[NDArray[Any], NDArray[np.bool_]]
"""(H, W, B) in the raster's dtype, and (H, W), True where there is data."""


def sample(dataset: Any, bands: Sequence[int]) -> Sample:
    """Of an open raster: an overview of at most `SIDE` px where there is one (or where the raster is small), else
    every second pixel of `GRID`² windows evenly spread. No pixel with data: those of the first window that has one."""
    # A nodata value in one of the bands is no value to stretch to, whatever the other bands have there.
    for every in (True, False) if len(bands) > 1 and has_nodata(dataset, bands) else (False,):
        if _readable(dataset) <= WHOLE_PIXELS:
            pixels, valid = decimated(dataset, bands, SIDE, every)
        else:
            pixels, valid = _of_windows(dataset, bands, every)
        if valid.any():
            return pixels, valid
    found = first_with_data(dataset)
    return (pixels, valid) if found is None else _window(dataset, bands, found, 1)


def decimated(dataset: Any, bands: Sequence[int], side: int, every: bool = False) -> Sample:
    """The whole raster at most `side` px long, nearest neighbour, through its overviews where it has some. `every`:
    only what has data in all of `bands` is valid."""
    scale = max(1.0, max(dataset.width, dataset.height) / side)
    shape = (max(1, int(dataset.height / scale)), max(1, int(dataset.width / scale)))
    pixels = np.ascontiguousarray(read_bands(dataset, bands, shape=shape).transpose(1, 2, 0))
    valid = valid_decimated(dataset, shape, bands)
    if every and has_nodata(dataset, bands):
        valid &= in_every(dataset, bands, out_shape=shape)
    return pixels, valid


def _readable(dataset: Any) -> int:
    """Pixels that a decimated read to `SIDE` decodes: those of the smallest overview that is large enough."""
    width, height = dataset.width, dataset.height
    factors = [1, *(dataset.overviews(1) if dataset.count else [])]
    enough = [f for f in factors if max(width, height) / f >= SIDE] or [1]
    return int(width / max(enough)) * int(height / max(enough))


def _starts(length: int, size: int, count: int) -> list[int]:
    """At most `count` starts of windows of `size`, from one end to the other."""
    if length <= size * count:
        return list(range(0, max(1, length), size))
    return [(length - size) * i // (count - 1) for i in range(count)]


def _of_windows(dataset: Any, bands: Sequence[int], every: bool) -> Sample:
    pixels, valid = [], []
    for row in _starts(dataset.height, BLOCK, GRID):
        for column in _starts(dataset.width, BLOCK, GRID):
            window = (column, row, min(BLOCK, dataset.width - column), min(BLOCK, dataset.height - row))
            block, mask = _window(dataset, bands, window, 2, every)
            pixels.append(block.reshape(1, -1, len(bands)))
            valid.append(mask.reshape(1, -1))
    return np.concatenate(pixels, axis=1), np.concatenate(valid, axis=1)


def _window(dataset: Any, bands: Sequence[int], window: WindowPx, step: int, every: bool = False) -> Sample:
    place = checked(dataset, window, len(bands))
    pixels = read_bands(dataset, bands, window=place)[:, ::step, ::step]
    valid = valid_pixels(dataset, window)
    if every and has_nodata(dataset, bands):
        valid &= in_every(dataset, bands, window=place)
    return np.ascontiguousarray(pixels.transpose(1, 2, 0)), valid[::step, ::step]


def first_with_data(dataset: Any) -> WindowPx | None:
    """The first window of the raster, row by row, with a valid pixel; None where there is none at all."""
    for window in _windows(dataset, _SCAN):
        if all_valid(dataset) or valid_pixels(dataset, window).any():
            return window
    return None


def _windows(dataset: Any, side: int) -> Iterator[WindowPx]:
    for row in range(0, dataset.height, side):
        for column in range(0, dataset.width, side):
            yield column, row, min(side, dataset.width - column), min(side, dataset.height - row)


def overview(dataset: Any, bands: Sequence[int], side: int, every: bool = False) -> Sample:
    """The whole raster, its longest side at most `side` px, for looking at. One without overviews and larger than
    `QUICK_PIXELS` is shown coarsely: one pixel for each of at most 64² cells, enlarged; gdaladdo makes it sharp.
    `every`: see `decimated`."""
    if _readable(dataset) <= QUICK_PIXELS:
        return decimated(dataset, bands, side, every)
    rows, columns = _cells(dataset.height), _cells(dataset.width)
    pixels = np.zeros(
        (len(rows), len(columns), len(bands)), dtype=np.result_type(*(dataset.dtypes[band - 1] for band in bands))
    )
    valid = np.zeros((len(rows), len(columns)), dtype=bool)
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            one, mask = _window(dataset, bands, (column, row, 1, 1), 1, every)
            pixels[i, j], valid[i, j] = one[0, 0], mask[0, 0]
    scale = max(dataset.width, dataset.height) / side
    y = np.arange(max(1, int(dataset.height / scale))) * len(rows) // max(1, int(dataset.height / scale))
    x = np.arange(max(1, int(dataset.width / scale))) * len(columns) // max(1, int(dataset.width / scale))
    return np.ascontiguousarray(pixels[y][:, x]), np.ascontiguousarray(valid[y][:, x])


def _cells(length: int) -> list[int]:
    """The middle of each of at most `_CELLS` equal parts."""
    count = min(_CELLS, length)
    return [(2 * i + 1) * length // (2 * count) for i in range(count)]
