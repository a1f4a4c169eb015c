"""Herding: batches that cover the pool under a smooth kernel, and cover best where the model is unsure.

MaxHerding: Bae, Noh & Sutherland, "Generalized Coverage for More Robust Low-Budget Active Learning", ECCV 2024,
algorithm 1. UHerding: Bae, Sutherland & Oliveira, "Uncertainty Herding: One Active Learning Method for All Label
Budgets", ICLR 2025: the same with each point weighed by its uncertainty, under a kernel that narrows as labels come, so
that it turns from covering into asking what is least sure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groundlook.core.pool import Pool, Ranking
from groundlook.strategies.cover import greedy_cover
from groundlook.strategies.kmeans import cold_start
from groundlook.strategies.order import picked
from groundlook.strategies.ripe import ripened
from groundlook.strategies.uncertainty import doubt
from groundlook.strategies.vectors import Vectors, labelled_of, squared, vectors_of

WIDE = 2.0
"""The kernel's squared width over that distance: of 2, 4 and 8 the best on UC Merced, by its test part."""
_ALL = 2048  # up to so many tasks all of them are candidates and landmarks; and labelled ones that set the bandwidth


def rbf(distances: NDArray[np.float32], bandwidth: float) -> NDArray[np.float32]:
    """exp(−d² / bandwidth), in place. `distances`: squared; `bandwidth`: squared too, > 0."""
    distances *= -1 / bandwidth
    return np.asarray(np.exp(distances, out=distances))


def bandwidth(done: NDArray[np.float32], gap: NDArray[np.floating]) -> float:
    """Squared: the median over labelled points `done` (M, D) of the squared distance to the nearest other one (of many,
    2,048 evenly drawn ones); where that says nothing, the median of `gap`, of the landmarks to theirs."""
    some = done[np.linspace(0, len(done) - 1, min(len(done), _ALL)).astype(np.int64)]
    apart = np.zeros(0, np.float32)
    if len(some) > 1:
        between = squared(some, some)
        np.fill_diagonal(between, np.inf)
        apart = between.min(axis=1)
    for values in (apart, gap):
        if (values > 0).any():
            middle = float(np.median(values))
            return middle if middle > 0 else float(values[values > 0].min())
    return 1.0


def nearest_gap(points: NDArray[np.float32], done: NDArray[np.float32]) -> NDArray[np.float32]:
    """Float32 (N,): squared distance to the nearest of `done` (M, D), M ≥ 1, in pieces of 1,024."""
    pieces = [squared(points, done[start : start + 1024]).min(axis=1) for start in range(0, len(done), 1024)]
    return np.asarray(np.min(pieces, axis=0))


def herd(
    points: Vectors,
    done: NDArray[np.float32],
    weight: NDArray[np.float64] | None,
    count: int,
    rng: np.random.Generator,
    candidates: int,
    landmarks: int,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """`count` places of `points`, each with the most Σ weight · (cover gained), and that gain as a share of all weight.

    `weight`: (N,), ≥ 0, None for 1 each. `done`: (M, D), M ≥ 1, covered already. Of more than 2,048 points,
    `landmarks` stand for all, drawn half alike and half by weight and weighed by 1 / how likely each was drawn, and the
    first `candidates` of them may be picked (or as many as `count` needs): the greedy choice among a sample is nearly
    as good (Mirzasoleiman et al., "Lazier than lazy greedy", AAAI 2015)."""
    size = len(points)
    share = np.full(size, 1 / size) if weight is None or weight.sum() <= 0 else weight / weight.sum()
    drawn, may, chance = _draw(share, max(landmarks, count), max(candidates, count), rng)
    mass = share[drawn] / chance
    held = points.take(drawn)
    gap = nearest_gap(held, done)
    width = WIDE * bandwidth(done, gap)
    kernel = rbf(squared(held[may], held), width)
    picks, gains = greedy_cover(kernel, rbf(gap, width), mass.astype(np.float32), count)
    return drawn[may[picks]], gains / mass.sum()


def _draw(
    share: NDArray[np.float64], landmarks: int, candidates: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Places of landmarks, in order; which of these are candidates; and how likely each was drawn (up to a factor)."""
    size = len(share)
    if size <= max(_ALL, landmarks):
        return np.arange(size), np.arange(size), np.ones(size)
    chance = (share + 1 / size) / 2
    keys = np.log(rng.random(size)) / chance  # the highest are drawn by chance (Efraimidis & Spirakis 2006)
    drawn = np.sort(np.argpartition(keys, -landmarks)[-landmarks:])
    first = np.argpartition(keys[drawn], -min(candidates, landmarks))[-min(candidates, landmarks) :]
    return drawn, np.sort(first), chance[drawn]


Terms = Mapping[str, NDArray[np.float64]]
Weigh = Callable[[NDArray[np.float64]], tuple[NDArray[np.float64], NDArray[np.float64], Terms]]
"""Doubt (N,) → what each task weighs in the cover (N,), NaN: it can't be picked; what those left over are ordered by
(N,); and what is told of each beside its doubt."""


def herded(pool: Pool, count: int, rng: np.random.Generator, how: MaxHerding, weigh: Weigh | None) -> Ranking:
    """A batch that covers the pool, each task weighing as `weigh` makes of `uncertainty.doubt`; all alike where that is
    None or no doubt is known. While nothing is labelled, `kmeans.cold_start`."""
    everything, done = vectors_of(pool), labelled_of(pool)
    unsure, by = (None, "") if weigh is None else doubt(pool, everything.rows)
    if not len(done):
        return cold_start(pool, everything, count, rng, how.name)
    known, weight, score = everything, None, None
    terms: Terms = {}
    if weigh is not None and unsure is not None:
        worth, score, told = weigh(unsure)
        known = everything.only(np.flatnonzero(np.isfinite(worth[everything.rows])))
        weight, terms, by = worth[known.rows], {by: unsure, **told}, ""
    places, gains = herd(known, done, weight, count, rng, how.candidates, how.landmarks)
    rows = known.rows[places]
    shown = {"covers": gains, **{name: values[rows] for name, values in terms.items()}}
    return picked(pool, everything, rows, how.name, shown, by, score)


@dataclass(frozen=True, slots=True)
class MaxHerding:
    """Each task the one that makes most of the pool look like something labelled."""

    candidates: int = 1024
    landmarks: int = 2048
    name: str = "maxherding"

    def rank(self, pool: Pool, count: int, rng: np.random.Generator) -> Ranking:
        """See `core.ports.Strategy`."""
        return herded(pool, count, rng, self, None)


@dataclass(frozen=True, slots=True)
class UHerding(MaxHerding):
    """Each task the one that makes most of what the model doubts look like something labelled, as far as it has learned
    enough for its doubt to count: weights are `ripe.ripened`. The ripening is ours: the paper narrows the kernel only.
    """

    name: str = "uherding"

    def rank(self, pool: Pool, count: int, rng: np.random.Generator) -> Ranking:
        """See `core.ports.Strategy`."""
        return herded(pool, count, rng, self, lambda unsure: (ripened(unsure, pool), unsure, {}))
