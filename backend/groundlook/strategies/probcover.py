"""ProbCover: cover as much of the pool as possible with balls (Yehuda, Dekel, Hacohen & Weinshall, NeurIPS 2022)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groundlook.core.pool import Pool, Ranking
from groundlook.strategies.cover import greedy_cover
from groundlook.strategies.herding import nearest_gap
from groundlook.strategies.kmeans import k_means, sample
from groundlook.strategies.order import picked
from groundlook.strategies.vectors import COLD, labelled_of, squared, vectors_of

_MOST = 4096
_PURITY = 0.95
_KINDS = 10
_CHUNK = 256


def radius(apart: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Squared: the largest ball that for 95 % of points holds only points of their own cluster (section 3.3), which is
    where 5 % have somebody else's as near. `apart`: squared distances (N, N); `labels` (N,)."""
    nearest = np.empty(len(labels), np.float32)
    for start in range(0, len(labels), _CHUNK):
        part = slice(start, start + _CHUNK)
        nearest[part] = np.where(labels[part, None] == labels, np.inf, apart[part]).min(axis=1)
    if not np.isfinite(nearest).any():
        return float(np.median(apart))
    ordered = np.sort(nearest)
    return float(np.nextafter(ordered[int((1 - _PURITY) * len(ordered))], np.float32(0)))


@dataclass(frozen=True, slots=True)
class ProbCover:
    """Each task the one whose ball holds most tasks that no ball holds yet. Clusters, for the radius, are as many as
    there are classes, 10 where that is not known. Of large pools a sample of 4,096 stands for all, and is picked from.
    """

    name: str = "probcover"

    def rank(self, pool: Pool, count: int, rng: np.random.Generator) -> Ranking:
        """See `core.ports.Strategy`."""
        known, done = vectors_of(pool), labelled_of(pool)
        drawn = sample(len(known), count, rng, _MOST)
        held = known.take(drawn)
        apart = squared(held, held)
        reach = radius(apart, k_means(held, min(_kinds(pool), len(held)), rng).labels)
        balls = (apart <= reach).astype(np.float32)
        covered = np.zeros(len(held), np.float32) if not len(done) else (nearest_gap(held, done) <= reach)
        ones = np.ones(len(held), np.float32)
        picks, gains = greedy_cover(balls, covered.astype(np.float32), ones, count)
        why = f"within {np.sqrt(reach):.3g}" + ("" if len(done) else f"; {COLD}")
        return picked(pool, known, known.rows[drawn[picks]], self.name, {"covers": gains}, why)


def _kinds(pool: Pool) -> int:
    for table in (pool.proba, pool.counts):
        if table is not None and table.shape[1] > 1:
            return int(table.shape[1])
    return _KINDS
