"""Savings: what the random stream and the trainings so far say of the labels saved and of those to come."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput
from groundlook.core.types import UNTRAINED_VERSION, Annotation, Project, RankedTask, Stream, Window
from groundlook.evaluation.agreement import agreement
from groundlook.evaluation.savings import (
    Estimate,
    curves,
    mean_of,
    needed,
    random_labels,
    verdict,
    worth,
)
from groundlook.learning.gate import measure
from groundlook.learning.snapshot import load_snapshot
from groundlook.loop.parts import Loop, serving_version

T = TypeVar("T")

ENOUGH = 30
"""Answered tasks of the random stream below which an accuracy is no more than a hint."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A task that people answered after `version` had shown what it saw there. `agreed` 0…1."""

    task_id: int
    stream: Stream
    version: str
    agreed: float


@dataclass(frozen=True, slots=True)
class Savings:
    """`labels`: tasks answered. `chosen`, `random`: those of each stream that a trained model had looked at before.
    `accuracy`: agreement of the serving model with people on its random ones; `ever`: of every version on its own.
    `random_labels`: what random would have needed for as many corrections; `saved`: that minus the chosen ones.
    `measure`: what the quality of trainings is; `points`: (labels, quality) of each. `worth`: of the next `more`;
    `verdict`: stop, go on or unsure, against `least`; `needed`: labels in all to reach `target`. None where it can't be
    known; `missing` says why."""

    labels: int
    chosen: int
    random: int
    serving: str
    accuracy: Estimate | None
    ever: Estimate | None
    random_labels: Estimate | None
    saved: Estimate | None
    measure: str
    points: tuple[tuple[int, float], ...]
    more: int
    least: float
    worth: Estimate | None
    verdict: str
    target: float | None
    needed: Estimate | None
    missing: tuple[str, ...]


def savings(loop: Loop, project_id: int, more: int = 500, least: float = 0.01, target: float | None = None) -> Savings:
    """Everything that can be said of a project now. People were shown the model's answer before they gave theirs, so
    agreement flatters it. Raises NotFound."""
    project = loop.store.project(project_id)
    missing: list[str] = []
    rows = answered(loop, project)
    serving = str(serving_version(loop, project_id))
    mine = _agreed([r for r in rows if r.version == serving], "random")
    chosen, random = _agreed(rows, "chosen"), _agreed(rows, "random")
    served = len({a.task_id for a in loop.store.served(project_id) if not a.skipped})
    accuracy = _known(missing, f"accuracy of {serving}", lambda: mean_of(mine))
    ever = _known([], "", lambda: mean_of(random))
    if accuracy is not None and len(mine) < ENOUGH:
        missing.append(f"{len(mine)} answers at random under {serving}: a hint, until there are {ENOUGH}")
    theirs = _known(missing, "labels saved", lambda: random_labels(1 - chosen, 1 - random))
    points, name = _points(loop, project)
    labels = np.array([n for n, _ in points], np.float64)
    quality = np.array([q for _, q in points], np.float64)
    found = _known(missing, f"what the next {more} labels are worth", lambda: curves(labels, quality))
    gain = None if found is None else worth(found, float(served), float(more))
    return Savings(
        served,
        len(chosen),
        len(random),
        serving,
        accuracy,
        ever,
        theirs,
        None if theirs is None else _less(theirs, len(chosen)),
        name,
        points,
        more,
        least,
        gain,
        "unknown" if gain is None else verdict(gain, least),
        target,
        None if found is None or target is None else needed(found, target),
        tuple(missing),
    )


def answered(loop: Loop, project: Project) -> list[Answered]:
    """The first answer to every task that a trained model had looked at before, in the order of service."""
    windows = loop.store.windows(project.id)
    rows = []
    for answer in first_answers(loop, project):
        place = place_of(windows, answer)
        if place is None or place[0].model.name == UNTRAINED_VERSION.name:
            continue
        window, task = place
        seen = loop.store.predictions(project.id, window.model, [task.task_id]).get(task.task_id)
        if seen is not None and seen.knows:
            agreed = agreement(seen.regions, answer.regions)
            rows.append(Answered(task.task_id, task.stream, str(window.model), agreed))
    return rows


def first_answers(loop: Loop, project: Project) -> list[Annotation]:
    """What people said of each task first, with its regions, in the order of service."""
    people = {a.id: a for a in loop.labels.annotations(project) if not a.skipped}
    first: dict[int, Annotation] = {}
    for served in loop.store.served(project.id):
        if served.id in people:
            first.setdefault(served.task_id, people[served.id])
    return list(first.values())


def place_of(windows: Sequence[Window], answer: Annotation) -> tuple[Window, RankedTask] | None:
    """The window that a task was served from, as in the audit: the newest that held it when it was served."""
    at = answer.created - answer.lead_time
    for window in reversed(windows):
        task = next((t for t in window.tasks if t.task_id == answer.task_id), None)
        if task is not None and window.published <= at + 1.0:
            return window, task
    return None


def _agreed(rows: Sequence[Answered], stream: Stream) -> NDArray[np.float64]:
    return np.array([r.agreed for r in rows if r.stream == stream], np.float64)


def _points(loop: Loop, project: Project) -> tuple[tuple[tuple[int, float], ...], str]:
    """(training labels, quality on held-out ground) of every training whose snapshot is kept, by labels; and what the
    quality is. Refused versions count: they are trainings too."""
    folder = loop.home / "snapshots" / str(project.id)
    found: dict[int, float] = {}
    name = "quality"
    for card in loop.registry.cards(project.id):
        path = folder / f"{card.snapshot}.json"
        if card.snapshot and path.exists() and _is_quality(card.metrics):
            found[len(load_snapshot(path).examples)] = card.metrics["quality"]
            name = measure(card.metrics)
    return tuple(sorted(found.items())), name


def _is_quality(metrics: Mapping[str, float]) -> bool:
    return bool(np.isfinite(metrics.get("quality", np.nan)))


def _known(missing: list[str], what: str, make: Callable[[], T]) -> T | None:
    try:
        return make()
    except InvalidInput as error:
        missing.append(f"{what}: {error}")
        return None


def _less(found: Estimate, spent: int) -> Estimate:
    return Estimate(found.value - spent, found.low - spent, found.high - spent)
