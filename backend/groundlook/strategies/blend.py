"""Unsure first, then spread: the least sure tasks of the pool, ordered so that each differs from those before it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import EmptyPool
from groundlook.core.types import Pool, RankedTask
from groundlook.strategies.diversity import k_center


@dataclass(frozen=True, slots=True)
class UncertainThenSpread:
    """Takes the `candidates` × `head` highest scores and orders `head` of them by k-center; the rest follow by score.

    Filter-then-cover is the safe way to join two aims (facts: performance). Where no score is known yet, the whole
    pool is spread. A task with an unknown score in a pool where others are known comes after them.
    """

    head: int = 60
    candidates: int = 3

    def rank(self, pool: Pool, rng: np.random.Generator) -> tuple[RankedTask, ...]:
        """See `core.ports.Strategy`."""
        if len(pool.ids) == 0:
            raise EmptyPool("no open task is left to rank; ingest more, or finish the project")
        known = np.isfinite(pool.score)
        order = _by_score(pool)
        filtered = order[: self.head * self.candidates] if known.any() else order
        picks, gaps = k_center(pool.embedding[filtered], pool.labelled, self.head, rng)
        head = filtered[picks]
        tail = order[~np.isin(order, head)]
        rows = [*zip(head, gaps, strict=True), *((row, None) for row in tail)]
        return tuple(_entry(pool, row, place, gap) for place, (row, gap) in enumerate(rows))


def _by_score(pool: Pool) -> NDArray[np.int64]:
    """Rows, highest score first, unknown last, ties by id."""
    filled = np.where(np.isfinite(pool.score), pool.score, -np.inf)
    order: NDArray[np.int64] = np.lexsort((pool.ids, -filled)).astype(np.int64)
    return order


def _entry(pool: Pool, row: int, rank: int, gap: float | None) -> RankedTask:
    score = float(pool.score[row])
    known = score if np.isfinite(score) else None
    return RankedTask(int(pool.ids[row]), rank, known, _reason(pool, row, gap))


def _reason(pool: Pool, row: int, gap: float | None) -> str:
    score = float(pool.score[row])
    unsure = f"uncertainty {score:.3f}" if np.isfinite(score) else "uncertainty unknown"
    if gap is None:
        return f"{unsure}, by score"
    far = "first of its kind" if not np.isfinite(gap) else f"{gap:.3f} from the nearest labelled or queued"
    return f"{unsure}, spread: {far}"
