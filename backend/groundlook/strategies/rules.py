"""What no batch may be, whatever chose it: mostly empty, twice the same, or all of one place."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput
from groundlook.core.pool import Pool, Ranking
from groundlook.strategies.reorder import reordered

_REACH = 10
"""Tasks this many times the batch deep may take the place of those that break a rule: beyond, they are not worth it."""
_CHUNK, _MIDDLE = 256, 1024
_PLACE, _ALIKE, _EMPTY = 1, 2, 4
_TOLD = {_PLACE: "the cap per scene, block or season", _ALIKE: "near-duplicates", _EMPTY: "the cap of empty tiles"}
_STRICT = (_PLACE | _ALIKE | _EMPTY, _ALIKE | _EMPTY, _EMPTY, 0)
"""Which rules hold, the first time the ranking is walked and while the batch is not full after it."""


@dataclass(frozen=True, slots=True)
class Rules:
    """`empties`: the share of a batch that may be tiles likely (over .5) to have nothing on them. `alike`: the cosine
    of embeddings, about the middle of the pool, from which two tasks are near-duplicates: a batch has one of them; None
    allows all. `scene`, `block`, `season`: the share of a batch that may be of the same one; None for no cap. A cap of
    places is one task at least. What is unknown of a task breaks no rule.

    Where a ranking has too few tasks that keep them all, within `_REACH` batches of its top, the batch is filled up in
    order by those that break the least: first the caps of places give way, then near-duplicates, last the empties.
    """

    empties: float = 0.2
    alike: float | None = 0.98
    scene: float | None = None
    block: float | None = None
    season: float | None = None

    def __post_init__(self) -> None:
        for name in ("empties", "alike", "scene", "block", "season"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise InvalidInput(f"rule {name} {value}: give a share from 0 to 1")

    def apply(self, ranking: Ranking, pool: Pool, count: int | None = None) -> Ranking:
        """`ranking` with a batch of `count` (by default those it chose) that keeps the rules: a task that breaks one
        gives its place to the next that does not, and follows the batch; else the order stays. `why` says how many
        moved, and what gave way. Of a task from beyond those that the strategy chose, the terms are NaN."""
        wanted = min(ranking.chosen if count is None else count, len(ranking.rows))
        reach = ranking.rows[: max(_REACH * wanted, _CHUNK)]
        batch = _Batch(self, pool, reach, wanted)
        for strict in _STRICT:
            batch.walk(strict)
        first = np.flatnonzero(batch.kept)
        moved = int((first >= wanted).sum())
        why = "; ".join(part for part in (ranking.why, _said(moved, batch.gave)) if part)
        if not moved:
            return replace(ranking, why=why)
        return reordered(ranking, first, max(wanted, ranking.chosen), ranking.strategy, why)


class _Batch:
    """Which of `rows` are in the batch so far (`kept`), and how often each rule gave way (`gave`)."""

    def __init__(self, rules: Rules, pool: Pool, rows: NDArray[np.int64], wanted: int) -> None:
        self.kept = np.zeros(len(rows), bool)
        self.gave = dict.fromkeys(_TOLD, 0)
        self._rows, self._left = rows, wanted
        self._empty = np.zeros(len(rows), bool) if pool.empty is None else pool.empty[rows] > 0.5
        self._empties = _cap(rules.empties, wanted)
        self._near = _Near(pool.embedding, rules.alike, wanted)
        shares = {"scene": rules.scene, "block": rules.block, "season": rules.season}
        self._places: list[tuple[list[int], int, dict[int, int]]] = [
            (getattr(pool.ground, name)[rows].tolist(), max(1, _cap(share, wanted)), {})
            for name, share in shares.items()
            if share is not None and pool.ground is not None
        ]

    def walk(self, strict: int) -> None:
        """Take tasks in order, until there are enough, that break none of the rules `strict`."""
        open_ = np.flatnonzero(~self.kept)
        for start in range(0, len(open_), _CHUNK):
            if not self._left:
                return
            chunk = open_[start : start + _CHUNK]
            self._near.look(self._rows[chunk])
            for at, place in enumerate(chunk.tolist()):
                broken = self._broken(at, place)
                if self._left and not broken & strict:
                    self._take(at, place, broken)

    def _broken(self, at: int, place: int) -> int:
        full = any(codes[place] >= 0 and used.get(codes[place], 0) >= most for codes, most, used in self._places)
        empty = bool(self._empty[place]) and self._empties < 1
        return _PLACE * full + _ALIKE * self._near.seen(at) + _EMPTY * empty

    def _take(self, at: int, place: int, broken: int) -> None:
        self.kept[place] = True
        self._left -= 1
        self._empties -= int(self._empty[place])
        self._near.add(at)
        for codes, _, used in self._places:
            used[codes[place]] = used.get(codes[place], 0) + 1
        for rule in self.gave:
            self.gave[rule] += bool(broken & rule)


class _Near:
    """Which of a chunk of tasks look like one of the batch: by the cosine about the middle of the pool, since features
    that are never negative make all tasks alike about 0. One that is unknown looks like nothing."""

    def __init__(self, embedding: NDArray[np.floating], alike: float | None, wanted: int) -> None:
        self._embedding, self._alike = embedding, alike
        self._batch = np.zeros((wanted, embedding.shape[1] + 1), np.float32)
        self._count = 0
        some = np.asarray(embedding[:: max(1, len(embedding) // _MIDDLE)], np.float32)
        known = some[np.isfinite(some).all(axis=1)]
        self._middle = known.mean(axis=0) if len(known) else np.zeros(embedding.shape[1], np.float32)

    def look(self, rows: NDArray[np.int64]) -> None:
        if self._alike is None:
            return
        raw = np.asarray(self._embedding[rows], np.float32)
        known: NDArray[np.bool_] = np.all(np.isfinite(raw), axis=1)
        about = np.where(known[:, None], raw - self._middle, 0)
        length = np.linalg.norm(about, axis=1)
        far = length > 1e-6 * np.linalg.norm(self._middle)
        # Those in the very middle have no direction: one more column makes them alike.
        self._chunk = np.column_stack([about / np.where(far, length, 1)[:, None] * far[:, None], known & ~far])
        self._close = self._like(self._batch[: self._count], self._alike)

    def seen(self, at: int) -> bool:
        return self._alike is not None and bool(self._close[at])

    def add(self, at: int) -> None:
        if self._alike is None:
            return
        self._batch[self._count] = self._chunk[at]
        self._count += 1
        self._close |= self._like(self._chunk[at : at + 1], self._alike)

    def _like(self, some: NDArray[np.float32], least: float) -> NDArray[np.bool_]:
        close: NDArray[np.bool_] = np.any(self._chunk @ some.T >= least - 1e-6, axis=1)
        known: NDArray[np.bool_] = np.any(self._chunk, axis=1)
        return np.logical_and(close, known)


def _cap(share: float, count: int) -> int:
    return int(share * count + 1e-9)


def _said(moved: int, gave: dict[int, int]) -> str:
    parts = [f"{moved} taken for others that break a rule of the batch"] if moved else []
    parts += [f"{count} against {_TOLD[rule]}, for want of others" for rule, count in gave.items() if count]
    return ", ".join(parts)
