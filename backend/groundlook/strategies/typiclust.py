"""TypiClust: the most typical task of each cluster that has no label (Hacohen, Dekel & Weinshall, ICML 2022)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groundlook.core.pool import Pool, Ranking
from groundlook.strategies.kmeans import in_turns, k_means, nearest, sample
from groundlook.strategies.order import picked
from groundlook.strategies.vectors import COLD, Vectors, labelled_of, squared, vectors_of

_NEIGHBOURS = 20
_MOST = 500  # clusters, as in the paper
_SAMPLE = 4096
_MEMBERS = 1024  # of a larger cluster, so many evenly drawn ones stand for it


def typicality(points: NDArray[np.float32]) -> NDArray[np.float64]:
    """1 / mean distance to the 20 nearest others (equation 4). (n, D) → (n,)."""
    if len(points) < 2:
        return np.ones(len(points))
    near = min(_NEIGHBOURS, len(points) - 1)
    apart = squared(points, points)
    np.fill_diagonal(apart, -1)
    closest = np.partition(apart, near, axis=1)[:, : near + 1]
    return np.asarray(near / (np.sqrt(np.maximum(closest, 0).astype(np.float64)).sum(axis=1) + 1e-7))


@dataclass(frozen=True, slots=True)
class TypiClust:
    """Clusters as many as there will be labels, at most 500; those with fewest labels first, of these the largest. Of
    large pools a sample of 4,096 makes the clusters, and every task goes to its nearest."""

    name: str = "typiclust"

    def rank(self, pool: Pool, count: int, rng: np.random.Generator) -> Ranking:
        """See `core.ports.Strategy`."""
        known, done = vectors_of(pool), labelled_of(pool)
        some = known.take(sample(len(known), count, rng, _SAMPLE))
        k = min(len(done) + count, _MOST, len(some) + len(done))
        if not count:
            return picked(pool, known, known.rows[:0], self.name)
        centres = k_means(np.concatenate([done, some]), k, rng).centres
        had = np.bincount(nearest(done, centres), minlength=k) if len(done) else np.zeros(k, np.int64)
        places, worth = _picks(known, _assign(known, centres), had, count)
        why = "" if len(done) else COLD
        return picked(pool, known, known.rows[places], self.name, {"typical": worth}, why)


def _assign(points: Vectors, centres: NDArray[np.float32]) -> NDArray[np.int64]:
    return np.concatenate([nearest(rows, centres) for _, rows in points.chunks()])


def _picks(
    points: Vectors, labels: NDArray[np.int64], had: NDArray[np.int64], count: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """In turns; typicality is only looked at in clusters that come to a turn."""
    sizes = np.bincount(labels, minlength=len(had))
    turn, count = int(had.min()), min(count, len(points))
    while np.minimum(sizes, np.maximum(turn - had + 1, 0)).sum() < count:
        turn += 1
    members = np.split(np.argsort(labels, kind="stable"), np.cumsum(sizes)[:-1])
    held = [_some(members[group], count) for group in np.flatnonzero((had <= turn) & (sizes > 0))]
    places = np.concatenate(held)
    worth = np.concatenate([typicality(points.take(part)) for part in held])
    order = in_turns(labels[places], worth, had, sizes)[:count]
    return places[order], worth[order]


def _some(places: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    most = max(_MEMBERS, count)
    return places if len(places) <= most else places[np.linspace(0, len(places) - 1, most).astype(np.int64)]
