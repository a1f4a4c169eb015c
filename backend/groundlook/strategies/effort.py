"""How long a person will take for a task, learned from how long people took."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput

_USUAL = (5.0, 4.0, 0.5)
"""Seconds a task, a region and a vertex, before anybody was timed: what checking and correcting takes, not drawing."""
_TRUST = 5.0
"""Tasks that the usual counts as much as."""
_LONG = 10.0
"""Times the median: a longer task was left open over lunch."""
_ROUNDS, _HUBER = 30, 1.345

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Effort:
    """Seconds a task takes by itself, for each region, and for each vertex of its outlines; none below 0. `tasks`: how
    many it was fitted to."""

    task: float = _USUAL[0]
    region: float = _USUAL[1]
    vertex: float = _USUAL[2]
    tasks: int = 0

    def predict(self, regions: NDArray[np.floating], vertices: NDArray[np.floating]) -> Floats:
        """Seconds (N,) of tasks expected to have so many regions and vertices (N,); NaN where unknown."""
        seconds: Floats = self.task + self.region * np.asarray(regions, np.float64)
        return seconds + self.vertex * np.asarray(vertices, np.float64)


def fit_effort(
    lead: NDArray[np.floating],
    regions: NDArray[np.floating],
    vertices: NDArray[np.floating],
    author: NDArray[np.integer],
) -> Effort:
    """Robust regression (Huber 1964) of seconds taken on what was drawn, drawn towards `_USUAL` as if known of
    five tasks. All (N,), in the order in which they were done; `author`: a code of the person.

    A person's first task is capped at the median of that person's others: on it the tool and the task are learned.
    So is any at ten times the median of all. Rows that are not finite, or took no time, are left out; without any,
    the usual. Raises InvalidInput.
    """
    columns = [np.asarray(v, np.float64) for v in (lead, regions, vertices)]
    who = np.asarray(author)
    if len({c.shape for c in columns} | {who.shape}) > 1:
        raise InvalidInput(f"effort of {[len(c) for c in columns]} times, regions, vertices, {len(who)} authors")
    known = np.isfinite(np.stack(columns)).all(axis=0) & (columns[0] > 0)
    seconds, who = _capped(columns[0][known], who[known]), who[known]
    if not len(seconds):
        return Effort()
    about = np.column_stack([np.ones(len(seconds)), columns[1][known], columns[2][known]])
    task, region, vertex = _robust(about, seconds).tolist()
    return Effort(task, region, vertex, len(seconds))


def _capped(seconds: Floats, who: NDArray[np.integer]) -> Floats:
    capped = seconds.copy()
    for person in np.unique(who):
        mine = np.flatnonzero(who == person)
        if len(mine) > 1:
            capped[mine[0]] = min(capped[mine[0]], float(np.median(seconds[mine[1:]])))
    most = _LONG * float(np.median(capped)) if len(capped) else 0.0
    return np.minimum(capped, most)


def _robust(about: Floats, seconds: Floats) -> Floats:
    """Weighted least squares, again and again, each time with less weight for what lies far off."""
    usual = np.array(_USUAL)
    scale = np.maximum((about**2).mean(axis=0), 1e-9)
    prior = np.diag(_TRUST * scale)
    found = usual
    for _ in range(_ROUNDS):
        off = np.abs(seconds - about @ found)
        width = _HUBER * max(1.4826 * float(np.median(off)), 1e-3)
        weight = np.minimum(1, width / np.maximum(off, 1e-9))
        free = np.ones(3, bool)
        while True:  # of those that come out below 0, none counts
            a = (about[:, free] * weight[:, None]).T @ about[:, free] + prior[np.ix_(free, free)]
            b = (about[:, free] * weight[:, None]).T @ seconds + prior[np.ix_(free, free)] @ usual[free]
            solved = np.zeros(3)
            solved[free] = np.linalg.solve(a, b)
            if (solved >= 0).all():
                break
            free &= solved > 0
        if np.allclose(solved, found, rtol=1e-6, atol=1e-9):
            break
        found = solved
    return found
