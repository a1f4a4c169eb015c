"""Classes that have few labels first: tasks that are expected to hold many objects of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput
from groundlook.core.pool import Pool, Ranking, ranking
from groundlook.strategies.kmeans import cold_start
from groundlook.strategies.uncertainty import doubt, proba_of
from groundlook.strategies.vectors import COLD, in_id_order, vectors_of


@dataclass(frozen=True, slots=True)
class ClassBalance:
    """Each task the one with the most Σ_c ln(1 + expected objects of c) ÷ (1 + labelled objects of c), what was picked
    counted as labelled; times how unsure the model is of it where that is known. Without expected counts, the class
    probabilities stand for them. Tasks of which nothing is expected come after the others."""

    name: str = "class-balance"

    def rank(self, pool: Pool, count: int, rng: np.random.Generator) -> Ranking:
        """See `core.ports.Strategy`."""
        order = in_id_order(pool)
        expected = expected_counts(pool)
        if expected is None and not len(pool.labelled):
            return cold_start(pool, vectors_of(pool), count, rng, self.name)
        if expected is None:
            raise InvalidInput(
                "class-balance needs expected counts or class probabilities, and no open task has either; predict with "
                "a trained model first, or choose a strategy that goes by embeddings"
            )
        order = order[np.isfinite(expected[order]).all(axis=1)]
        weight, by = doubt(pool)
        unsure = np.ones(len(order)) if weight is None else _filled(weight[order])
        # Float32: a pass over all of it for each pick.
        gain = np.log1p(np.clip(expected[order], 0, None)).astype(np.float32)
        gain *= unsure[:, None].astype(np.float32)
        places, worth = _greedy(gain, expected[order], _labelled(pool, expected.shape[1]), count)
        score = np.full(len(pool), np.nan)
        score[order] = gain @ (1 / (1 + _labelled(pool, expected.shape[1]))).astype(np.float32)
        why = "; ".join([by] * (weight is None) + [COLD] * (not len(pool.labelled)))
        return ranking(pool, order[places], self.name, {"balances": worth}, why, score)


def expected_counts(pool: Pool) -> NDArray[np.float32] | None:
    """Float (N, C): how many objects of each class a task is expected to hold, by its counts, else by its class
    probabilities; rows of NaN are unknown. None where all are."""
    for found in (pool.counts, proba_of(pool)):
        if found is not None and found.shape[1] and np.isfinite(found).all(axis=1).any():
            return found
    return None


def _labelled(pool: Pool, classes: int) -> NDArray[np.float64]:
    """(C,): how many objects of each class are labelled."""
    if pool.have is not None and len(pool.have) == classes:
        return np.clip(np.nan_to_num(np.asarray(pool.have, np.float64)), 0, None)
    known = np.zeros(0, np.int64) if pool.classes is None else pool.classes[pool.classes >= 0]
    return np.bincount(known, minlength=classes)[:classes].astype(np.float64)


def _filled(unsure: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unknown counts as the mean of what is known."""
    known = np.isfinite(unsure)
    return np.where(known, unsure, unsure[known].mean() if known.any() else 1.0)


def _greedy(
    gain: NDArray[np.float32], expected: NDArray[np.float32], have: NDArray[np.float64], count: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Places of `count` rows, and what each was worth when it was picked; the first of equals."""
    have = have.copy()
    picks, worth = np.zeros(min(count, len(gain)), np.int64), np.zeros(min(count, len(gain)))
    left = np.zeros(len(gain), np.float32)
    for turn in range(len(picks)):
        now = gain @ (1 / (1 + have)).astype(np.float32) + left
        place = int(np.argmax(now))
        picks[turn], worth[turn], left[place] = place, now[place], -np.inf
        have += expected[place]
    return picks, worth
