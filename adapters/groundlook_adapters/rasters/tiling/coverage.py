"""How much of each window of a scene has data."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groundlook.core.geo import WindowPx
from groundlook_adapters.rasters.reading.masks import all_valid, valid_decimated, valid_pixels

_SAMPLES = 64
"""Samples along a window's side, at least, that an overview must leave."""
_NEAR = 0.05
"""A share that an overview gives is off by less than this: nearest-neighbour samples, 64 × 64 of them."""


def shares(dataset: Any, windows: Iterable[WindowPx], least: float) -> Iterator[tuple[WindowPx, float]]:
    """Each window with the share of its pixels that have data (0…1), in their order, as the caller takes them.

    `windows`: row by row, as `core.tiling.grid` gives them. Where an open raster has overviews its mask is read from
    one, a row of windows at a time; a window whose share is then near `least` is looked at in full. Without overviews
    the mask is read window by window; a raster that can't have holes is not read at all.
    """
    if all_valid(dataset):
        yield from ((window, 1.0) for window in windows)
        return
    for (row, height), line in itertools.groupby(windows, key=lambda w: (w[1], w[3])):
        members = list(line)
        factor = _factor(dataset, min(height, members[0][2]))
        strip = _strip(dataset, row, height, factor) if factor > 1 else None
        for window in members:
            share = None if strip is None else _share(strip, window, dataset.width)
            if share is None or abs(share - least) < _NEAR:
                share = float(valid_pixels(dataset, window).mean())
            yield window, share


def _factor(dataset: Any, side: int) -> int:
    """Of the coarsest overview that is fine enough; 1 where there is none."""
    factors = [f for f in dataset.overviews(1) if f * _SAMPLES <= side]
    return max(factors, default=1)


def _strip(dataset: Any, row: int, height: int, factor: int) -> NDArray[np.bool_]:
    """(height / factor, width / factor), True where the rows have data, as `masks.valid_pixels` says it."""
    shape = (max(1, height // factor), max(1, dataset.width // factor))
    return valid_decimated(dataset, shape, window=(0, row, dataset.width, height))


def _share(strip: NDArray[np.bool_], window: WindowPx, width: int) -> float:
    scale = strip.shape[1] / width
    start, end = int(window[0] * scale), int(np.ceil((window[0] + window[2]) * scale))
    return float(strip[:, start : max(end, start + 1)].mean())
