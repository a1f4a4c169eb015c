"""Places and times that say something new: neighbours of what is labelled look like it (Tobler 1970), so a batch of
tiles that lie side by side teaches little more than one of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from groundlook.core.pool import Ground, Pool, Ranking
from groundlook.strategies.catalog import strategy_of
from groundlook.strategies.reorder import reordered

_REACH = 10
"""Tasks this many times the batch deep in the order of the base may be picked."""
_YEAR = 365.0
_NEAR, _OVERLAPS = 1, 2

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Decorrelated:
    """Takes tasks in the order of `base`, first only those that lie at least `apart` tiles from all that are labelled
    or picked; where there are no more, those that overlap none; then any.

    Ground seen in another season, by another sensor or a year apart is other ground. A task whose place is unknown is
    far from all; where a season or sensor is unknown, it is taken for the same.
    """

    base: str = "uherding"
    apart: float = 1.0
    name: str = "decorrelated"

    def rank(self, pool: Pool, count: int, rng: np.random.Generator) -> Ranking:
        """See `core.ports.Strategy`."""
        given = strategy_of(self.base).rank(pool, min(3 * count, len(pool)), rng)
        if pool.ground is None or not np.isfinite(pool.ground.xy).any():
            why = "; ".join(part for part in (f"{self.base}: where the tiles lie is unknown", given.why) if part)
            return reordered(given, np.arange(min(count, given.chosen)), min(count, given.chosen), self.name, why)
        picks, levels = self._walk(pool.ground, pool.done, given.rows[: _REACH * count], min(count, len(pool)))
        near, over = (int((levels == level).sum()) for level in (_NEAR, _OVERLAPS))
        gave = [f"{near} near others"] * bool(near) + [f"{over} overlapping others"] * bool(over)
        gave = [f"{' and '.join(gave)}, for want of tiles that lie apart"] if gave else []
        return reordered(
            given, picks, len(picks), self.name, "; ".join([self.base, *gave, *[given.why] * bool(given.why)])
        )

    def _walk(self, ground: Ground, done: Ground | None, rows: Rows, count: int) -> tuple[Rows, NDArray[np.int8]]:
        """Places in `rows` in the order picked, and how close each was then to the nearest."""
        level = np.zeros(len(rows), np.int8) if done is None else self._to_done(ground, rows, done)
        picks, levels = np.zeros(min(count, len(rows)), np.int64), np.zeros(min(count, len(rows)), np.int8)
        left = np.ones(len(rows), bool)
        for turn in range(len(picks)):
            place = int(np.argmin(np.where(left, level, np.iinfo(np.int8).max)))  # the first of the least close
            picks[turn], levels[turn], left[place] = place, level[place], False
            np.maximum(level, self._level(ground, rows, ground, rows[place : place + 1]), out=level)
        return picks, levels

    def _to_done(self, ground: Ground, rows: Rows, done: Ground) -> NDArray[np.int8]:
        level = np.zeros(len(rows), np.int8)
        mine = np.flatnonzero(np.isfinite(ground.xy[rows]).all(axis=1) & np.isfinite(ground.reach[rows]))
        theirs = np.flatnonzero(np.isfinite(done.xy).all(axis=1) & np.isfinite(done.reach))
        if not len(mine) or not len(theirs):
            return level
        radius = (ground.reach[rows[mine]] + done.reach[theirs].max()) * (1 + self.apart)
        found = cKDTree(done.xy[theirs]).query_ball_point(ground.xy[rows[mine]], radius, p=np.inf)
        a = np.repeat(mine, [len(f) for f in found])
        b = theirs[np.concatenate([np.asarray(f, np.int64) for f in found])]
        np.maximum.at(level, a, self._level(ground, rows[a], done, b))
        return level

    def _level(self, a: Ground, i: Rows, b: Ground, j: Rows) -> NDArray[np.int8]:
        """How close tiles `i` of `a` are to `j` of `b`, one by one."""
        with np.errstate(invalid="ignore"):
            gap = np.abs(a.xy[i] - b.xy[j]).max(axis=1)
            sides = a.reach[i] + b.reach[j]
            close = _NEAR * (gap < sides * (1 + self.apart)) + (gap < sides * (1 - 1e-6))
            same = ~(np.abs(a.day[i] - b.day[j]) >= _YEAR)
        for own, other in ((a.season[i], b.season[j]), (a.sensor[i], b.sensor[j])):
            same &= (own == other) | (own < 0) | (other < 0)
        return np.where(same, close, 0).astype(np.int8)
