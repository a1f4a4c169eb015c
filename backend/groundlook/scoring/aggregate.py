"""Regions → task: how much a whole tile is worth, by what was found on it and by whether anything was."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput
from groundlook.scoring.binary import binary_entropy

How = Literal["max", "mean", "top", "sum", "count-aware"]
TOP = 5


def per_task(
    values: NDArray[np.floating],
    owner: NDArray[np.integer],
    empty: NDArray[np.floating],
    how: How = "top",
    top: int = TOP,
) -> NDArray[np.float64]:
    """One number per task out of those of its regions.

    `values`: (R,), of each region; NaN is unknown and left out. `owner`: (R,), the row 0…N − 1 of the task it lies on.
    `empty`: (N,), the score of a task without a region, see `empty_term`. → float64 (N,), in the range of `values` for
    "max", "mean" and "top" (the mean of the `top` highest: one doubtful thing among a hundred sure ones is not averaged
    away); "sum" (Brust et al., VISAPP 2019) grows with the count, "count-aware" (sum ÷ √count) with its root. A task
    whose regions are all unknown is NaN: unknown is neither empty nor 0. Raises InvalidInput.
    """
    u, task = np.asarray(values, np.float64), np.asarray(owner, np.int64)
    result = np.array(empty, np.float64)
    if u.shape != task.shape or (len(task) and not 0 <= task.min() <= task.max() < len(result)):
        raise InvalidInput(f"{len(u)} values, owners {task.shape} for {len(result)} tasks: give each a row below that")
    result[np.unique(task)] = np.nan
    known = np.isfinite(u)
    u, task = u[known], task[known]
    order = np.lexsort((-u, task))
    u, task = u[order], task[order]
    rows, first, count = np.unique(task, return_index=True, return_counts=True)
    if how == "top":
        kept = np.arange(len(u)) - np.repeat(first, count) < top
        u, count = u[kept], np.minimum(count, top)
        first = np.cumsum(count) - count
    if how == "max":
        result[rows] = u[first]
    elif len(rows):
        total = np.add.reduceat(u, first)
        power = {"mean": 1.0, "top": 1.0, "sum": 0.0, "count-aware": 0.5}[how]
        result[rows] = total / count**power
    return result


def empty_term(peak: NDArray[np.floating]) -> NDArray[np.float64]:
    """The score of tiles without a region, by the strongest response anywhere on each: (N,) → (N,), 0…1. "Surely
    empty" scores near 0, "almost found something" higher; NaN is unknown."""
    return binary_entropy(np.clip(np.asarray(peak, np.float64), 0, 1))


def least_sure(
    entropy: NDArray[np.float64], margin: NDArray[np.float64], top: int, share: float = 0.5
) -> tuple[float, dict[str, float]] | None:
    """Of one task's regions or cells, both (R,): the mean of the `top` least sure, entropy by `share` and margin by
    the rest; and what it was put together from. None where all are unknown."""
    mixed = share * entropy + (1 - share) * margin
    known = np.flatnonzero(np.isfinite(mixed))
    if not len(known):
        return None
    worst = known[np.argsort(-mixed[known], kind="stable")[:top]]
    return float(mixed[worst].mean()), {"entropy": float(entropy[worst].mean()), "margin": float(margin[worst].mean())}
