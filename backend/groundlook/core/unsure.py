"""How unsure a distribution over classes is (Settles, Active Learning Literature Survey, 2009, section 3.1).

`proba` is (N, C): rows sum to 1; → float64 (N,). A row with NaN is NaN, unknown; of a single class all are sure.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_CHUNK = 4096  # rows that are read class by class at once, within the cache


def least_confidence(proba: NDArray[np.floating]) -> NDArray[np.float64]:
    """1 − the likeliest class's probability, 0 … 1 − 1/C."""
    return np.asarray(1.0 - proba.max(axis=1, initial=0).astype(np.float64))


def margin(proba: NDArray[np.floating]) -> NDArray[np.float64]:
    """1 − the lead of the likeliest class over the second (Scheffer, Decomain & Wrobel 2001), 0 … 1 = a toss-up."""
    found = np.zeros(len(proba))
    if proba.shape[1] == 0:
        return found
    for start in range(0, len(proba), _CHUNK):
        columns = np.ascontiguousarray(proba[start : start + _CHUNK].T)
        first, second = columns[0].copy(), np.zeros_like(columns[0])
        for column in columns[1:]:
            np.maximum(second, np.minimum(first, column), out=second)
            np.maximum(first, column, out=first)
        found[start : start + _CHUNK] = 1.0 - (first.astype(np.float64) - second)
    return found


def entropy(proba: NDArray[np.floating]) -> NDArray[np.float64]:
    """−Σ p ln p over ln C (Shannon 1948), 0 = sure … 1 = all alike."""
    bits = -np.einsum("ij,ij->i", proba, np.log(np.maximum(proba, np.finfo(proba.dtype).tiny)))
    return np.asarray(np.clip(bits.astype(np.float64) / max(np.log(max(proba.shape[1], 1)), 1e-9), 0, 1))
