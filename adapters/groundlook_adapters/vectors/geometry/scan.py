"""Polygons → masks: the pixels whose centres are inside."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely

from groundlook.core.mask import Mask


def pixels_inside(area: Any, size: tuple[int, int]) -> Mask:
    """The pixels of a tile of `size` (width, height) whose centres lie in `area`, a valid Polygon or MultiPolygon in
    tile pixels. The inverse of `trace.outlines`. A centre on an edge belongs to the side below it and to its right.

    Even-odd scan lines (Foley et al., Computer Graphics, §3.6) through the centres of the rows: each edge turns one
    place per row over. O(edges + rows crossed), times a logarithm for the sort.
    """
    width, height = size
    points, ring = shapely.get_coordinates(shapely.get_rings(shapely.get_parts(area)), return_index=True)
    same = ring[1:] == ring[:-1]
    start, end = points[:-1][same], points[1:][same]
    up = start[:, 1] > end[:, 1]
    start[up], end[up] = end[up], start[up]
    # Rows r with start.y ≤ r + ½ < end.y
    first = np.ceil(np.clip(start[:, 1] - 0.5, 0, height)).astype(np.int64)
    stop = np.ceil(np.clip(end[:, 1] - 0.5, 0, height)).astype(np.int64)
    count = stop - first
    edge = np.repeat(np.arange(len(count)), count)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    (x0, y0), (x1, y1) = start[edge].T, end[edge].T
    x = x0 + (row + 0.5 - y0) * ((x1 - x0) / (y1 - y0))
    column = np.ceil(np.clip(x - 0.5, 0, width)).astype(np.int64)
    turns, times = np.unique(row * width + column, return_counts=True)
    # Where two edges turn the same place over nothing changes: so a row's end and the next row's start join
    return Mask(width, height, turns[times % 2 == 1].reshape(-1, 2))
