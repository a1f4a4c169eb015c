"""Greedy cover: the rows that together explain most of a set. Exact lazy greedy (Minoux 1978; CELF, Leskovec et al.,
KDD 2007): what a row adds only falls as others are picked, so an old gain is an upper bound."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_CHUNK = 256
_BATCH = 8


def greedy_cover(
    kernel: NDArray[np.float32], covered: NDArray[np.float32], weight: NDArray[np.float32], count: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """`count` rows of `kernel` (A, L), each with the most gain Σ_l weight_l · max(kernel_al − covered_l, 0) after those
    before it; the lowest of equals. And the gains when they were picked.

    `kernel`: how well each candidate covers each landmark. `covered` (L,): how well each is covered already."""
    covered = covered.copy()
    count = min(count, len(kernel))
    picks, gains = np.zeros(count, np.int64), np.zeros(count)
    gain = np.empty(len(kernel), np.float32)
    for start in range(0, len(kernel), _CHUNK):
        gain[start : start + _CHUNK] = _gain(kernel[start : start + _CHUNK], covered, weight)
    fresh = np.zeros(len(kernel), np.int64)
    for turn in range(count):
        size = _BATCH
        while fresh[best := int(np.argmax(gain))] < turn:
            top = np.argpartition(gain, -min(size, len(gain)))[-min(size, len(gain)) :]
            top = np.sort(top[fresh[top] < turn])
            gain[top] = np.minimum(gain[top], _gain(kernel[top], covered, weight))
            fresh[top] = turn
            size *= 2
        picks[turn], gains[turn] = best, gain[best]
        np.maximum(covered, kernel[best], out=covered)
        gain[best], fresh[best] = -np.inf, count
    return picks, gains


def _gain(
    kernel: NDArray[np.float32], covered: NDArray[np.float32], weight: NDArray[np.float32]
) -> NDArray[np.float32]:
    more = np.subtract(kernel, covered)
    np.maximum(more, 0, out=more)
    return np.asarray(more @ weight)
