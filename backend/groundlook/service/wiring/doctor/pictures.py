"""A project's pictures: as the backend reads them, and as the annotator's browser does."""

from __future__ import annotations

from collections.abc import Iterator

import httpx

from groundlook.core.errors import GroundlookError, LabelStudioError
from groundlook.core.types import Project, Task
from groundlook.loop.answer import served_version
from groundlook.service.finding import Finding, fail, fine, skip, warn
from groundlook.service.wiring.parts import Wired, decode_task
from groundlook_adapters.labelstudio.probe import one_task, some_tasks

_SHOWN = 3


def image(wired: Wired, project: Project) -> Finding:
    """The pixels of an open task, read as a prediction would read them."""
    task = next(_open_tasks(wired, project), None)
    if task is None:
        return skip("no open task")
    picture = wired.loop.images.read(project, task)
    way = "from its raster" if task.tile is not None else f"from {task.image[:100]}"
    return fine(f"task {task.id}: {picture.size[0]}×{picture.size[1]} px {way}")


def tile(wired: Wired, project: Project) -> Finding:
    """The picture of one of our tiles over HTTP, with the Origin that the annotator's browser sends."""
    task = next((t for t in _open_tasks(wired, project) if t.tile is not None), None)
    if task is None:
        return skip("no open task shows a tile of ours")
    url = wired.settings.url
    if not task.image.startswith(f"{url}/tiles/"):
        return fail(
            f"task {task.id} shows {task.image[:100]}, but the service is at {url}",
            "set GROUNDLOOK_URL to what the tasks say, and forward it; or ingest again into a new project",
        )
    try:
        reply = httpx.get(task.image, headers={"Origin": project.url}, timeout=30.0, trust_env=False)
    except httpx.HTTPError as error:
        return fail(f"{task.image[:100]} does not answer ({type(error).__name__})", "start it: groundlook serve")
    if reply.status_code == 403:
        return fail(
            f"the service refuses the signature of task {task.id}",
            f"put back {wired.settings.home / 'tiles.key'} as it was when the task was ingested, or ingest again",
        )
    if reply.status_code != 200:
        return fail(f"{task.image[:100]} answered {reply.status_code}: {reply.text[:200]}", "see the service's log")
    if reply.headers.get("Access-Control-Allow-Origin") not in ("*", project.url):
        return fail(
            f"tiles come without Access-Control-Allow-Origin for {project.url}, so the editor shows none",
            "let the proxy in front of the service pass this header on",
        )
    return fine(f"{len(reply.content)} bytes of {reply.headers.get('Content-Type')}, and the browser may use them")


def unreadable(wired: Wired, project: Project) -> Finding:
    """The tasks whose image could not be read when the serving model looked at them, and why not."""
    scores = wired.store.scores(project.id, served_version(wired.loop, project.id)[1])
    ids = sorted(task for task, score in scores.items() if score.terms.get("unreadable"))
    if not ids:
        return fine(f"none of {len(scores)}")
    reasons = "; ".join(_reason(wired, project, task) for task in ids[:_SHOWN])
    return warn(
        f"{len(ids)} of {len(scores)} tasks: {reasons}",
        "put their images back, or delete the tasks; they are served last, without a pre-annotation",
    )


def _reason(wired: Wired, project: Project, task: int) -> str:
    try:
        wired.loop.images.read(project, decode_task(one_task(wired.client, project, task), project))
    except LabelStudioError as error:
        return f"task {task}: {'deleted' if error.status == 404 else error}"
    except GroundlookError as error:
        return f"task {task}: {error}"
    return f"task {task}: can be read again"


def _open_tasks(wired: Wired, project: Project) -> Iterator[Task]:
    for body in some_tasks(wired.client, project):
        task = decode_task(body, project)
        if not task.labelled:
            yield task
