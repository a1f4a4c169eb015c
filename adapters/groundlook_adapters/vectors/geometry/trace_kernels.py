"""Compiled loops of `trace`: runs → ring corners. Imported on first use only, numba is slow to import."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def _compiled(function: Callable[..., Any]) -> Any:
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # nowhere to keep the compiled code, such as in a read-only container
        return numba.njit(nogil=True)(function)


@_compiled
def row_runs(runs: Ints, width: int, height: int) -> tuple[Ints, Ints, Ints]:
    """Runs (N, 2) over the whole mask → runs that end with their row: first column (R,), column after the last (R,),
    and where each row's runs begin (H + 1,)."""
    count = 0
    for k in range(len(runs)):
        count += (runs[k, 1] - 1) // width - runs[k, 0] // width + 1
    x0, x1 = np.empty(count, np.int64), np.empty(count, np.int64)
    rows = np.zeros(height + 1, np.int64)
    n = 0
    for k in range(len(runs)):
        start, end = runs[k, 0], runs[k, 1]
        row = start // width
        while start < end:
            stop = min(end, (row + 1) * width)
            x0[n], x1[n] = start - row * width, stop - row * width
            n += 1
            rows[row + 1] = n
            row += 1
            start = stop
    for row in range(height):
        rows[row + 1] = max(rows[row], rows[row + 1])
    return x0, x1, rows


@_compiled
def components(x0: Ints, x1: Ints, rows: Ints) -> Ints:
    """The 4-connected component of each run (R,), named by its first run: union-find with path halving."""
    parent = np.arange(len(x0))
    for row in range(1, len(rows) - 1):
        i, j = rows[row - 1], rows[row]
        while i < rows[row] and j < rows[row + 1]:
            if x0[i] < x1[j] and x0[j] < x1[i]:
                a, b = i, j
                while parent[a] != a:
                    parent[a] = parent[parent[a]]
                    a = parent[a]
                while parent[b] != b:
                    parent[b] = parent[parent[b]]
                    b = parent[b]
                if a < b:
                    parent[b] = a
                else:
                    parent[a] = b
            if x1[i] < x1[j]:
                i += 1
            else:
                j += 1
    for k in range(len(parent)):  # parents come first: each already points at its root
        parent[k] = parent[parent[k]]
    return parent


@_compiled
def corners(x0: Ints, x1: Ints, rows: Ints, component: Ints) -> tuple[Ints, Ints, Ints, Ints, Ints, Any]:
    """Every corner of every outline, in reading order: x, y, the corner at the other end of its horizontal edge and
    of its vertical edge, its component, and whether what lies below the horizontal edge to its right is outside.

    Where two pixels touch by a corner only, that corner is two: pixels of two components part there, and one
    component that meets itself leaves its background's sides apart, so that no ring touches itself.
    """
    x, y = np.empty(4 * len(x0), np.int64), np.empty(4 * len(x0), np.int64)
    across, down = np.empty_like(x), np.empty_like(x)
    owner, outside = np.empty_like(x), np.empty(len(x), np.bool_)
    above = np.empty(2 * len(x0), np.int64)  # per start or end of a run: the corner where its vertical edge begins
    n = 0
    for row in range(len(rows)):
        first_a, last_a = (2 * rows[row - 1], 2 * rows[row]) if row > 0 else (0, 0)
        last_b = 2 * rows[row + 1] if row + 1 < len(rows) else last_a
        i, j = first_a, last_a
        pending = -1
        while i < last_a or j < last_b:
            xa = (x0[i // 2] if i % 2 == 0 else x1[i // 2]) if i < last_a else np.iinfo(np.int64).max
            xb = (x0[j // 2] if j % 2 == 0 else x1[j // 2]) if j < last_b else np.iinfo(np.int64).max
            if xa == xb and i % 2 == j % 2:  # a straight vertical edge
                above[j] = above[i]
                i, j = i + 1, j + 1
                continue
            corner = n
            x[n], y[n] = min(xa, xb), row
            if xa == xb:  # by a corner only: `n` ends the edge on the left, `n + 1` begins the one on the right
                a, b = component[i // 2], component[j // 2]
                left_is_above = (i % 2 == 1) == (a != b)
                owner[n], owner[n + 1] = (a, b) if i % 2 == 1 else (b, a)
                x[n + 1], y[n + 1] = xa, row
                up, low = (n, n + 1) if left_is_above else (n + 1, n)
                down[up], down[above[i]], above[j] = above[i], up, low
                across[n], across[pending] = pending, n
                pending, outside[n], outside[n + 1] = n + 1, False, j % 2 == 1
                i, j, n = i + 1, j + 1, n + 2
                continue
            if xa < xb:
                owner[n], down[n], down[above[i]] = component[i // 2], above[i], n
                i += 1
            else:
                owner[n], above[j] = component[j // 2], n
                j += 1
            outside[n] = j % 2 == 0
            if pending < 0:
                pending = corner
            else:
                across[corner], across[pending] = pending, corner
                pending = -1
            n += 1
    return x[:n], y[:n], across[:n], down[:n], owner[:n], outside[:n]


@_compiled
def rings(
    x: Ints, y: Ints, across: Ints, down: Ints, owner: Ints, outside: Any, runs: int
) -> tuple[NDArray[np.float64], Ints, Ints, int]:
    """Corners → closed rings one after another: points (P, 2), the ring of each point (P,), the polygon of each ring
    (K,), and how many polygons there are. A polygon's outer ring comes before its holes, and winds the other way."""
    seen = np.zeros(len(x), np.bool_)
    points = np.empty((2 * len(x), 2), np.float64)  # a ring has four corners at least, and repeats its first
    ring_of, polygon = np.empty(2 * len(x), np.int64), np.empty(len(x), np.int64)
    polygon_of = np.full(runs, -1, np.int64)
    n, ring, polygons = 0, 0, 0
    for first in range(len(x)):
        if seen[first]:
            continue
        hole = outside[first]
        if not hole:
            polygon_of[owner[first]] = polygons
            polygons += 1
        polygon[ring] = polygon_of[owner[first]]
        at, begin = first, n
        while not seen[at]:
            for _ in range(2):
                seen[at] = True
                points[n, 0], points[n, 1], ring_of[n] = x[at], y[at], ring
                n += 1
                at = down[at] if hole else across[at]
                hole = not hole
        points[n], ring_of[n] = points[begin], ring
        n, ring = n + 1, ring + 1
    return points[:n], ring_of[:n], polygon[:ring], polygons
