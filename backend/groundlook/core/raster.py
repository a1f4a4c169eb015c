"""Regions as pixels and back. A pixel is inside a shape when its centre is; pixel (0, 0) has its centre at (.5, .5)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from groundlook.core.geo import Points
from groundlook.core.geometry import Shape, has_area
from groundlook.core.mask import Mask
from groundlook.core.types import Region


def crop(shape: Shape, width: int, height: int) -> tuple[int, int, NDArray[np.bool_]]:
    """The pixels inside a shape, without most of the empty rest of a `width` × `height` tile: column and row of a
    window, and its pixels (h, w). Points and whole tiles cover nothing; what lies outside the tile is cut off, also of
    a Mask of another size."""
    if not (isinstance(shape, Mask) or has_area(shape)):
        return 0, 0, np.zeros((0, 0), dtype=bool)
    ring = shape.corners()
    if not len(ring):
        return 0, 0, np.zeros((0, 0), dtype=bool)
    low = np.clip(np.floor(ring.min(axis=0)), 0, (width, height)).astype(np.int64)
    high = np.clip(np.ceil(ring.max(axis=0)), 0, (width, height)).astype(np.int64)
    (left, top), (right, bottom) = low.tolist(), high.tolist()
    if isinstance(shape, Mask):
        return left, top, shape.pixels()[top:bottom, left:right].copy()
    return left, top, fill(ring - low, right - left, bottom - top)


def fill(ring: Points, width: int, height: int) -> NDArray[np.bool_]:
    """(H, W): the pixels inside a ring, see `enclosed`. `ring`: (N, 2), x then y, not closed."""
    return enclosed(ring, np.roll(ring, -1, axis=0), width, height).pixels()


def enclosed(start: Points, end: Points, width: int, height: int) -> Mask:
    """The pixels of a `width` × `height` tile whose centre an odd number of sides separates from the outside. Side i
    goes from `start[i]` to `end[i]`, (N, 2) each, x then y in px; together they close one or more rings. A centre on a
    side belongs to what lies below it and to its right. OpenCV's fillPoly also paints all that the outline touches.

    Even-odd scan lines (Foley et al., Computer Graphics, §3.6) through the centres of the rows: each side turns one
    place per row over. O(sides + rows crossed), times a logarithm for the sort.
    """
    up = start[:, 1:] > end[:, 1:]
    start, end = np.where(up, end, start), np.where(up, start, end)
    # Rows r with start.y ≤ r + ½ < end.y
    first = np.ceil(np.clip(start[:, 1] - 0.5, 0, height)).astype(np.int64)
    stop = np.ceil(np.clip(end[:, 1] - 0.5, 0, height)).astype(np.int64)
    count = stop - first
    side = np.repeat(np.arange(len(count)), count)
    row = np.arange(len(side)) - np.repeat(np.cumsum(count) - count, count) + first[side]
    (x0, y0), (x1, y1) = start[side].T, end[side].T
    x = x0 + (row + 0.5 - y0) * ((x1 - x0) / (y1 - y0))
    column = np.ceil(np.clip(x - 0.5, 0, width)).astype(np.int64)
    turns, times = np.unique(row * width + column, return_counts=True)
    # Where two sides turn the same place over nothing changes: so a row's end and the next row's start join
    return Mask(width, height, turns[times % 2 == 1].reshape(-1, 2))


def class_map(regions: Sequence[Region], labels: Sequence[str], width: int, height: int) -> NDArray[np.int16]:
    """(H, W): 0 where no region is, else 1 + the index of its label; a smaller region lies on top of a larger one.
    Regions whose label is not in `labels` are left out."""
    place = {label: i + 1 for i, label in enumerate(labels)}
    canvas = np.zeros((height, width), dtype=np.int16)
    kept = [r for r in regions if r.label in place]
    # Twice, since the pixels of many large regions at once take gigabytes.
    areas = [int(crop(r.shape, width, height)[2].sum()) for r in kept]
    for i in sorted(range(len(kept)), key=lambda i: -areas[i]):
        column, row, inside = crop(kept[i].shape, width, height)
        canvas[row : row + inside.shape[0], column : column + inside.shape[1]][inside] = place[kept[i].label]
    return canvas


def masks_of(numbers: NDArray[np.integer]) -> dict[int, Mask]:
    """(H, W) of numbers → the Mask of each number but 0, all in one pass."""
    height, width = numbers.shape
    flat = np.ascontiguousarray(numbers).reshape(-1)
    edges = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1, [flat.size]]).astype(np.int64)
    values = flat[edges[:-1]]
    order = np.argsort(values, kind="stable")
    runs = np.stack([edges[:-1], edges[1:]], axis=1)[order]
    found, starts = np.unique(values[order], return_index=True)
    parts = np.split(runs, starts[1:])
    return {int(n): Mask(width, height, part) for n, part in zip(found, parts, strict=True) if n != 0}


def mask_at(pixels: NDArray[np.bool_], column: int, row: int, width: int, height: int) -> Mask:
    """The Mask of a `width` × `height` tile of which the window from (column, row) on is `pixels`, the rest empty. The
    window lies in the tile."""
    padded = np.zeros((pixels.shape[0], pixels.shape[1] + 2), dtype=np.int8)
    padded[:, 1:-1] = pixels
    turns = np.diff(padded, axis=1)
    rows, starts = np.nonzero(turns == 1)
    _, ends = np.nonzero(turns == -1)
    base = (rows + row) * width + column
    first, last = base + starts, base + ends
    joined = first[1:] == last[:-1]  # a run that goes on in the next row is one run
    keep_first, keep_last = np.append(True, ~joined)[: len(first)], np.append(~joined, True)[: len(last)]
    return Mask(width, height, np.stack([first[keep_first], last[keep_last]], axis=1).astype(np.int64))
