"""Spread: greedy k-center (CoreSet; Sener & Savarese, ICLR 2018), exact, without a pass over all rows for each pick.

The distance to the nearest centre only falls as centres are added, so an old value is an upper bound. Of the rows with
the highest bounds those that are stale are brought up to date, more and more, until the best of them is at least as far
as any bound that is left: that row is the farthest of all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groundlook.core.pool import Pool, Ranking
from groundlook.strategies.order import picked
from groundlook.strategies.vectors import COLD, Vectors, labelled_of, norms, squared, vectors_of

_FIRST = 8  # centres that every row is compared with; the others only where it matters
_AHEAD = 4096  # rows looked at between two passes over the bounds
_BATCH = 64


class _Field:
    """Rows and how far each may be from the centres so far. `bound` (N,): squared distance × squared weight."""

    def __init__(
        self, points: Vectors, centres: NDArray[np.float32], used: int, weight: NDArray[np.float32] | None
    ) -> None:
        """`centres` (K, D), of which the first `used` ≥ 1 are there; the others are room for what is added."""
        self.points, self.centres, self.sizes, self.used = points, centres, norms(centres), used
        self.strength = None if weight is None else weight**2
        self.bound, self.length = np.empty(len(points), np.float32), np.empty(len(points), np.float32)
        first = min(_FIRST, used)
        for part, rows in points.chunks():
            self.length[part] = norms(rows)
            far = squared(rows, centres[:first], self.length[part], self.sizes[:first]).min(axis=1)
            self.bound[part] = far if self.strength is None else far * self.strength[part]
        self.seen = np.full(len(points), first)
        self.look_ahead()

    def look_ahead(self) -> None:
        """The rows with the highest bounds, in order of place, and the highest bound among the others."""
        if len(self.bound) <= _AHEAD:
            self.ahead, self.floor = np.arange(len(self.bound)), -np.inf
            return
        self.floor = float(np.partition(self.bound, -_AHEAD - 1)[-_AHEAD - 1])
        above = np.flatnonzero(self.bound > self.floor)
        level = np.flatnonzero(self.bound == self.floor)[: _AHEAD - len(above)]
        self.ahead = np.sort(np.concatenate([above, level]))

    def farthest(self) -> int:
        """The row that is farthest from all centres; the lowest of equals."""
        batch = _BATCH
        while True:
            bounds = self.bound[self.ahead]
            best = int(self.ahead[np.argmax(bounds)])
            if self.bound[best] < self.floor:
                self.look_ahead()
            elif self.seen[best] == self.used:
                return best
            else:
                stale = np.where(self.seen[self.ahead] < self.used, bounds, -np.inf)
                size = min(batch, len(stale))
                top = self.ahead[np.argpartition(stale, -size)[-size:]]
                self.refresh(np.sort(top[self.seen[top] < self.used]))
                batch *= 4

    def refresh(self, places: NDArray[np.int64]) -> None:
        """Bring `places` up to date."""
        new = slice(int(self.seen[places].min()), self.used)
        rows = self.points.take(places)
        far = squared(rows, self.centres[new], self.length[places], self.sizes[new]).min(axis=1)
        if self.strength is not None:
            far = far * self.strength[places]
        self.bound[places] = np.minimum(self.bound[places], far)
        self.seen[places] = self.used

    def add(self, place: int) -> None:
        """Make a row a centre."""
        self.centres[self.used] = self.points.take(np.array([place]))[0]
        self.sizes[self.used] = norms(self.centres[self.used][None])[0]
        self.used += 1
        self.drop(place)

    def drop(self, place: int) -> None:
        """Never pick this row again."""
        self.bound[place], self.seen[place] = -np.inf, np.iinfo(np.int64).max


def farthest_first(
    points: Vectors,
    centers: NDArray[np.float32],
    count: int,
    rng: np.random.Generator,
    weight: NDArray[np.floating] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Places of `count` of `points`, each with the most `weight` (N,), ≥ 0, × distance to all centres and earlier
    picks, and that product when it was picked. `centers`: (M, D); with none, the first pick is random and its value
    inf. The same picks as comparing every row with every pick, of equals the lowest place."""
    picks, values = np.zeros(min(count, len(points)), np.int64), np.full(min(count, len(points)), np.inf)
    if not len(picks):
        return picks, values
    used, begin = len(centers), 0 if len(centers) else 1
    space = np.zeros((used + len(picks), points.source.shape[1]), np.float32)
    space[:used] = centers
    if begin:
        picks[0] = int(rng.integers(len(points))) if weight is None else int(np.argmax(weight))
        space[0] = points.take(picks[:1])[0]
    field = _Field(points, space, used + begin, None if weight is None else np.asarray(weight, np.float32))
    for place in picks[:begin]:
        field.drop(int(place))
    for turn in range(begin, len(picks)):
        picks[turn] = field.farthest()
        values[turn] = np.sqrt(field.bound[picks[turn]])
        field.add(int(picks[turn]))
    return picks, values


def k_center(
    candidates: NDArray[np.floating], centers: NDArray[np.floating], count: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Pick `count` rows of `candidates` (N, D), each the farthest from all centres and earlier picks.

    `centers`: (M, D), what is covered already; with none, the first pick is random. Returns the rows in the order
    picked (int64) and, for each, its Euclidean distance to the nearest centre when it was picked (inf for the first
    of an empty set)."""
    return farthest_first(Vectors.of(candidates), np.asarray(centers, np.float32), count, rng)


@dataclass(frozen=True, slots=True)
class KCenter:
    """Each task the least like all that are labelled or picked before it: it covers what is rare, and what is odd."""

    name: str = "k-center"

    def rank(self, pool: Pool, count: int, rng: np.random.Generator) -> Ranking:
        """See `core.ports.Strategy`."""
        known, done = vectors_of(pool), labelled_of(pool)
        places, gaps = farthest_first(known, done, count, rng)
        why = "" if len(done) else f"{COLD}: the first is random"
        return picked(pool, known, known.rows[places], self.name, {"apart": gaps}, why)
