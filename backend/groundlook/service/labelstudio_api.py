"""The routes that Label Studio calls: /health /setup /predict /webhook /versions (facts: label-studio)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import anyio
from fastapi import APIRouter, BackgroundTasks, Depends, HTTPException, Request

from groundlook import __version__
from groundlook.core.errors import GroundlookError, InvalidInput
from groundlook.core.prompts import Prompts
from groundlook.core.types import Annotation, Control, LabelConfig, ModelVersion, Prediction, Project, Task
from groundlook.loop import Loop
from groundlook.loop.answer import answer, served_version
from groundlook.loop.interact import interact
from groundlook.loop.route import plan_of
from groundlook.loop.trigger import EDITED
from groundlook.service.body import PredictBody, read_predict
from groundlook.service.guard import guard
from groundlook.service.metrics import CLICKS, ERRORS, EVENTS, INTERACTIVE_SECONDS, PREDICT_SECONDS, PREDICTIONS

log = logging.getLogger("groundlook.service")

Body = Mapping[str, Any] | InvalidInput
"""A task, or what is wrong with it."""
PARALLEL_PREDICTS = 4
PARALLEL_CLICKS = 8
"""Of their own: a click never waits for a page of predictions."""
OTHER_EVENTS = {"TASKS_DELETED", "PROJECT_UPDATED"}


@dataclass(frozen=True, slots=True)
class Wire:
    """How JSON becomes core values and back; given by the wiring, because the wire format is an adapter's."""

    task: Callable[[Mapping[str, Any], Project], Task]
    prediction: Callable[[Prediction, LabelConfig, float, str], dict[str, Any]]
    annotation: Callable[[Mapping[str, Any], int], Annotation]
    config: Callable[[str], LabelConfig]
    prompts: Callable[[Any, LabelConfig, tuple[int, int], str, frozenset[str]], tuple[tuple[Prompts, ...], Control]]
    """(context, config, size of the picture, wanted control, ids of saved regions) → the objects pointed at, the
    control to answer for."""
    image: Callable[[Any, LabelConfig, frozenset[str]], str]
    """(context, config, ids of saved regions) → the tag of the picture that is pointed at, "" for the first."""
    plan: Callable[[Project, Any], Project]
    """A project with the plan of its backend's extra_params."""


def labelstudio_router(loop: Loop, wire: Wire, login: tuple[str, str] | None) -> APIRouter:
    """The routes; all but /health ask for the HTTP Basic `login`, if there is one."""
    router = APIRouter()
    private = APIRouter(dependencies=[Depends(guard(login))])
    limiter, clicks = anyio.CapacityLimiter(PARALLEL_PREDICTS), anyio.CapacityLimiter(PARALLEL_CLICKS)
    asked, events = anyio.CapacityLimiter(1), anyio.CapacityLimiter(1)  # one at a time, in the order they came in

    @router.get("/health")
    @router.get("/")
    async def health() -> dict[str, str]:
        return {"status": "UP", "model_class": "Groundlook", "version": __version__}

    @private.post("/setup")
    async def setup(request: Request) -> dict[str, str]:
        body = await _json(request)
        project = await _project(loop, body)
        config = project.config
        if isinstance(body.get("schema"), str):
            config = wire.config(body["schema"])  # one we can't serve: Label Studio shows the error to the admin
        planned = wire.plan(replace(project, config=config), body.get("extra_params"))
        if planned.settings != project.settings:
            loop.store.put_project(replace(project, settings=planned.settings))
            loop.jobs.submit("sync", project.id)
        return {"model_version": served_version(loop, project.id)[0]}

    @private.post("/predict")
    async def predict(request: Request) -> dict[str, Any]:
        body = read_predict(await request.body())
        project = await _project(loop, {"project": body.project})
        if body.context is not None:
            with INTERACTIVE_SECONDS.time():
                return await anyio.to_thread.run_sync(_interact, loop, wire, project, body, limiter=clicks)
        with PREDICT_SECONDS.time():
            return await anyio.to_thread.run_sync(_predict, loop, wire, project, body.bodies(), limiter=limiter)

    @private.post("/webhook")
    async def webhook(request: Request, later: BackgroundTasks) -> dict[str, str]:
        body = await _json(request)
        action = body.get("action")
        if not isinstance(action, str):
            raise InvalidInput("the body has no `action`; point Label Studio's webhook here")
        project = await _project(loop, body, asked)
        EVENTS.labels(action=action if action.isupper() and len(action) < 40 else "other").inc()
        later.add_task(_later, events, loop, wire, project, action, body)  # after the answer: Submit waits for it
        return {"status": "queued"}

    @private.get("/versions")
    async def versions(request: Request) -> dict[str, list[str]]:
        body = await _json(request, optional=True)
        projects = [_project_id(body)] if "project" in body else [p.id for p in loop.store.projects()]
        cards = [(p, c.version) for p in projects for c in loop.registry.cards(p)]
        kept = [str(version) for p, version in cards if not loop.registry.withdrawn(p, version)]
        served = [served_version(loop, p)[0] for p in projects]
        return {"versions": list(dict.fromkeys([*served, *reversed(kept)]))}

    router.include_router(private)
    return router


def _predict(loop: Loop, wire: Wire, project: Project, bodies: list[Body]) -> dict[str, Any]:
    """N tasks in, N results out, all of one version. A task that can't be read gets an empty list, which Label
    Studio stores as no prediction, and a line in `errors`; a request for it alone fails with that line."""
    version, model = served_version(loop, project.id)
    window = loop.store.current_window(project.id)
    outcomes = _answers(loop, wire, project, model, bodies)
    results: list[Any] = []
    errors: list[dict[str, Any]] = []
    for (task, outcome), body in zip(outcomes, bodies, strict=True):
        if isinstance(outcome, GroundlookError):
            ERRORS.labels(kind=type(outcome).__name__).inc()
            errors.append({"task": None if isinstance(body, InvalidInput) else body.get("id"), "error": str(outcome)})
            results.append([])
        else:
            place = 1.0 if window is None or task is None or window.version != version else window.place(task.id)
            results.append(wire.prediction(outcome, project.config, place, version))
            PREDICTIONS.inc()
    if len(bodies) == 1 and errors:
        raise next(o for _, o in outcomes if isinstance(o, GroundlookError))
    return {"results": results, "model_version": version, **({"errors": errors} if errors else {})}


def _interact(loop: Loop, wire: Wire, project: Project, body: PredictBody) -> dict[str, Any]:
    """What an annotator points at on one task, in the shape of the control that is asked for."""
    bodies = body.bodies()
    if len(bodies) != 1:
        raise InvalidInput(f"prompts for {len(bodies)} tasks in one call: a smart tool asks for one at a time")
    if isinstance(body.context, Mapping) and body.context.get("result") == []:
        # The editor asks this when its last prompt is gone, and on Submit.
        return {"results": [{"result": [], "score": 0.0, "model_version": ""}]}
    (first,) = bodies
    if isinstance(first, InvalidInput):
        raise first
    task = wire.task(first, project)
    saved = body.saved()
    image = wire.image(body.context, project.config, saved)
    picture = loop.images.picture(project, task, image)
    prompts, control = wire.prompts(body.context, project.config, picture.size, plan_of(project).output, saved)
    found = interact(loop, project, picture, None if image else task.tile, prompts, control)
    CLICKS.inc()
    scores = [r.score for r in found.regions if r.score is not None]
    config = replace(project.config, image=control.image or project.config.image)
    return {"results": [wire.prediction(found, config, min(scores, default=0.0), str(found.version))]}


def _answers(
    loop: Loop, wire: Wire, project: Project, version: ModelVersion, bodies: list[Body]
) -> list[tuple[Task | None, Prediction | GroundlookError]]:
    decoded: list[Task | GroundlookError] = []
    for body in bodies:
        try:
            decoded.append(body if isinstance(body, InvalidInput) else wire.task(body, project))
        except GroundlookError as error:
            decoded.append(error)
    answers = iter(answer(loop, project, version, [t for t in decoded if isinstance(t, Task)]))
    return [(t, next(answers)) if isinstance(t, Task) else (None, t) for t in decoded]


async def _later(events: anyio.CapacityLimiter, *event: Any) -> None:
    """One event at a time: many threads that write to one store wait for each other, and answers wait for them."""
    await anyio.to_thread.run_sync(_handle, *event, limiter=events)


def _handle(loop: Loop, wire: Wire, project: Project, action: str, body: dict[str, Any]) -> None:
    """What an event means. Whatever is lost here, the next reconcile finds."""
    try:
        if action == "START_TRAINING":
            loop.jobs.submit("learn", project.id, loop.settings.debounce)
            return
        if action == "ANNOTATION_CREATED":
            loop.store.add_served(project.id, [wire.annotation(body["annotation"], int(body["task"]["id"]))])
        elif action == "ANNOTATIONS_DELETED":
            loop.store.drop_served(project.id, [int(a["id"]) for a in body.get("annotations", [])])
        elif action == "ANNOTATION_UPDATED":
            loop.store.next_number(project.id, EDITED)
        elif action == "TASKS_CREATED":
            loop.jobs.submit("refresh", project.id, loop.settings.debounce)
            return
        elif action not in OTHER_EVENTS:
            return
        loop.jobs.submit("sync", project.id, loop.settings.debounce)
    except (GroundlookError, KeyError, TypeError, ValueError) as error:
        log.warning("event %s of project %s is not understood: %r", action, project.id, error)
        loop.jobs.submit("sync", project.id, loop.settings.debounce)


async def _json(request: Request, optional: bool = False) -> dict[str, Any]:
    raw = await request.body()
    if optional and not raw.strip():
        return {}
    try:
        body = await request.json()
    except (ValueError, RecursionError):
        raise HTTPException(400, "the body is not JSON") from None
    if not isinstance(body, dict):
        raise HTTPException(400, "the body is not a JSON object")
    return body


async def _project(loop: Loop, body: Mapping[str, Any], limiter: anyio.CapacityLimiter | None = None) -> Project:
    """The project that `body` names, read in a thread: on a busy disk a read takes as long as it takes, and the other
    requests go on."""
    return await anyio.to_thread.run_sync(loop.store.project, _project_id(body), limiter=limiter)


def _project_id(body: Mapping[str, Any]) -> int:
    """From "7.1795166970", 7 or {"id": 7}, as Label Studio's calls and webhooks send it."""
    value = body.get("project")
    if isinstance(value, Mapping):
        value = value.get("id")
    try:
        number = int(str(value).partition(".")[0])
    except ValueError:
        number = -1
    if not 0 <= number < 2**63:
        raise InvalidInput(f"project {str(value)[:40]!r} is not a project of Label Studio")
    return number
