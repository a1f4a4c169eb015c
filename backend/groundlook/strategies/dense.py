"""Herding for tasks that hold many objects or none: cover what the model is unsure of, most where objects are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groundlook.core.pool import Pool, Ranking
from groundlook.strategies.herding import UHerding, herd
from groundlook.strategies.kmeans import cold_start
from groundlook.strategies.order import picked
from groundlook.strategies.uncertainty import doubt
from groundlook.strategies.vectors import labelled_of, vectors_of


def expected(pool: Pool) -> NDArray[np.float64] | None:
    """How many objects each task is expected to hold, float64 (N,), ≥ 0; the median where it is unknown, None where it
    is of all."""
    if pool.counts is None or not pool.counts.shape[1]:
        return None
    found = np.clip(pool.counts.astype(np.float64).sum(axis=1), 0, None)
    known = np.isfinite(found)
    return np.where(known, found, np.median(found[known])) if known.any() else None


@dataclass(frozen=True, slots=True)
class ObjectHerding:
    """As uherding, and more where objects are expected: a task weighs doubt · objects^`strength`.

    UHerding is Bae, Sutherland & Oliveira's, ICLR 2025. A detector is as unsure of a tile with one doubtful thing as of
    one with twenty, and in segmentation hardly anything beats a random choice that knows where the foreground is
    (nnActive, Lüth et al., TMLR 2025): so a task counts by what is expected on it, too. Where no counts are known this
    is UHerding.
    """

    strength: float = 0.5
    candidates: int = 1024
    landmarks: int = 2048
    name: str = "object-herding"

    def rank(self, pool: Pool, count: int, rng: np.random.Generator) -> Ranking:
        """See `core.ports.Strategy`."""
        everything, done = vectors_of(pool), labelled_of(pool)
        if not len(done):
            return cold_start(pool, everything, count, rng, self.name)
        weight, by = doubt(pool, everything.rows)
        objects = expected(pool)
        if weight is None or objects is None:
            return UHerding(self.candidates, self.landmarks, self.name).rank(pool, count, rng)
        worth = weight * objects**self.strength
        known = everything.only(np.flatnonzero(np.isfinite(worth[everything.rows])))
        places, gains = herd(known, done, worth[known.rows], count, rng, self.candidates, self.landmarks)
        rows = known.rows[places]
        terms = {"covers": gains, by: weight[rows], "objects": objects[rows]}
        return picked(pool, everything, rows, self.name, terms, score=worth)
