"""Regions as classes of pixels, to compare areas. A pixel is inside a shape when its centre is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from groundlook.core.geo import Points
from groundlook.core.geometry import has_area
from groundlook.core.mask import Mask
from groundlook.core.types import Region


def class_map(regions: Sequence[Region], place: Mapping[str, int], width: int, height: int) -> NDArray[np.int64]:
    """(H, W): 0 where no region is, else 1 + the place of its label; a smaller region lies on top of a larger one."""
    canvas = np.zeros((height, width), dtype=np.int64)
    kept = [r for r in regions if r.label in place]
    # Twice, since the pixels of many large regions at once take gigabytes.
    areas = [int(_crop(r, width, height)[2].sum()) for r in kept]
    for i in sorted(range(len(kept)), key=lambda i: -areas[i]):
        column, row, inside = _crop(kept[i], width, height)
        canvas[row : row + inside.shape[0], column : column + inside.shape[1]][inside] = place[kept[i].label] + 1
    return canvas


def _crop(region: Region, width: int, height: int) -> tuple[int, int, NDArray[np.bool_]]:
    """Column and row of a window that holds the region's pixels, and these, (h, w)."""
    shape = region.shape
    ring = shape.corners() if isinstance(shape, Mask) or has_area(shape) else np.zeros((0, 2))
    if not len(ring):
        return 0, 0, np.zeros((0, 0), dtype=bool)
    low = np.clip(np.floor(ring.min(axis=0)), 0, (width, height)).astype(np.int64)
    high = np.clip(np.ceil(ring.max(axis=0)), 0, (width, height)).astype(np.int64)
    (left, top), (right, bottom) = low.tolist(), high.tolist()
    if isinstance(shape, Mask):
        return left, top, shape.pixels()[top:bottom, left:right].copy()
    return left, top, _fill(ring - low, right - left, bottom - top)


def _fill(ring: Points, width: int, height: int) -> NDArray[np.bool_]:
    """Even-odd, by the sides that each row's centres cross; (N, 2), x then y, not closed."""
    y = np.arange(height) + 0.5
    (x0, y0), (x1, y1) = ring.T[:, :, None], np.roll(ring, -1, axis=0).T[:, :, None]
    sides, rows = np.nonzero((y0 <= y) != (y1 <= y))
    a, b = y0[sides, 0], y1[sides, 0]
    x = x0[sides, 0] + (y[rows] - a) / (b - a) * (x1[sides, 0] - x0[sides, 0])
    turns = np.zeros((height, width + 1), dtype=np.int64)
    np.add.at(turns, (rows, np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)), 1)
    inside: NDArray[np.bool_] = np.cumsum(turns[:, :width], axis=1) % 2 == 1
    return inside
