"""The land before anything stands on it: blocks between the roads, and who has taken which ground."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from groundlook.core.geo import Points
from groundlook.demo.scenery.things import Road, Zone

ZONES: tuple[Zone, ...] = ("homes", "works", "field", "meadow", "wood")
_SHARES = (0.5, 0.14, 0.16, 0.12, 0.08)


class Occupancy:
    """Which ground is taken, at half resolution."""

    def __init__(self, size: int) -> None:
        self._taken: NDArray[np.uint8] = np.zeros((size // 2 + 1, size // 2 + 1), np.uint8)
        self._size = size

    def claim(self, needs: Points, takes: Points) -> bool:
        """Take `takes` if all of `needs` (both (N, 2) px, convex) is free; whether it was."""
        free = self.is_free(needs)
        if free:
            self.take(takes)
        return free

    def is_free(self, points: Points) -> bool:
        """Whether nobody has any of it. What is cut by the scene's edge is fine, what is outside is not there."""
        return bool(points.min() > -24 and points.max() < self._size + 24) and not self._under(points).any()

    def take(self, points: Points) -> None:
        """Take ground, free or not."""
        cv2.fillConvexPoly(self._taken, np.round(points / 2).astype(np.int32), 1)

    def _under(self, points: Points) -> NDArray[np.uint8]:
        low = np.clip(np.floor(points.min(axis=0) / 2).astype(int), 0, self._taken.shape[0] - 1)
        high = np.clip(np.ceil(points.max(axis=0) / 2).astype(int) + 1, 1, self._taken.shape[0])
        mask = np.zeros((max(high[1] - low[1], 1), max(high[0] - low[0], 1)), np.uint8)
        cv2.fillConvexPoly(mask, np.round(points / 2 - low).astype(np.int32), 1)
        return self._taken[low[1] : low[1] + mask.shape[0], low[0] : low[0] + mask.shape[1]] & mask


class NearBy:
    """Crowns that may touch, but not hide each other."""

    def __init__(self, size: int, cell: int = 48) -> None:
        self._cells: dict[tuple[int, int], list[tuple[float, float, float]]] = {}
        self._cell = cell

    def add(self, x: float, y: float, radius: float) -> None:
        self._cells.setdefault((int(x) // self._cell, int(y) // self._cell), []).append((x, y, radius))

    def too_close(self, x: float, y: float, radius: float) -> bool:
        i, j = int(x) // self._cell, int(y) // self._cell
        return any(
            np.hypot(x - a, y - b) < 0.85 * (radius + r)
            for di in (-1, 0, 1)
            for dj in (-1, 0, 1)
            for a, b, r in self._cells.get((i + di, j + dj), ())
        )


def blocks(size: int, roads: list[Road], rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Kind of land, and number of the block, of every pixel (H, W): what lies between the same roads is one block."""
    t = np.arange(size, dtype=np.float32)
    column = np.zeros((size, size), np.int32)
    row = np.zeros((size, size), np.int32)
    for road in roads:
        if road.upright:
            column += t[None, :] > road.at(t)[:, None]
        else:
            row += t[:, None] > road.at(t)[None, :]
    block = column * 100 + row
    kinds = rng.choice(len(ZONES), size=int(block.max()) + 1, p=_SHARES).astype(np.uint8)
    return kinds[block], block
