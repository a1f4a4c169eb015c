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
Short = NDArray[np.int32]
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
        if not (x0 <= x1 and y0 <= y1 and np.isfinite(np.float64(x0) + y0 + x1 + y1) and np.isfinite(scores[i])):
            return i
    return -1


@_compiled
def grid(boxes: Floats) -> tuple[Floats, Ints, Short, Short]:
    """Cells: (left, top, cells a px); (columns, rows); where each cell's list begins (cells + 1,); the lists. Cells are
    as large as the mean box, and larger where the lists would be longer than eight times the boxes. A point is in
    column int((x − left) · cells a px); always computed so, as rounding matters. `boxes`: float64 or float32."""
    count = len(boxes)
    left, top, right, bottom = np.inf, np.inf, -np.inf, -np.inf
    size = 0.0
    for i in range(count):
        x0, y0, x1, y1 = boxes[i, 0], boxes[i, 1], boxes[i, 2], boxes[i, 3]
        left, top, right, bottom = min(left, x0), min(top, y0), max(right, x1), max(bottom, y1)
        size += max(x1 - x0, y1 - y0)
    extent = max(right - left, bottom - top, 1e-9)
    side = max(size / count, extent / 4096, 1e-9)
    spans = np.empty((count, 4), np.int32)
    while True:
        scale = 1.0 / side
        columns, rows = int((right - left) * scale) + 1, int((bottom - top) * scale) + 1
        cells, entries = columns * rows, 0
        for i in range(count):
            c0, c1 = int((boxes[i, 0] - left) * scale), int((boxes[i, 2] - left) * scale)
            r0, r1 = int((boxes[i, 1] - top) * scale), int((boxes[i, 3] - top) * scale)
            spans[i, 0], spans[i, 1], spans[i, 2], spans[i, 3] = c0, c1, r0, r1
            entries += (c1 - c0 + 1) * (r1 - r0 + 1)
        if cells <= 4 * count + 64 and entries <= 8 * count + 64:
            break
        side *= 1.5
        if columns == 1 and rows == 1:
            break
    # Counted one further on, a list's place is where it begins until it is filled, and where it ends then
    starts, lists = np.zeros(cells + 2, np.int32), np.empty(entries, np.int32)
    for i in range(count):
        for r in range(spans[i, 2], spans[i, 3] + 1):
            for cell in range(r * columns + spans[i, 0], r * columns + spans[i, 1] + 1):
                starts[cell + 2] += 1
    for c in range(2, cells + 2):
        starts[c] += starts[c - 1]
    for i in range(count):
        for r in range(spans[i, 2], spans[i, 3] + 1):
            for cell in range(r * columns + spans[i, 0], r * columns + spans[i, 1] + 1):
                lists[starts[cell + 1]] = i
                starts[cell + 1] += 1
    return np.array([left, top, scale]), np.array([columns, rows]), starts[:-1], lists


@_compiled
def greedy(boxes: NDArray[np.float32], order: Ints, labels: Ints, threshold: float, union: bool) -> Ints:
    """(N,): the box that absorbs each, itself where none does. `order`: of the boxes, the strongest first. `labels`:
    0 or more. `union`: the overlap is measured against the union of two boxes, else against the smaller."""
    count = len(boxes)
    place, shape, starts, lists = grid(boxes)
    left, top, scale, columns = place[0], place[1], place[2], shape[0]
    keeper = np.empty(count, np.int64)
    free = np.empty(count, np.int32)  # a box's label until it is in a group, then −1: one look says both
    for i in range(count):
        free[i] = labels[i]
    for n in range(count):
        i = order[n]
        label = free[i]
        if label < 0:
            continue
        keeper[i], free[i] = i, -1
        x0, y0 = np.float64(boxes[i, 0]), np.float64(boxes[i, 1])
        x1, y1 = np.float64(boxes[i, 2]), np.float64(boxes[i, 3])
        area = (x1 - x0) * (y1 - y0)
        c0, c1 = int((x0 - left) * scale), int((x1 - left) * scale)
        for r in range(int((y0 - top) * scale), int((y1 - top) * scale) + 1):
            # The lists of neighbours in a row lie one after the other
            for k in range(starts[r * columns + c0], starts[r * columns + c1 + 1]):
                j = lists[k]
                if free[j] != label:
                    continue
                wide = min(x1, boxes[j, 2]) - max(x0, boxes[j, 0])
                high = min(y1, boxes[j, 3]) - max(y0, boxes[j, 1])
                if wide <= 0 or high <= 0:
                    continue
                x2, y2 = np.float64(boxes[j, 0]), np.float64(boxes[j, 1])
                other = (boxes[j, 2] - x2) * (boxes[j, 3] - y2)
                both = wide * high
                of = area + other - both if union else min(area, other)
                if of > 0 and both / of >= threshold:
                    keeper[j], free[j] = i, -1
    return keeper
