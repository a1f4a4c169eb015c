"""Rollback and promotion by hand: the version that serves, and the queue with it."""

from __future__ import annotations

from groundlook.core.errors import LabelStudioError
from groundlook.core.types import ModelVersion
from groundlook.loop.parts import Loop
from groundlook.loop.publish import publish
from groundlook.loop.track import tell


def promote(loop: Loop, project_id: int, version: ModelVersion, over: ModelVersion | None) -> str:
    """Let `version` serve in the place of `over`. The queue stays with the one before until this one has looked at the
    open tasks. Raises what `Registry.promote` does."""
    loop.registry.promote(project_id, version, over)
    tell(loop, project_id)
    loop.jobs.submit("refresh", project_id)
    return f"{version} serves project {project_id}; the queue follows when it has looked at the open tasks"


def rollback(loop: Loop, project_id: int, version: ModelVersion | None = None) -> str:
    """Let `version` serve again, by default the one before, and publish a window of what it said while it served.
    Every request that comes from now on is answered by it, in every process, whatever happens to the window. Raises
    what `Registry.rollback` does."""
    project = loop.store.project(project_id)
    card = loop.registry.rollback(project_id, version)
    tell(loop, project_id)
    loop.jobs.submit("refresh", project_id)  # tasks that came after its time
    try:
        said = publish(loop, project)
    except LabelStudioError as error:
        said = f"the queue follows by itself ({error})"
    return f"{card.version} serves project {project_id} again; {said}"
