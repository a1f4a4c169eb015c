"""Refresh: let the serving model look at every open task of which it would say something new."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

import numpy as np

from groundlook.core.ports import Progress
from groundlook.core.types import UNTRAINED_VERSION, ModelVersion, Prediction, Project, Score, Task
from groundlook.loop.keeper import Keeper
from groundlook.loop.known import scored_key
from groundlook.loop.look import Look, keep
from groundlook.loop.parts import BATCH, UNSEEN, Loop, is_withdrawn, serving_version
from groundlook.loop.pieces import looks, time_left
from groundlook.loop.pool import positions, task_rows
from groundlook.loop.publish import publish
from groundlook.loop.reuse import ENOUGH, LEAST, PROBES, change, guess, trusted
from groundlook.loop.said import carry_said

CONFIG = "label config that predictions are for"
CARRIED = "carried"
"""The term of a score that an earlier version gave."""


def config_mark(project: Project) -> float:
    """A number that changes with the controls and their labels."""
    controls = repr((project.config.controls, project.config.others))
    return float(int(hashlib.sha256(controls.encode()).hexdigest()[:12], 16))


def seen_key(loop: Loop, version: ModelVersion) -> str:
    """Of how many tasks were looked at by `version` and the embedder that is chosen now."""
    return f"tasks seen by {version} and {loop.embedder.name}"


def temperature_of(loop: Loop, project_id: int) -> float:
    """What the serving version's probabilities are divided by, as logits; 1 where nothing was fitted."""
    card = loop.registry.serving(project_id)
    return 1.0 if card is None else card.metrics.get("temperature", 1.0)


@dataclass(slots=True)
class _Run:
    """One refresh. `known`: tasks that have an embedding; `seen`: that this version looked at; `before`: the version
    whose answers may stand."""

    loop: Loop
    project: Project
    version: ModelVersion
    progress: Progress
    known: set[int]
    seen: set[int]
    before: ModelVersion | None = None
    total: int = 0
    done: int = 0
    unreadable: int = 0
    carried: int = 0
    began: float = field(default_factory=time.monotonic)

    def wants(self, task: Task) -> bool:
        """Whether there is anything to do for it."""
        return task.id not in self.known or (not task.labelled and task.id not in self.seen)

    def look_at(self, tasks: Sequence[Task], more: int = 0) -> None:
        """Predict and embed what is to do of `tasks`, and write it down every few seconds. `more`: tasks that may come
        after these."""
        todo = [t for t in tasks if self.wants(t)]
        self.total = self.done + len(todo) + more
        fresh = {t.id for t in todo} - self.known
        temperature = temperature_of(self.loop, self.project.id)
        with closing(Keeper(lambda found: self._keep(found, temperature))) as keeper:
            for count, found in looks(self.loop, self.project, self.version, todo, fresh, BATCH):
                keeper.add(found)
                self.done += count
                self.progress(self.done / self.total, self._told())

    def _keep(self, found: Look, temperature: float) -> None:
        keep(self.loop, self.project, self.version, found, temperature)
        self.loop.store.next_number(self.project.id, scored_key(self.version))
        self.unreadable += len(found.unreadable)

    def _told(self) -> str:
        left = time_left(self.done, self.total, time.monotonic() - self.began)
        return f"{self.done:,} of {self.total:,} tasks by {self.version}{left}"

    def carry(self, tasks: Sequence[Task]) -> None:
        """Let the earlier answers to `tasks` stand."""
        before, project, ids = self.before, self.project, [t.id for t in tasks if self.wants(t)]
        if before is None or not ids:
            return
        scores = self.loop.store.scores(project.id, before)
        rows: dict[int, tuple[Prediction, Score]] = {}
        for task, said in self.loop.store.predictions(project.id, before, ids).items():
            rows[task] = said, replace(scores[task], terms={**scores[task].terms, CARRIED: 1.0})
        carry_said(self.loop.features, project, before, self.version, np.array(sorted(rows), np.int64))
        self.loop.store.put_predictions(project.id, self.version, rows)
        self.loop.store.next_number(project.id, scored_key(self.version))
        self.carried += len(rows)


def refresh(loop: Loop, project_id: int, progress: Progress) -> str:
    """Embed new tasks and predict the open ones that the serving model has not seen, in the order of the queue; then
    publish. Where an earlier version has seen many of them, only those are predicted of which the new one would say
    something else (reuse.py). Continues where it stopped, and comes to the same."""
    project = loop.store.project(project_id)
    version = serving_version(loop, project_id)
    tasks = task_rows(loop, project, fresh=True).tasks
    known = set(loop.features.get(project_id, loop.embedder.name)[0].tolist())
    scored = loop.store.scores(project_id, version)
    config = config_mark(project)
    changed = loop.store.value(project_id, CONFIG) != config
    if changed:
        scored = {}  # what was predicted names controls that may be gone
    seen = {t for t, score in scored.items() if "unreadable" not in score.terms}  # pictures may come back
    before = None if changed else _before(loop, project, version)
    run = _Run(loop, project, version, progress, known, seen, before)
    _all_of(run, _in_queue_order(loop, project_id, [t for t in tasks if not t.labelled or t.id not in known]))
    loop.store.put_value(project_id, seen_key(loop, version), len(tasks))
    loop.store.put_value(project_id, CONFIG, config)
    note = f", {run.unreadable} unreadable" if run.unreadable else ""
    note += f", {run.carried} as before" if run.carried else ""
    return f"{run.done} tasks by {version}{note}; {publish(loop, project)}"


def _before(loop: Loop, project: Project, version: ModelVersion) -> ModelVersion | None:
    """The version that made the queue of now, if it has learned and is not the one that looks."""
    window = loop.store.current_window(project.id)
    if window is None or window.model == version or window.model.name == UNTRAINED_VERSION.name:
        return None
    return None if is_withdrawn(loop, project.id, window.model) else window.model


def _in_queue_order(loop: Loop, project_id: int, todo: Sequence[Task]) -> list[Task]:
    """Those that people are served next come first."""
    order = loop.known.order.get(project_id)
    window = loop.store.current_window(project_id)
    first = [] if window is None else [t.task_id for t in window.tasks]
    place = {task: i for i, task in enumerate([*first, *([] if order is None else order.tolist())][::-1])}
    return sorted(todo, key=lambda t: -place.get(t.id, -1))


def _all_of(run: _Run, tasks: list[Task]) -> None:
    """Look at all of `tasks` that are to do, or at those that change. What is decided here does not depend on what is
    done already, so that a refresh that was cut short comes to the same."""
    may = _may_stand(run, tasks)
    if len(may) < LEAST:
        run.look_at(tasks)
        return
    rest = [t for t in tasks if t.id in may]
    top = max(run.loop.settings.window, PROBES)
    rng = np.random.default_rng(run.loop.settings.seed)
    probes = set((top + rng.choice(len(rest) - top, min(PROBES, len(rest) - top), replace=False)).tolist())
    first = [t for i, t in enumerate(rest) if i < top or i in probes]
    later = [t for i, t in enumerate(rest) if i >= top and i not in probes]
    run.look_at([*(t for t in tasks if t.id not in may), *first], len(later))
    again, stand = _split(run, first, {rest[i].id for i in probes}, later)
    run.look_at(again)
    run.carry(stand)


def _may_stand(run: _Run, tasks: Sequence[Task]) -> set[int]:
    """Open tasks that the earlier version looked at itself, and that have an embedding. What it had taken over from
    another is looked at again: two steps of change go unseen no more than one."""
    if run.before is None:
        return set()
    scores = run.loop.store.scores(run.project.id, run.before)
    read = {t for t, score in scores.items() if not {"unreadable", CARRIED} & score.terms.keys()}
    return {t.id for t in tasks if t.id in read and t.id in run.known and not t.labelled}


def _split(run: _Run, looked: Sequence[Task], probes: set[int], rest: list[Task]) -> tuple[list[Task], list[Task]]:
    """Of `rest`: what has to be looked at, most changed first, and what may stand."""
    seen = _changes(run, [t.id for t in looked])
    ids, vectors = run.loop.features.get(run.project.id, run.loop.embedder.name)
    known = np.array(sorted(seen), np.int64)
    changes = np.array([seen[int(t)] for t in known])
    near = vectors[positions(ids, known)]
    check = {t: _without(near, changes, int(np.flatnonzero(known == t)[0])) for t in probes if t in seen}
    if not check or not trusted({t: seen[t] for t in check}, check):
        return rest, []
    wanted = np.array([t.id for t in rest], np.int64)
    expected = guess(near, changes, vectors[positions(ids, wanted)])
    order = np.argsort(-expected, kind="stable")
    return (
        [rest[i] for i in order if expected[i] >= ENOUGH],
        [rest[i] for i in order if expected[i] < ENOUGH],
    )


def _changes(run: _Run, ids: Sequence[int]) -> dict[int, float]:
    """How much was changed of what the earlier version said; tasks that can't be read any more are left out."""
    if run.before is None:
        return {}
    old = run.loop.store.predictions(run.project.id, run.before, ids)
    new = run.loop.store.predictions(run.project.id, run.version, ids)
    return {t: change(old[t], new[t]) for t in ids if t in old and t in new and new[t].size != UNSEEN}


def _without(near: np.ndarray, changes: np.ndarray, row: int) -> float:  # type: ignore[type-arg]
    """The guess for one of the known by the others."""
    others = np.arange(len(near)) != row
    return float(guess(near[others], changes[others], near[row : row + 1])[0])
