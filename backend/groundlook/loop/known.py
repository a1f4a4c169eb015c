"""Known: what a ranking needs to know of a project, as arrays that outlive a ranking.

Listing a hundred thousand tasks takes Label Studio minutes, and reading their scores takes us a second; an annotation
changes one row. So both are kept in the process, each under a mark that changes when it does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from groundlook.core.pool import Ground, Round
from groundlook.core.ports import Store
from groundlook.core.types import Annotation, ModelVersion, Score, Task
from groundlook.loop.ground import ToLonLat, ground_of

SPLITS = ("train", "val", "margin")
UNREAD = "annotations that can't be read"
"""Of how many there are, of those that Label Studio counts: else one of them would have all read at every look."""


@dataclass(frozen=True, slots=True)
class TaskRows:
    """The tasks of a project in the order of their ids (N). `split`: index in SPLITS. `served`: the annotations that
    were known when they were listed; `telling`: whether Label Studio then called every task labelled that has one, so
    that an annotation tells us the same from now on (it does not where a task needs several)."""

    tasks: tuple[Task, ...]
    ids: NDArray[np.int64]
    labelled: NDArray[np.bool_]
    split: NDArray[np.int8]
    ground: Ground
    served: frozenset[int]
    telling: bool


@dataclass(frozen=True, slots=True)
class ScoreRows:
    """What a model version says of the N tasks `ids`. `seen`: it looked at the task; `unreadable`: and could not.
    `score`, `terms`: float64 (N,), NaN unknown. `mark`: what they were read under."""

    mark: tuple[str, float]
    ids: NDArray[np.int64]
    seen: NDArray[np.bool_]
    unreadable: NDArray[np.bool_]
    score: NDArray[np.float64]
    terms: Mapping[str, NDArray[np.float64]]


@dataclass(slots=True)
class Known:
    """What is kept per project, of the task list and of one model version. `order`: ids as they were ranked last, by
    a strategy that did not fail. `served`: the annotations, when tasks were looked at last. `rounds`: with the version
    that serves and how many annotations were learned."""

    rows: dict[int, TaskRows] = field(default_factory=dict)
    scores: dict[int, ScoreRows] = field(default_factory=dict)
    order: dict[int, NDArray[np.int64]] = field(default_factory=dict)
    served: dict[int, list[Annotation]] = field(default_factory=dict)
    rounds: dict[int, tuple[tuple[str, float], tuple[Round, ...]]] = field(default_factory=dict)


def scored_key(version: ModelVersion) -> str:
    """Of the number that changes with the scores by `version`."""
    return f"scored by {version}"


def listed(tasks: Sequence[Task], served: Sequence[Annotation], to_lonlat: ToLonLat) -> TaskRows:
    """Arrays of a fresh list. `served`: the annotations known before it was asked for."""
    tasks = sorted(tasks, key=lambda t: t.id)
    answered = {a.task_id for a in served if not a.skipped}
    mine = [t for t in tasks if t.id in answered]
    return TaskRows(
        tasks=tuple(tasks),
        ids=np.array([t.id for t in tasks], np.int64),
        labelled=np.array([t.labelled for t in tasks], bool),
        split=np.array([SPLITS.index(t.split) for t in tasks], np.int8),
        ground=ground_of(tasks, to_lonlat),
        served=frozenset(a.id for a in served),
        telling=bool(mine) and all(t.labelled for t in mine),
    )


def still_holds(rows: TaskRows, served: Sequence[Annotation], tasks: int, annotations: int) -> TaskRows | None:
    """`rows` with what was labelled since, None where they have to be listed again. `served`: the annotations known
    now; `tasks`, `annotations`: how many Label Studio has, of annotations those that can be read."""
    now = {a.id for a in served}
    if not rows.telling or tasks != len(rows.tasks) or annotations != len(now) or not rows.served <= now:
        return None
    new = [a.task_id for a in served if a.id not in rows.served and not a.skipped]
    if not new:
        return rows
    return replace(rows, labelled=rows.labelled | np.isin(rows.ids, new))


def scores_of(known: Known, store: Store, project: int, version: ModelVersion, rows: TaskRows) -> ScoreRows:
    """Scores in the order of `rows`."""
    mark = (str(version), store.value(project, scored_key(version)))
    kept = known.scores.get(project)
    if kept is None or kept.mark != mark or kept.ids is not rows.ids:
        kept = known.scores[project] = _score_rows(store.scores(project, version), rows.ids, mark)
    return kept


def _score_rows(scores: Mapping[int, Score], ids: NDArray[np.int64], mark: tuple[str, float]) -> ScoreRows:
    place = {int(i): row for row, i in enumerate(ids)}
    seen, unreadable = np.zeros(len(ids), bool), np.zeros(len(ids), bool)
    values = np.full(len(ids), np.nan)
    terms: dict[str, NDArray[np.float64]] = {}
    for task, score in scores.items():
        row = place.get(task)
        if row is None:
            continue
        seen[row] = True
        unreadable[row] = "unreadable" in score.terms
        values[row] = np.nan if score.value is None else score.value
        for name, value in score.terms.items():
            terms.setdefault(name, np.full(len(ids), np.nan))[row] = value
    return ScoreRows(mark, ids, seen, unreadable, values, terms)
