"""Class balance: pictures with rare classes are shown more often."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

_COMMON = 0.1
"""Share of the pictures from which on a class is common. LVIS takes .001 for its 1,203 classes; a project has a few."""


def factors(classes: Sequence[Collection[int]], common: float = _COMMON) -> NDArray[np.float64]:
    """How much more often than others each picture is to be shown, float64 (N,), 1 or more; `classes`: those that
    occur in each. Repeat-factor sampling (Gupta 2019, LVIS, section 4.1): of class c, which is in a share f of the
    pictures, max(1, √(common / f)), and of a picture the largest of its classes; 1 for an empty one."""
    count: dict[int, int] = {}
    for inside in classes:
        for c in set(inside):
            count[c] = count.get(c, 0) + 1
    factor = {c: max(1.0, float(np.sqrt(common * len(classes) / n))) for c, n in count.items()}
    return np.array([max((factor[c] for c in inside), default=1.0) for inside in classes], dtype=np.float64)


def order(factor: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """An epoch: N places of pictures (N,), shuffled; each as often as its factor says, rounded up or down at random,
    of all of them together. An epoch is as long as without balance, and shows each once where all factors are equal."""
    share = np.cumsum(factor) * (len(factor) / factor.sum())
    share[-1] = len(factor)  # (sums of floats)
    hits = np.searchsorted(share, np.arange(len(factor)) + rng.uniform(0.0, 1.0), side="right")
    chosen: NDArray[np.int64] = rng.permutation(np.minimum(hits, len(factor) - 1))
    return chosen
