"""Sync: what does Label Studio hold that we have not acted on?"""

from __future__ import annotations

import logging
from dataclasses import replace

from groundlook.core.ports import Progress
from groundlook.core.types import Project, Window
from groundlook.loop.known import UNREAD
from groundlook.loop.parts import Loop, is_withdrawn, serving_version
from groundlook.loop.publish import publish
from groundlook.loop.refresh import CONFIG, config_mark, seen_key
from groundlook.loop.said import keep_truth
from groundlook.loop.trigger import due

log = logging.getLogger("groundlook.loop")


def sync(loop: Loop, project_id: int, progress: Progress) -> str:
    """Compare what we know with Label Studio; refill the window, and ask for a refresh or a training."""
    project = loop.store.project(project_id)
    state = loop.labels.state(project)
    if state.config != project.config:
        project = replace(loop.store.project(project_id), config=state.config)
        loop.store.put_project(project)
    if state.annotations - len(loop.store.served(project_id)) != loop.store.value(project_id, UNREAD):
        _recount(loop, project, state.annotations)
    seen = loop.store.value(project_id, seen_key(loop, serving_version(loop, project_id)))
    if state.tasks != seen or (seen and loop.store.value(project_id, CONFIG) != config_mark(project)):
        _submit(loop, "refresh", project_id)
    done = [a for a in loop.store.served(project_id) if not a.skipped]
    why = due(loop, project, len(done))
    if why:
        log.info("training of project %s: %s", project_id, why)
        _submit(loop, "learn", project_id)
    with loop.publishing:
        window = loop.store.current_window(project_id)
        if window is not None and (
            _served(loop, project) != window.version
            or _runs_dry(loop, project_id, window)
            or is_withdrawn(loop, project_id, window.model)
        ):
            return publish(loop, project)
    return f"{len(done)} annotations, nothing to refill" + (f"; training: {why}" if why else "")


def _submit(loop: Loop, kind: str, project_id: int) -> None:
    """Ask for work unless it runs already: when it ends, sync looks again."""
    if not any(j.kind == kind and j.state == "running" for j in loop.jobs.jobs(project_id)):
        loop.jobs.submit(kind, project_id)


def _served(loop: Loop, project: Project) -> str:
    return loop.labels.state(project).version


def _recount(loop: Loop, project: Project, counted: int) -> None:
    """Annotations that no event told us of, or that are gone. `counted`: how many Label Studio had before."""
    before = {a.id for a in loop.store.served(project.id)}
    found = loop.labels.annotations(project)
    keep_truth(loop.features, project, found)
    loop.store.add_served(project.id, found)
    gone = before - {a.id for a in found}  # never one that an event brought while we listed
    loop.store.drop_served(project.id, sorted(gone))
    loop.store.put_value(project.id, UNREAD, max(0, counted - len(found)))


def _runs_dry(loop: Loop, project_id: int, window: Window) -> bool:
    done = {a.task_id for a in loop.store.served(project_id)}
    left = sum(t.task_id not in done for t in window.tasks)
    return left < loop.settings.refill_below * len(window.tasks)
