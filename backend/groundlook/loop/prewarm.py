"""Prewarm: encode the pictures of the current window, in the order in which people will open them."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from groundlook.core.errors import Busy, GroundlookError
from groundlook.core.ports import Progress, Segmenter
from groundlook.core.types import Project, Task, Window
from groundlook.loop.parts import Loop

log = logging.getLogger("groundlook.loop")


@dataclass(slots=True)
class _Tally:
    encoded: int = 0
    kept: int = 0
    answered: int = 0
    unreadable: int = 0

    @property
    def ready(self) -> int:
        return self.encoded + self.kept


def prewarm(loop: Loop, project_id: int, progress: Progress) -> str:
    """Encode what the current window will show, so that nobody's first click waits for it. Starts over when another
    window is published meanwhile. What is kept already is passed over: it continues where it stopped."""
    project = loop.store.project(project_id)
    try:
        segmenter = loop.segmenters.interactive(project)
    except Busy:
        raise  # it is being made ready: the job is tried again
    except GroundlookError as error:
        log.warning("the pictures of project %s are not encoded ahead: %s", project_id, error)
        return f"nothing encoded: {error}"
    if segmenter is None:
        return "no interactive model, so there is nothing to encode"
    encoded = 0
    while True:
        window = loop.store.current_window(project_id)
        if window is None:
            return "no window is published yet, so there is nothing to encode"
        tally = _Tally()
        if _walk(loop, project, segmenter, window, tally, progress):
            return _told(window, tally, encoded)
        encoded += tally.encoded
        log.info("project %s has a new window; its pictures go first", project_id)


def _walk(
    loop: Loop, project: Project, segmenter: Segmenter, window: Window, tally: _Tally, progress: Progress
) -> bool:
    """Encode the tasks of `window` in order. False once it is no longer the current one."""
    tasks = {t.id: t for t in loop.labels.tasks(project)}
    total = len(window.tasks)
    for place, ranked in enumerate(sorted(window.tasks, key=lambda t: t.rank), 1):
        if _number(loop, project.id) != window.number:
            return False
        task = tasks.get(ranked.task_id)
        if task is None or task.labelled or _answered(loop, project.id, ranked.task_id):
            tally.answered += 1
        else:
            _encode(loop, project, segmenter, task, tally)
        progress(place / total, f"{tally.ready} of {total} pictures encoded")
    return _number(loop, project.id) == window.number


def _number(loop: Loop, project_id: int) -> int | None:
    window = loop.store.current_window(project_id)
    return None if window is None else window.number


def _answered(loop: Loop, project_id: int, task_id: int) -> bool:
    return any(a.task_id == task_id for a in loop.store.served(project_id))


def _encode(loop: Loop, project: Project, segmenter: Segmenter, task: Task, tally: _Tally) -> None:
    try:
        if segmenter.encode(loop.images.picture(project, task)):
            tally.encoded += 1
        else:
            tally.kept += 1
    except GroundlookError as error:
        log.warning("task %s of project %s is not encoded: %s", task.id, project.id, error)
        tally.unreadable += 1


def _told(window: Window, tally: _Tally, before: int) -> str:
    notes = [f"{tally.encoded + before} now"]
    notes += [f"{tally.kept} kept before"] if tally.kept else []
    notes += [f"{tally.answered} answered or gone"] if tally.answered else []
    notes += [f"{tally.unreadable} unreadable"] if tally.unreadable else []
    return f"{tally.ready} of {len(window.tasks)} pictures of window {window.version} encoded: {', '.join(notes)}"
