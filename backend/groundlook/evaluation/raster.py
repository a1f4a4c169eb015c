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
    parts = [(_covered(r, width, height), place[r.label] + 1) for r in regions if r.label in place]
    for inside, value in sorted(parts, key=lambda part: -int(part[0].sum())):
        canvas[inside] = value
    return canvas


def _covered(region: Region, width: int, height: int) -> NDArray[np.bool_]:
    shape = region.shape
    if isinstance(shape, Mask):
        canvas = np.zeros((height, width), dtype=bool)
        pixels = shape.pixels()[:height, :width]
        canvas[: pixels.shape[0], : pixels.shape[1]] = pixels
        return canvas
    return _fill(shape.corners(), width, height) if has_area(shape) else np.zeros((height, width), dtype=bool)


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
