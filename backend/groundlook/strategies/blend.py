"""Unsure first, then spread: the least sure tasks of the pool, ordered so that each differs from those before it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from groundlook.core.errors import EmptyPool
from groundlook.core.pool import Pool, Ranking, ranking
from groundlook.strategies.diversity import k_center


@dataclass(frozen=True, slots=True)
class UncertainThenSpread:
    """Takes the `candidates` × `count` highest scores and orders `count` of them by k-center; the rest follow by score.

    Filter-then-cover is the safe way to join two aims (facts: performance). Where no score is known yet, the whole
    pool is spread. A task with an unknown score in a pool where others are known comes after them.
    """

    candidates: int = 3
    name: str = "uncertain-k-center"

    def rank(self, pool: Pool, count: int, rng: np.random.Generator) -> Ranking:
        """See `core.ports.Strategy`."""
        if len(pool) == 0:
            raise EmptyPool("no open task is left to rank; ingest more, or finish the project")
        order = ranking(pool, np.zeros(0, np.int64), self.name).rows
        filtered = order[: count * self.candidates] if np.isfinite(pool.score).any() else order
        picks, gaps = k_center(pool.embedding[filtered], pool.labelled, count, rng)
        rows = filtered[picks]
        return ranking(pool, rows, self.name, {"uncertainty": pool.score[rows], "apart": gaps})
