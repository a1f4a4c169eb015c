"""Lead: how long people will take for open tasks, learned from how long they took."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from groundlook.core.pool import Pool
from groundlook.core.types import Annotation
from groundlook.strategies.effort import Effort, fit_effort

Floats = NDArray[np.float64]


def effort_of(served: Sequence[Annotation], ids: NDArray[np.int64], truth: NDArray[np.float32]) -> Effort:
    """Fitted to the first answer to each of tasks `ids` (M,). `truth`: (M, 1 + C), vertices and regions of each label
    that people left there."""
    place = {int(task): row for row, task in enumerate(ids)}
    first: dict[int, Annotation] = {}
    for annotation in sorted(served, key=lambda a: (a.created, a.id)):
        if annotation.task_id in place and not annotation.skipped:
            first.setdefault(annotation.task_id, annotation)
    rows = np.array([place[task] for task in first], np.int64)
    people = {author: code for code, author in enumerate(dict.fromkeys(a.author for a in first.values()))}
    return fit_effort(
        np.array([a.lead_time for a in first.values()]),
        truth[rows, 1:].sum(axis=1),
        truth[rows, 0],
        np.array([people[a.author] for a in first.values()], np.int64),
    )


def seconds_of(pool: Pool, effort: Effort, truth: NDArray[np.float32] | None) -> Floats | None:
    """(N,): of the regions that the model expects, each with as many vertices as people gave one so far; a class is one
    region. None where nothing is expected yet."""
    if pool.kind == "classification":
        return effort.predict(np.ones(len(pool)), np.zeros(len(pool)))
    if pool.counts is None:
        return None
    regions = pool.counts.sum(axis=1, dtype=np.float64)
    drawn = 0.0 if truth is None else float(np.nansum(truth[:, 1:]))
    each = float(np.nansum(truth[:, 0])) / drawn if truth is not None and drawn else 0.0
    return effort.predict(regions, regions * each)
