"""How far a model's own doubt can be trusted, by how many labels it has learned from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from groundlook.core.pool import Pool

PER_CLASS = 4
LEAST = 40
"""Labels for each class, and in all, from which on it is trusted in full."""


def ripeness(pool: Pool) -> float:
    """0…1: labelled tasks over those that it takes. A model that has met a part of the classes is sure of all the
    others' tasks too."""
    columns = pool.proba if pool.proba is not None else pool.counts
    classes = 1 if columns is None else columns.shape[1]
    return min(1.0, len(pool.labelled) / max(PER_CLASS * classes, LEAST))


def ripened(doubt: NDArray[np.float64], pool: Pool) -> NDArray[np.float64]:
    """`doubt` (N,), ≥ 0, NaN unknown, as a weight: its square, and as much of the squares' mean instead as the model is
    unripe, so that at first all tasks count the same."""
    squares = doubt**2
    if not np.isfinite(squares).any():
        return squares
    share = ripeness(pool)
    return np.asarray(share * squares + (1 - share) * float(np.nanmean(squares)))
