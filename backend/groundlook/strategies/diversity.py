"""Spread: greedy k-center (CoreSet; Sener & Savarese, ICLR 2018)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def k_center(
    candidates: NDArray[np.float32], centers: NDArray[np.float32], count: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Pick `count` rows of `candidates` (N, D), each the farthest from all centres and earlier picks.

    `centers`: (M, D), what is covered already; with none, the first pick is random. Returns the rows in the order
    picked (int64) and, for each, its Euclidean distance to the nearest centre when it was picked (inf for the first
    of an empty set). O(count · N · D), one pass over the candidates per pick.
    """
    points = np.asarray(candidates, dtype=np.float32)
    squares = np.einsum("ij,ij->i", points, points)
    nearest = np.full(len(points), np.inf)
    for start in range(0, len(centers), 512):
        chunk = np.asarray(centers[start : start + 512], dtype=np.float32)
        distances = squares[:, None] - 2 * points @ chunk.T + np.einsum("ij,ij->i", chunk, chunk)[None]
        nearest = np.minimum(nearest, distances.min(axis=1))
    picks: list[int] = []
    gaps: list[float] = []
    for _ in range(min(count, len(points))):
        pick = int(np.argmax(nearest)) if np.isfinite(nearest).any() else int(rng.integers(len(points)))
        picks.append(pick)
        gaps.append(float(np.sqrt(max(nearest[pick], 0.0))))
        distances = squares - 2 * points @ points[pick] + squares[pick]
        nearest = np.minimum(nearest, distances)
        nearest[picks] = -np.inf
    return np.array(picks, dtype=np.int64), np.array(gaps)
