"""k-means (Lloyd, 1982), the same on every run: no sums whose order depends on threads. And the start of a project."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from groundlook.core.pool import Pool, Ranking
from groundlook.strategies.order import picked
from groundlook.strategies.plusplus import Places, plus_plus
from groundlook.strategies.vectors import COLD, Vectors, norms, squared

SAMPLE = 8192
_ROUNDS = 10
_MOST = 512


@dataclass(frozen=True, slots=True)
class Clusters:
    """`centres`: float32 (k, D). `labels`: int64 (N,), the nearest centre of each point; `gap`: float32 (N,), squared
    distance to it."""

    centres: NDArray[np.float32]
    labels: NDArray[np.int64]
    gap: NDArray[np.float32]

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Int64 (k,)."""
        return np.bincount(self.labels, minlength=len(self.centres))


def k_means(
    points: NDArray[np.float32], k: int, rng: np.random.Generator, weight: NDArray[np.float64] | None = None
) -> Clusters:
    """`points` (N, D) in `k` clusters, k ≤ N; `weight` (N,), > 0: how much each counts."""
    lengths = norms(points)

    def distance(places: Places, picks: Places) -> NDArray[np.float32]:
        return squared(points[places], points[picks], lengths[places], lengths[picks])

    first = int(rng.integers(len(points)))
    centres = points[plus_plus(distance, len(points), first, k, rng, weight)]
    share = np.ones(len(points), np.float32) if weight is None else weight.astype(np.float32)
    labels: NDArray[np.int64] = np.zeros(0, np.int64)
    for _ in range(_ROUNDS):
        found = nearest(points, centres)
        if np.array_equal(found, labels):
            break
        labels = found
        member = csr_matrix((share, (labels, np.arange(len(points)))), shape=(k, len(points)))
        total = np.bincount(labels, weights=share, minlength=k)
        filled = total > 0
        centres[filled] = (member @ points)[filled] / total[filled, None].astype(np.float32)
    labels = nearest(points, centres)
    return Clusters(centres, labels, norms(points - centres[labels]))


def nearest(points: NDArray[np.float32], centres: NDArray[np.float32]) -> NDArray[np.int64]:
    """Int64 (N,): the nearest of `centres` (k, D), the first of equals."""
    lead = points @ centres.T
    lead -= norms(centres) / 2
    return np.asarray(lead.argmax(axis=1))


def in_turns(
    groups: NDArray[np.int64], worth: NDArray[np.floating], had: NDArray[np.int64], sizes: NDArray[np.int64]
) -> NDArray[np.int64]:
    """All places, group by group in turns: each time one of a group that has had the fewest, of the largest where
    several have; within a group by `worth` (N,), highest first, the lowest place of equals.

    `groups`: (N,), 0…k−1. `had`: int64 (k,): how many turns each had before. `sizes`: int64 (k,)."""
    order = np.lexsort((-worth, groups))
    here = np.bincount(groups, minlength=len(had))
    starts = np.cumsum(here) - here
    mine = groups[order]
    turn = np.arange(len(groups)) - starts[mine] + had[mine]
    return np.asarray(order[np.lexsort((mine, -sizes[mine], turn))])


def representatives(
    points: NDArray[np.float32], count: int, rng: np.random.Generator, weight: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """`count` places of `points` (N, D), one for each of `count` clusters (at most 512; then further ones in turns),
    the nearest to its centre, large clusters first; and the size of each one's cluster."""
    if not count or not len(points):
        return np.zeros(0, np.int64), np.zeros(0)
    found = k_means(points, min(count, len(points), _MOST), rng, weight)
    order = in_turns(found.labels, -found.gap, np.zeros_like(found.sizes), found.sizes)[:count]
    return order, found.sizes[found.labels[order]].astype(np.float64)


def sample(size: int, count: int, rng: np.random.Generator, most: int = SAMPLE) -> NDArray[np.int64]:
    """Of `size` places, at most max(`most`, `count`), drawn alike, in order."""
    wanted = max(most, count)
    return np.arange(size) if size <= wanted else np.sort(rng.choice(size, wanted, replace=False))


def cold_start(pool: Pool, known: Vectors, count: int, rng: np.random.Generator, strategy: str) -> Ranking:
    """What to label where nothing is: the most typical of each kind of picture, common kinds first. That is the start
    that needs the fewest labels in our replays (facts: performance). Of large pools a sample of 8,192 is clustered."""
    places = sample(len(known), count, rng)
    order, sizes = representatives(known.take(places), count, rng)
    rows = known.rows[places[order]]
    return picked(pool, known, rows, strategy, {"like it": sizes}, f"{COLD}: the middle of each cluster")
