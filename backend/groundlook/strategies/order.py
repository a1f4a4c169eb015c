"""From what each task is worth to the order of all."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from groundlook.core.pool import Pool, Ranking
from groundlook.strategies.vectors import Vectors


def best_first(worth: NDArray[np.float64], ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows by `worth` (N,), highest first, what is not finite last, ties by `ids` (N,). Only ties are sorted by both,
    which is several times faster than a stable sort of all."""
    low = np.where(np.isfinite(worth), -worth, np.inf)
    order = np.argsort(low)
    along = low[order]
    same = along[1:] == along[:-1]
    if same.any():
        tied = np.zeros(len(order), bool)
        tied[1:] |= same
        tied[:-1] |= same
        rows = order[tied]
        order[tied] = rows[np.lexsort((ids[rows], low[rows]))]
    return order.astype(np.int64, copy=False)


def picked(
    pool: Pool,
    known: Vectors,
    rows: NDArray[np.int64],
    strategy: str,
    terms: Mapping[str, NDArray[np.float64]] | None = None,
    why: str = "",
    score: NDArray[np.float64] | None = None,
) -> Ranking:
    """`rows` of the pool first, picked as a batch, then the others by `score` (N,), by default the pool's, then those
    of `known` that have none, and last, by id, the tasks without an embedding, which are not `known`."""
    given = np.asarray(pool.score if score is None else score, np.float64)
    fine = np.isfinite(given)
    worth = np.full(len(pool), np.nan)
    worth[known.rows] = np.where(fine, given, np.min(given, initial=0.0, where=fine) - 1)[known.rows]
    left = np.ones(len(pool), bool)
    left[rows] = False
    rest = np.flatnonzero(left)
    order = np.concatenate([rows, rest[best_first(worth[rest], pool.ids[rest])]])
    return Ranking(order, len(rows), strategy, why, terms or {})
