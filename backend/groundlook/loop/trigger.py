"""Trigger: is it time to learn, and why?

Labels cost people's time and a training costs a machine's: so it starts when enough new labels are there, earlier where
they are of ground that the model never saw or where they promise much, and at the latest when the schedule says so.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput
from groundlook.core.types import Project
from groundlook.evaluation.savings import curves, worth
from groundlook.loop.parts import Loop
from groundlook.loop.pool import positions, rounds

LEARNED, LEARNED_AT = "learned", "learned at"
"""Of how many answers were learned, and when."""
EDITED = "answers changed since they were learned"
FEW = 8
"""New labels below which nothing can be said of them, and a training is not worth its time."""
FAR, SURE = 0.95, 0.01
"""A new task is far from everything known where it is farther than 95 % of the known are from each other. New ground it
is where so many of them are far that chance has less than 1 % of it."""


def due(loop: Loop, project: Project, done: int) -> str:
    """Why a training should start now, in a few words; "" where it should not. `done`: the answers there are."""
    new = done - loop.store.value(project.id, LEARNED) + loop.store.value(project.id, EDITED)
    every = int(project.settings.get("retrain_every") or loop.settings.retrain_every)
    if new >= every:
        return f"{new:.0f} new labels"
    # A clock may have been wrong, and set back.
    hours = abs(loop.clock() - loop.store.value(project.id, LEARNED_AT)) / 3600
    if new >= 1 and 0 < loop.settings.retrain_hours <= hours and loop.store.value(project.id, LEARNED_AT):
        return f"{new:.0f} new labels, and {hours:.0f} hours since the last training"
    if new < FEW or not loop.store.value(project.id, LEARNED):
        return ""
    gain = expected_gain(loop, project, done)
    if gain >= loop.settings.retrain_gain > 0:
        return f"{new:.0f} new labels promise {gain:+.3f}"
    if drifted(loop, project, int(new)):
        return f"{new:.0f} new labels are of ground unlike what was learned"
    return ""


def expected_gain(loop: Loop, project: Project, done: int) -> float:
    """What the learning curve of this project promises of the labels that were not learned yet, at the low end of its
    95 % interval: by its high end, every young curve promises everything. 0 where no curve can be drawn."""
    points = {r.labels: r.quality for r in rounds(loop, project)}
    known = max(points, default=0)
    if not 0 < known < done:
        return 0.0
    sizes = sorted(points)
    try:
        found = curves(np.array(sizes, np.float64), np.array([points[n] for n in sizes], np.float64))
    except InvalidInput:
        return 0.0
    return worth(found, float(known), float(done - known)).low


def drifted(loop: Loop, project: Project, new: int) -> bool:
    """Whether the `new` tasks that were answered last lie far from those that were learned."""
    answered = list(dict.fromkeys(a.task_id for a in loop.store.served(project.id) if not a.skipped))
    ids, vectors = loop.features.get(project.id, loop.embedder.name)
    learned, fresh = answered[:-new], answered[-new:]
    return unlike(_of(ids, vectors, learned), _of(ids, vectors, fresh))


def unlike(known: NDArray[np.float32], fresh: NDArray[np.float32]) -> bool:
    """Whether too many rows of `fresh` (M, D) are farther from their nearest of `known` (N, D) than those are from each
    other, by a one-sided binomial test. Cosine; the nearest-neighbour two-sample idea of Schilling (JASA 1986)."""
    if len(known) < FEW or len(fresh) < FEW:
        return False
    from scipy.stats import binom  # half of every command's start, if it were imported above

    known, fresh = _units(known), _units(fresh)
    among = known @ known.T
    np.fill_diagonal(among, -np.inf)
    limit = np.quantile(among.max(axis=1), 1 - FAR)
    far = int(((fresh @ known.T).max(axis=1) < limit).sum())
    return bool(binom.sf(far - 1, len(fresh), 1 - FAR) < SURE)


def _of(ids: NDArray[np.int64], vectors: NDArray[np.floating], tasks: list[int]) -> NDArray[np.float32]:
    where = positions(ids, np.array(tasks, np.int64))
    return np.asarray(vectors[where[where >= 0]], np.float32)


def _units(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), np.float32)
