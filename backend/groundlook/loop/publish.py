"""Publish: make the top of the ranking Label Studio's queue."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np

from groundlook.core.types import ModelVersion, Project, Window
from groundlook.loop.known import TaskRows, scores_of
from groundlook.loop.parts import Loop, is_withdrawn, known_answers, serving_version
from groundlook.loop.pool import open_tasks, task_rows
from groundlook.loop.rank import rank

log = logging.getLogger("groundlook.loop")

BARE = "tasks without features"
"""Of the number that the last window found."""
NUMBER = "window"
TAKEN = "windows of another home that were replaced"


def publish(loop: Loop, project: Project, strategy: str = "", length: int = 0) -> str:
    """Rank the open tasks and publish the top as a new window, of `length` tasks where that is given. Until a new model
    has seen the whole pool, the queue stays with the one that has."""
    with loop.publishing:
        window = plan(loop, project, strategy, length)
        if window is None:
            return "no open task to publish"
        predictions = known_answers(loop, project, window.model, [t.task_id for t in window.tasks])
        other = _stranger(loop, project, window)
        loop.queue.publish(project, window, predictions)
        window = replace(window, published=loop.clock())
        loop.store.add_window(project.id, window)
        if other:
            _tell(loop, project, window, other)
        loop.jobs.submit("prewarm", project.id)
        loop.jobs.submit("clean", project.id)
        if is_withdrawn(loop, project.id, window.model):  # somebody rolled back while it was made
            return publish(loop, project, strategy, length)
        return told(window) + (f", in the place of another home's {other}" if other else "")


def _stranger(loop: Loop, project: Project, coming: Window) -> str:
    """The window that Label Studio serves, where another home published it: a CI's, say, beside a service that does not
    know of its model. "" where this home did, though it may have been killed before it wrote that down."""
    served = loop.labels.state(project).version
    model, _, number = served.rpartition("+w")
    now = loop.store.current_window(project.id)
    if not model or not number.isdecimal() or (now is not None and now.version == served):
        return ""
    ours = loop.store.windows(project.id)
    if any(window.version == served for window in ours):
        return ""
    lost = int(number) < coming.number and all(window.number != int(number) for window in ours)
    return "" if lost and any(str(window.model) == model for window in (*ours, coming)) else served


def _tell(loop: Loop, project: Project, window: Window, other: str) -> None:
    """The queue has one owner: who answers Label Studio has to publish, too, or predictions pile up. So it is taken;
    but never in silence, for the other one may have learned more."""
    loop.store.next_number(project.id, TAKEN)
    log.warning(
        "project %s: %s takes the place of %s, which another Groundlook published: give both the same GROUNDLOOK_HOME, "
        "or each goes on taking the queue from the other",
        project.id,
        window.version,
        other,
    )


def plan(loop: Loop, project: Project, strategy: str = "", length: int = 0, keep: bool = True) -> Window | None:
    """The window to publish now; None where no task is open. `keep`: take its number; the next plan is another."""
    rows = task_rows(loop, project)
    version = _ready(loop, project.id, rows)
    found = open_tasks(loop, project, version, rows)
    loop.store.put_value(project.id, BARE, len(found.bare))
    if len(found.bare):
        loop.jobs.submit("refresh", project.id)  # somebody deleted them: they are made again
    if not len(found):
        return None
    number = loop.store.next_number(project.id, NUMBER) if keep else int(loop.store.value(project.id, NUMBER)) + 1
    rng = np.random.default_rng([loop.settings.seed, loop.store.published(project.id) + 1])
    ranked = rank(loop, project, found, length or _length(loop, project.id), rng, strategy)
    return Window(number, version, ranked.tasks, strategy=ranked.strategy, fallback=ranked.fallback)


def told(window: Window) -> str:
    """What was published, in a line."""
    made = f"the last good order, because {window.strategy} failed ({window.fallback})" if window.fallback else ""
    return f"window {window.version} of {len(window.tasks)} tasks by {made or window.strategy}"


def _ready(loop: Loop, project_id: int, rows: TaskRows) -> ModelVersion:
    version = serving_version(loop, project_id)
    window = loop.store.current_window(project_id)
    if window is None or window.model == version or is_withdrawn(loop, project_id, window.model):
        return version
    scores = scores_of(loop.known, loop.store, project_id, version, rows)
    return version if bool((scores.seen | rows.labelled).all()) else window.model


def _length(loop: Loop, project_id: int) -> int:
    people = {a.author for a in loop.known.served[project_id]}
    return max(loop.settings.window, 10 * len(people))
