"""Publish: rank the open tasks and make the top of them Label Studio's queue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from groundlook.core.pool import Pool
from groundlook.core.types import ModelVersion, Project, RankedTask, Score, Task, Window
from groundlook.loop.parts import Loop, known_answers, serving_version
from groundlook.strategies.holdout import interleave


def publish(loop: Loop, project: Project) -> str:
    """Rank the open tasks and publish the top as a new window. Until a new model has seen the whole pool, the
    queue stays with the one that has."""
    with loop.publishing:
        tasks = loop.labels.tasks(project)
        open_tasks = [t for t in tasks if not t.labelled]
        version, scores = _ready(loop, project.id, open_tasks)
        seen = [t for t in open_tasks if t.id in scores]
        if not seen:
            return "no open task to publish"
        number = loop.store.next_number(project.id, "window")
        ranking = _rank(loop, project.id, tasks, seen, scores, np.random.default_rng([loop.settings.seed, number]))
        window = Window(number, version, ranking[: _length(loop, project.id)])
        predictions = known_answers(loop, project, version, [t.task_id for t in window.tasks])
        loop.queue.publish(project, window, predictions)
        window = replace(window, published=loop.clock())
        loop.store.add_window(project.id, window)
        loop.jobs.submit("prewarm", project.id)
        return f"window {window.version} of {len(window.tasks)} tasks"


def _ready(loop: Loop, project_id: int, open_tasks: Sequence[Task]) -> tuple[ModelVersion, Mapping[int, Score]]:
    version = serving_version(loop, project_id)
    scores = loop.store.scores(project_id, version)
    window = loop.store.current_window(project_id)
    if window is None or window.model == version or all(t.id in scores for t in open_tasks):
        return version, scores
    return window.model, loop.store.scores(project_id, window.model)


def _length(loop: Loop, project_id: int) -> int:
    people = {a.author for a in loop.store.served(project_id)}
    return max(loop.settings.window, 10 * len(people))


def _rank(
    loop: Loop,
    project_id: int,
    tasks: Sequence[Task],
    seen: Sequence[Task],
    scores: Mapping[int, Score],
    rng: np.random.Generator,
) -> tuple[RankedTask, ...]:
    vectors = loop.store.embeddings(project_id, loop.embedder.name)
    usable = [t for t in seen if t.id in vectors]
    train = [t.id for t in usable if t.split == "train"]
    held_out = [t.id for t in usable if t.split == "val"]
    done = [vectors[t.id] for t in tasks if t.labelled and t.id in vectors]
    ranked: tuple[RankedTask, ...] = ()
    if train:
        values = [scores[t].value for t in train]
        pool = Pool(
            ids=np.array(train, dtype=np.int64),
            score=np.array([np.nan if v is None else v for v in values]),
            embedding=np.stack([vectors[t] for t in train]),
            labelled=np.stack(done) if done else np.zeros((0, len(vectors[train[0]])), dtype=np.float32),
        )
        found = loop.strategy.rank(pool, 2 * loop.settings.window, rng)
        ranked = tuple(
            RankedTask(int(pool.ids[row]), place, scores[int(pool.ids[row])].value, found.reason(place))
            for place, row in enumerate(found.rows)
        )
    queue = interleave(ranked, held_out, loop.settings.held_out_every, rng)
    last = [(t, "straddles training and held-out ground, so neither can use it") for t in usable if t.split == "margin"]
    last += [(t, "its image can't be read; see groundlook doctor") for t in seen if t.id not in vectors]
    tail = (RankedTask(t.id, len(queue) + i, None, why) for i, (t, why) in enumerate(last))
    return (*queue, *tail)
