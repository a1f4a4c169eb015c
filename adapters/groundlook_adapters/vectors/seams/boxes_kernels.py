"""Compiled loops over boxes on a grid of cells. Imported on first use only, numba is slow to import.

Boxes are float64 (N, 4): x0, y0, x1, y1. A grid lists, cell by cell, the boxes that reach into the cell, in ascending
order; its cells are about as large as the boxes, so that a box meets few others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


def _compiled(function: Callable[..., Any]) -> Any:
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # nowhere to keep the compiled code, such as in a read-only container
        return numba.njit(nogil=True)(function)


@_compiled
def by_score(scores: NDArray[np.float32], boxes: Floats) -> tuple[Ints, int]:
    """Rows by score, the highest first; of equal ones, by x0, y0, x1, y1, then as they came. Also the length of the
    longest row of equal scores, which is not in order where it is over 64: sort those in another way.

    Radix sort of the scores' bits, least significant first (Knuth, The Art of Computer Programming 3, §5.2.5).
    """
    count = len(scores)
    keys = np.empty(count, np.uint32)
    bits = (scores + np.float32(0.0)).view(np.uint32)  # −0 is 0
    for i in range(count):
        negative = bits[i] >> np.uint32(31)
        keys[i] = bits[i] if negative else ~(bits[i] | np.uint32(0x80000000))
    order, other = np.arange(count), np.empty(count, np.int64)
    places = np.empty(2049, np.int64)
    for shift in (0, 11, 22):
        places[:] = 0
        for i in range(count):
            places[((keys[i] >> np.uint32(shift)) & np.uint32(2047)) + 1] += 1
        for b in range(2048):
            places[b + 1] += places[b]
        for k in range(count):
            b = (keys[order[k]] >> np.uint32(shift)) & np.uint32(2047)
            other[places[b]] = order[k]
            places[b] += 1
        order, other = other, order
    return order, _untie(order, keys, boxes)


@_compiled
def _untie(order: Ints, keys: NDArray[np.uint32], boxes: Floats) -> int:
    longest, start = 1, 0
    for k in range(1, len(order) + 1):
        if k < len(order) and keys[order[k]] == keys[order[start]]:
            continue
        longest = max(longest, k - start)
        if k - start <= 64:
            for m in range(start + 1, k):
                row, n = order[m], m
                while n > start and _before(boxes, row, order[n - 1]):
                    order[n] = order[n - 1]
                    n -= 1
                order[n] = row
        start = k
    return longest


@_compiled
def _before(boxes: Floats, a: int, b: int) -> bool:
    for c in range(4):
        if boxes[a, c] != boxes[b, c]:
            return bool(boxes[a, c] < boxes[b, c])
    return False


@_compiled
def unusable(boxes: Floats, scores: NDArray[np.float32]) -> int:
    """The first row that is no box or has no score; −1 where there is none."""
    for i in range(len(boxes)):
        x0, y0, x1, y1 = boxes[i, 0], boxes[i, 1], boxes[i, 2], boxes[i, 3]
        if not (x0 <= x1 and y0 <= y1 and np.isfinite(x0 + y0 + x1 + y1) and np.isfinite(scores[i])):
            return i
    return -1


@_compiled
def grid(boxes: Floats) -> tuple[Floats, Ints, Ints, Ints]:
    """Cells: (left, top, side); (columns, rows); where each cell's list begins (cells + 1,); the lists. Cells are as
    large as the mean box, and larger where the lists would be longer than eight times the boxes."""
    count = len(boxes)
    left, top, right, bottom, size = boxes[0, 0], boxes[0, 1], boxes[0, 2], boxes[0, 3], 0.0
    for i in range(count):
        left, top = min(left, boxes[i, 0]), min(top, boxes[i, 1])
        right, bottom = max(right, boxes[i, 2]), max(bottom, boxes[i, 3])
        size += max(boxes[i, 2] - boxes[i, 0], boxes[i, 3] - boxes[i, 1])
    extent = max(right - left, bottom - top, 1e-9)
    side = max(size / count, extent / 4096, 1e-9)
    while True:
        columns, rows = int((right - left) / side) + 1, int((bottom - top) / side) + 1
        cells, entries = columns * rows, 0
        for i in range(count):
            c0, c1 = int((boxes[i, 0] - left) / side), int((boxes[i, 2] - left) / side)
            r0, r1 = int((boxes[i, 1] - top) / side), int((boxes[i, 3] - top) / side)
            entries += (c1 - c0 + 1) * (r1 - r0 + 1)
        if cells <= 4 * count + 64 and entries <= 8 * count + 64:
            break
        side *= 1.5
        if columns == 1 and rows == 1:
            break
    starts = np.zeros(cells + 1, np.int64)
    for fill in (False, True):
        if fill:
            for c in range(cells):
                starts[c + 1] += starts[c]
            lists, at = np.empty(starts[cells], np.int64), starts[:-1].copy()
        else:
            lists, at = np.empty(0, np.int64), starts[:-1]
        for i in range(count):
            for r in range(int((boxes[i, 1] - top) / side), int((boxes[i, 3] - top) / side) + 1):
                for c in range(int((boxes[i, 0] - left) / side), int((boxes[i, 2] - left) / side) + 1):
                    if fill:
                        lists[at[r * columns + c]] = i
                        at[r * columns + c] += 1
                    else:
                        starts[r * columns + c + 1] += 1
    return np.array([left, top, side]), np.array([columns, rows]), starts, lists


@_compiled
def greedy(boxes: Floats, labels: Ints, threshold: float, union: bool) -> Ints:
    """(N,): the box that absorbs each, itself where none does. `boxes`: the strongest first. `union`: the overlap is
    measured against the union of two boxes, else against the smaller."""
    count = len(boxes)
    place, shape, starts, lists = grid(boxes)
    left, top, side = place[0], place[1], place[2]
    keeper = np.full(count, -1, np.int64)
    for i in range(count):
        if keeper[i] >= 0:
            continue
        keeper[i] = i
        x0, y0, x1, y1 = boxes[i, 0], boxes[i, 1], boxes[i, 2], boxes[i, 3]
        area = (x1 - x0) * (y1 - y0)
        for r in range(int((y0 - top) / side), int((y1 - top) / side) + 1):
            for c in range(int((x0 - left) / side), int((x1 - left) / side) + 1):
                cell = r * shape[0] + c
                for k in range(starts[cell], starts[cell + 1]):
                    j = lists[k]
                    if j <= i or keeper[j] >= 0 or labels[j] != labels[i]:
                        continue
                    wide = min(x1, boxes[j, 2]) - max(x0, boxes[j, 0])
                    high = min(y1, boxes[j, 3]) - max(y0, boxes[j, 1])
                    if wide <= 0 or high <= 0:
                        continue
                    other = (boxes[j, 2] - boxes[j, 0]) * (boxes[j, 3] - boxes[j, 1])
                    both = wide * high
                    of = area + other - both if union else min(area, other)
                    if of > 0 and both / of >= threshold:
                        keeper[j] = i
    return keeper
