"""Herding for tasks that hold many objects or none: cover what the model is unsure of, most where objects are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groundlook.core.pool import Pool, Ranking
from groundlook.strategies.herding import Terms, UHerding, herded

BOXES, OUTLINES = 2.0, 0.5
"""The power of objects: of 0, 0.5, 1, 2 and 3 the least that is as good as the best, by the first 12 seeds of OAM and
NEON for boxes, and of 0.5, 1 and 2 the best by 6 of OAM for outlines, where they hardly differ."""


def expected(pool: Pool) -> NDArray[np.float64] | None:
    """How many objects each task is expected to hold, float64 (N,), ≥ 0; the median where it is unknown, None where it
    is of all."""
    if pool.counts is None or not pool.counts.shape[1]:
        return None
    found = np.clip(pool.counts.astype(np.float64).sum(axis=1), 0, None)
    known = np.isfinite(found)
    return np.where(known, found, np.median(found[known])) if known.any() else None


@dataclass(frozen=True, slots=True)
class ObjectHerding(UHerding):
    """As uherding, and more where objects are expected: a task weighs doubt · objects^strength, `BOXES` or `OUTLINES`.

    A detector is as unsure of a tile with one doubtful thing as of one with twenty, and in segmentation hardly anything
    beats a random choice that knows where the foreground is (nnActive, Lüth et al., TMLR 2025): so a task counts by
    what is expected on it, too. Where no counts are known this is UHerding.
    """

    name: str = "object-herding"

    def rank(self, pool: Pool, count: int, rng: np.random.Generator) -> Ranking:
        """See `core.ports.Strategy`."""
        objects = expected(pool)
        if objects is None:
            return UHerding.rank(self, pool, count, rng)
        much = objects ** (BOXES if pool.kind == "detection" else OUTLINES)

        def weigh(unsure: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], Terms]:
            return unsure * much, unsure * much, {"objects": objects}

        return herded(pool, count, rng, self, weigh)
