"""Compiled loops over pairs of boxes that overlap. Imported on first use only, numba is slow to import.

The boxes are listed in bands about as high as they are, in each by their left sides, and each is compared with those
that begin before it ends. Memory is then read one place after the other, and every pair is looked at once: twice as
fast as asking a grid for the neighbours of each box, until there are many pairs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from groundlook_adapters.vectors.seams.boxes_kernels import Ints, Short, _compiled

Boxes = NDArray[np.float32]


@_compiled
def by_left(boxes: Boxes) -> tuple[Short, Short, Short]:
    """Rows by their left sides, in columns of a quarter as many as there are boxes; the columns in which each of them
    begins and ends."""
    count = len(boxes)
    left, right = np.inf, -np.inf
    for i in range(count):
        left, right = min(left, np.float64(boxes[i, 0])), max(right, np.float64(boxes[i, 2]))
    columns = min(max(count // 4, 1), 1 << 16)
    scale = columns / max((right - left) * 1.0001, 1e-9)
    places = np.zeros(columns + 1, np.int32)
    for i in range(count):
        places[int((boxes[i, 0] - left) * scale) + 1] += 1
    for c in range(columns):
        places[c + 1] += places[c]
    rows, begins, ends = np.empty(count, np.int32), np.empty(count, np.int32), np.empty(count, np.int32)
    for i in range(count):
        column = int((boxes[i, 0] - left) * scale)
        n = places[column]
        rows[n], begins[n], ends[n] = i, column, int((boxes[i, 2] - left) * scale)
        places[column] += 1
    return rows, begins, ends


@_compiled
def in_bands(boxes: Boxes) -> tuple[Short, Short, Short]:
    """Where the list of each band begins (bands + 1,); the lists, each in ascending order; each box's first band."""
    count = len(boxes)
    top, bottom, size = np.inf, -np.inf, 0.0
    for i in range(count):
        y0, y1 = np.float64(boxes[i, 1]), np.float64(boxes[i, 3])
        top, bottom, size = min(top, y0), max(bottom, y1), size + (y1 - y0)
    scale = 1.0 / max(size / count, (bottom - top) / count, 1e-9)
    bands = int((bottom - top) * scale) + 1
    # Counted one further on, a list's place is where it begins until it is filled, and where it ends then
    starts = np.zeros(bands + 2, np.int32)
    upper, lower = np.empty(count, np.int32), np.empty(count, np.int32)
    entries = 0
    for i in range(count):
        upper[i], lower[i] = int((boxes[i, 1] - top) * scale), int((boxes[i, 3] - top) * scale)
        entries += lower[i] - upper[i] + 1
        for r in range(upper[i], lower[i] + 1):
            starts[r + 2] += 1
    for r in range(2, bands + 2):
        starts[r] += starts[r - 1]
    lists = np.empty(entries, np.int32)
    for i in range(count):
        for r in range(upper[i], lower[i] + 1):
            lists[starts[r + 1]] = i
            starts[r + 1] += 1
    return starts[:-1], lists, upper


@_compiled
def overlapping(boxes: Boxes, labels: Ints, threshold: float, union: bool, most: int) -> tuple[Short, Short, int]:
    """Pairs of boxes of one label that overlap by `threshold` or more, as `boxes_kernels.greedy` measures it: the rows
    of each, and how many; −1 where they are more than `most`."""
    rows, begins, ends = by_left(boxes)
    placed, names = np.empty((len(boxes), 4), np.float32), np.empty(len(boxes), np.int32)
    for n in range(len(rows)):
        i = rows[n]
        names[n] = labels[i]
        for side in range(4):
            placed[n, side] = boxes[i, side]
    starts, lists, upper = in_bands(placed)
    first, second, found = np.empty(most, np.int32), np.empty(most, np.int32), 0
    for r in range(len(starts) - 1):
        for k in range(starts[r], starts[r + 1]):
            n = lists[k]
            end, label, band = ends[n], names[n], upper[n]
            x0, y0 = np.float64(placed[n, 0]), np.float64(placed[n, 1])
            x1, y1 = np.float64(placed[n, 2]), np.float64(placed[n, 3])
            for m in range(k + 1, starts[r + 1]):
                j = lists[m]
                if begins[j] > end:
                    break
                # Two that share several bands are compared in the first of them
                if (names[j] != label) | (max(band, upper[j]) != r):
                    continue
                x2, y2 = np.float64(placed[j, 0]), np.float64(placed[j, 1])
                x3, y3 = np.float64(placed[j, 2]), np.float64(placed[j, 3])
                wide, high = min(x1, x3) - max(x0, x2), min(y1, y3) - max(y0, y2)
                if (wide <= 0) | (high <= 0):
                    continue
                area, other, both = (x1 - x0) * (y1 - y0), (x3 - x2) * (y3 - y2), wide * high
                of = area + other - both if union else min(area, other)
                if of > 0 and both / of >= threshold:
                    if found == most:
                        return first, second, -1
                    first[found], second[found] = rows[n], rows[j]
                    found += 1
    return first, second, found


@_compiled
def absorbed(order: Ints, first: Short, second: Short, pairs: int) -> Ints:
    """(N,): the row that absorbs each, itself where none does. `order`: of the rows, the strongest first."""
    count = len(order)
    starts, near = np.zeros(count + 2, np.int32), np.empty(2 * pairs, np.int32)
    for k in range(pairs):
        starts[first[k] + 2] += 1
        starts[second[k] + 2] += 1
    for i in range(2, count + 2):
        starts[i] += starts[i - 1]
    for k in range(pairs):
        for a, b in ((first[k], second[k]), (second[k], first[k])):
            near[starts[a + 1]] = b
            starts[a + 1] += 1
    keeper = np.full(count, -1, np.int64)
    for i in order:
        if keeper[i] >= 0:
            continue
        keeper[i] = i
        for k in range(starts[i], starts[i + 1]):
            if keeper[near[k]] < 0:
                keeper[near[k]] = i
    return keeper
