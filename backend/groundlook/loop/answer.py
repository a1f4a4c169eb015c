"""Answer: one request of Label Studio."""

from __future__ import annotations

from collections.abc import Sequence

from groundlook.core.errors import GroundlookError
from groundlook.core.types import ModelVersion, Prediction, Project, Task
from groundlook.loop.parts import (
    BATCH,
    UNSEEN,
    Loop,
    is_withdrawn,
    known_answers,
    predict_tiles,
    read_tiles,
    serving_version,
)


def served_version(loop: Loop, project_id: int) -> tuple[str, ModelVersion]:
    """What `/setup` announces and every prediction carries, and the model behind it. After a rollback, until a window
    without the withdrawn version is published, that is the version that serves, by its own name."""
    window = loop.store.current_window(project_id)
    if window is not None and not is_withdrawn(loop, project_id, window.model):
        return window.version, window.model
    version = serving_version(loop, project_id)
    return str(version), version


def answer(
    loop: Loop, project: Project, version: ModelVersion, tasks: Sequence[Task]
) -> list[Prediction | GroundlookError]:
    """What people see first on each task, in order: what is known of it, else a prediction by `version`; an error
    where its image can't be read."""
    known = known_answers(loop, project, version, [t.id for t in tasks if t.id])
    found: list[Prediction | GroundlookError | None] = [known.get(t.id) for t in tasks]
    todo = [i for i, p in enumerate(found) if p is None or (isinstance(p, Prediction) and p.size == UNSEEN)]
    for at in range(0, len(todo), BATCH):
        chunk = todo[at : at + BATCH]
        tiles, broken = read_tiles(loop, project, {i: tasks[i] for i in chunk})
        for place, prediction in predict_tiles(loop, project, version, tiles, dict(enumerate(tasks))).items():
            found[place] = prediction
        for place, error in broken.items():
            found[place] = error
    return [p for p in found if p is not None]
