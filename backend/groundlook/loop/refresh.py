"""Refresh: let the serving model look at every open task."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from groundlook.core.ports import Progress
from groundlook.core.types import ModelVersion, Prediction, Project, Score, Task
from groundlook.loop.known import scored_key
from groundlook.loop.parts import BATCH, UNSEEN, Loop, predict_tiles, read_tiles, serving_version
from groundlook.loop.pool import task_rows
from groundlook.loop.publish import publish
from groundlook.loop.said import keep_embeddings, keep_said

CONFIG = "label config that predictions are for"


def config_mark(project: Project) -> float:
    """A number that changes with the controls and their labels."""
    controls = repr((project.config.controls, project.config.others))
    return float(int(hashlib.sha256(controls.encode()).hexdigest()[:12], 16))


def seen_key(loop: Loop, version: ModelVersion) -> str:
    """Of how many tasks were looked at by `version` and the embedder that is chosen now."""
    return f"tasks seen by {version} and {loop.embedder.name}"


def refresh(loop: Loop, project_id: int, progress: Progress) -> str:
    """Embed new tasks and predict the open ones that the serving model has not seen; then publish. Continues
    where it stopped."""
    project = loop.store.project(project_id)
    version = serving_version(loop, project_id)
    tasks = task_rows(loop, project, fresh=True).tasks
    embedded = set(loop.features.get(project_id, loop.embedder.name)[0].tolist())
    scored = loop.store.scores(project_id, version)
    config = config_mark(project)
    if loop.store.value(project_id, CONFIG) != config:
        scored = {}  # what was predicted names controls that may be gone
    seen = {t for t, score in scored.items() if "unreadable" not in score.terms}  # pictures may come back
    todo = [t for t in tasks if t.id not in embedded or (not t.labelled and t.id not in seen)]
    unreadable = 0
    for at in range(0, len(todo), BATCH):
        unreadable += _look_at(loop, project, version, todo[at : at + BATCH], embedded)
        progress((at + BATCH) / len(todo), f"{min(at + BATCH, len(todo))} of {len(todo)} tasks by {version}")
    loop.store.put_value(project_id, seen_key(loop, version), len(tasks))
    loop.store.put_value(project_id, CONFIG, config)
    note = f", {unreadable} unreadable" if unreadable else ""
    return f"{len(todo)} tasks by {version}{note}; {publish(loop, project)}"


def temperature_of(loop: Loop, project_id: int) -> float:
    """What the serving version's probabilities are divided by, as logits; 1 where nothing was fitted."""
    card = loop.registry.serving(project_id)
    return 1.0 if card is None else card.metrics.get("temperature", 1.0)


def _look_at(loop: Loop, project: Project, version: ModelVersion, tasks: Sequence[Task], embedded: set[int]) -> int:
    tiles, broken = read_tiles(loop, project, {t.id: t for t in tasks})
    new = [t for t in tiles if t not in embedded]
    if new:
        keep_embeddings(loop.features, project.id, loop.embedder, new, loop.embedder.embed([tiles[t] for t in new]))
    rows: dict[int, tuple[Prediction, Score]] = {}
    temperature = temperature_of(loop, project.id)
    for task, prediction in predict_tiles(loop, project, version, tiles, {t.id: t for t in tasks}).items():
        rows[task] = (prediction, loop.score(prediction, temperature))
    keep_said(loop.features, project, version, {task: prediction for task, (prediction, _) in rows.items()})
    for task in broken:
        rows[task] = (Prediction(version, (), knows=False, size=UNSEEN), Score(None, {"unreadable": 1.0}))
    loop.store.put_predictions(project.id, version, rows)
    loop.store.next_number(project.id, scored_key(version))
    return len(broken)
