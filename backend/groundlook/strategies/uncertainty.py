"""How unsure a model is of whole tasks, and the strategies that go by nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput
from groundlook.core.pool import Pool, Ranking
from groundlook.core.unsure import entropy, least_confidence, margin
from groundlook.strategies.kmeans import cold_start
from groundlook.strategies.order import best_first
from groundlook.strategies.vectors import COLD, in_id_order, vectors_of

_SUM = 1e-3


MEASURES: Mapping[str, Callable[[NDArray[np.floating]], NDArray[np.float64]]] = {
    "least-confidence": least_confidence,
    "margin": margin,
    "entropy": entropy,
}


def proba_of(pool: Pool) -> NDArray[np.float32] | None:
    """`pool.proba`, None where there is none or every row is unknown. Raises InvalidInput naming the first task whose
    probabilities are negative or don't sum to 1 within 0.001."""
    if pool.proba is None or pool.proba.shape[1] == 0:
        return None
    sums = pool.proba.sum(axis=1)
    unknown = np.isnan(sums)
    bad = ~unknown & ~(np.abs(sums - 1) <= _SUM)
    if (negative := pool.proba < 0).any():
        bad |= negative.any(axis=1)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        told = f"sum to {sums[row]:.4g}, the least of them {np.min(pool.proba[row]):.4g}"
        raise InvalidInput(f"the class probabilities of task {pool.ids[row]} {told}; normalise them (or NaN: unknown)")
    return None if unknown.all() else pool.proba


def measured(pool: Pool, name: str) -> NDArray[np.float64] | None:
    """Measure `name` of each task (N,), NaN unknown: of its probabilities, else the pool's term of that name; None
    where it is known of no task. Raises InvalidInput."""
    proba = proba_of(pool)
    found = MEASURES[name](proba) if proba is not None else pool.terms.get(name)
    return None if found is None or not np.isfinite(found).any() else found


def doubt(pool: Pool, of: NDArray[np.int64] | None = None) -> tuple[NDArray[np.float64] | None, str]:
    """What weighs tasks by how unsure the model is: (N,), ≥ 0, NaN unknown, and what it is: the margin where
    probabilities are known, else the pool's score, from its lowest up; None where neither is of any task, or of any of
    the rows `of`. Raises InvalidInput."""
    rows = slice(None) if of is None else of
    proba = proba_of(pool)
    if proba is not None and np.isfinite(found := margin(proba))[rows].any():
        return found, "margin"
    known = np.isfinite(pool.score)
    if not known[rows].any():
        return None, "no uncertainty is known: all tasks count the same"
    return np.where(known, pool.score - min(0.0, float(pool.score[known].min())), np.nan), "score"


@dataclass(frozen=True, slots=True)
class Unsure:
    """The least sure first. Unknown ones come last, ties go by id. While nothing is labelled and nothing known, tasks
    are spread instead; later that is InvalidInput."""

    name: str

    def rank(self, pool: Pool, count: int, rng: np.random.Generator) -> Ranking:
        """See `core.ports.Strategy`."""
        in_id_order(pool)
        found = measured(pool, self.name)
        if found is None and len(pool.labelled):
            raise InvalidInput(
                f"{self.name} needs the pool's class probabilities or its term {self.name!r}, and no open task has "
                "either; predict with a trained model first, or choose a strategy that goes by embeddings"
            )
        if found is None:
            return cold_start(pool, vectors_of(pool), count, rng, self.name)
        order = best_first(found, pool.ids)
        picks = order[: min(count, int(np.isfinite(found).sum()))]
        why = "" if len(pool.labelled) else COLD
        return Ranking(order, len(picks), self.name, why, {self.name: found[picks]})


@dataclass(frozen=True, slots=True)
class Random:
    """All tasks alike, in random order: what every other strategy has to beat."""

    name: str = "random"

    def rank(self, pool: Pool, count: int, rng: np.random.Generator) -> Ranking:
        """See `core.ports.Strategy`."""
        rows = rng.permutation(in_id_order(pool))
        return Ranking(rows, min(count, len(rows)), self.name, "" if len(pool.labelled) else COLD)
