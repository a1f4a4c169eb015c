"""One project: its connection, its queue, its pictures."""

from __future__ import annotations

import time
from collections.abc import Callable
from ipaddress import ip_address
from urllib.parse import urlsplit

import httpx

from groundlook.core.types import Project, Region
from groundlook.loop.answer import served_version
from groundlook.loop.interact import NO_SEGMENTER
from groundlook.loop.route import plan_of
from groundlook.service.finding import Finding, fail, fine, skip, warn
from groundlook.service.kinds import finds
from groundlook.service.shelf import usual_kind
from groundlook.service.wiring.doctor.pictures import image, tile, unreadable
from groundlook.service.wiring.doctor.service import TIMEOUT
from groundlook.service.wiring.parts import Wired
from groundlook_adapters.labelstudio.config import parse_config
from groundlook_adapters.labelstudio.probe import backends, webhook_faults
from groundlook_adapters.labelstudio.queue.window import SAMPLING

AGAIN = "run: groundlook connect --project {id}"
SSRF = (
    "Label Studio blocks private addresses unless it is started with both ML_BLOCK_LOCAL_IP=false and "
    "SSRF_PROTECTION_ENABLED=false; in a container, 127.0.0.1 is the container itself: set GROUNDLOOK_URL to an "
    "address that Label Studio can reach"
)


def config(wired: Wired, project: Project) -> Finding:
    """A label config that we can serve."""
    body = wired.client.get_project(project.url, project.token, project.id)
    found = parse_config(str(body.get("label_config") or ""))
    return fine(f"{found.control_type} {found.control!r} on {found.image!r}: {', '.join(found.labels)}")


def controls(wired: Wired, project: Project) -> Finding:
    """Every control tag gets an answer, or it is said which does not."""
    config, plan = project.config, plan_of(project)
    named = {c.name: c for c in (*config.controls, *config.others)}
    gone = [n for n in (*plan.routes, plan.output) if n and n not in named]
    if gone:
        return fail(f"the plan answers for {', '.join(gone)}, which the label config lacks", f"{AGAIN} --plan …")
    answered = {*plan.routes, *_by_own(wired, project)}
    silent = [f"{c.type} {c.name!r}" for c in named.values() if c.name not in answered and not c.smart]
    silent += [f"{tag} {name!r}" for tag, name in config.unserved]
    if silent:
        remedy = "people answer these; a plan can name a model for a control (README, Models)"
        return warn(f"no model answers for {', '.join(silent)}", remedy)
    return fine(f"models answer for {', '.join(n for n in named if n in answered)}")


def _by_own(wired: Wired, project: Project) -> set[str]:
    """The controls that what the project's own model finds goes to."""
    card = wired.registry.serving(project.id)
    kind = str(project.settings.get("kind") or usual_kind(project)) if card is None else card.kind
    arch = str(project.settings.get("arch") or "") if card is None else card.arch
    free = [c for c in project.config.controls if c.name not in plan_of(project).routes]
    found = (wired.loop.shapes.target(free, Region(finds(kind, arch), label)) for label in project.config.labels)
    return {control.name for control in found if control is not None}


def smart(wired: Wired, project: Project) -> Finding:
    """The model behind smart tools is there, and Label Studio offers them."""
    tools = [c.name for c in (*project.config.controls, *project.config.others) if c.smart]
    plan = plan_of(project)
    spec = plan.models[plan.interactive] if plan.interactive else wired.brought.sam
    if spec is None:
        return warn(f"smart tools {', '.join(tools)} have no model", NO_SEGMENTER) if tools else skip("no smart tools")
    if not wired.brought.found(spec) and "://" not in spec.weights:
        wired.brought.locate(spec)  # says what to do
    asked = next((b.url for b in backends(wired.client, project) if b.smart), None)
    if asked != wired.settings.url:
        says = f"the editor asks {asked}" if asked else "the editor offers no smart tools"
        return fail(f"{says} instead of {wired.settings.url}", f"{AGAIN}; switch off smart tools of other backends")
    chosen = "; ".join(wired.brought.runtimes()) or "the fastest runtime is found out at the first start"
    return fine(f"{spec.kind} of {spec.weights}; {chosen}")


def backend(wired: Wired, project: Project) -> Finding:
    """Label Studio knows our service and, asked now, reaches it and sets it up."""
    url = wired.settings.url
    row = next((b for b in backends(wired.client, project) if b.url == url), None)
    if row is None:
        return fail(f"the project has no ML backend {url}", _again(project))
    if row.state == "CO":
        return fine(f"Label Studio reaches {url}")
    says = f"Label Studio can't use {url}: state {row.state}" + (f", {row.error[:300]}" if row.error else "")
    if row.state == "DI":
        start = "start `groundlook serve` if it is down"
        return fail(says, f"{start}; {SSRF}" if _private(url) else f"{start}; open the way from Label Studio to it")
    return fail(says, f"{_again(project)}; if the login changed, that sends the new one")


def webhook(wired: Wired, project: Project) -> Finding:
    """The events of the project reach us, with our login."""
    url = f"{wired.settings.url}/webhook"
    faults = webhook_faults(wired.client, project, url, wired.settings.login)
    if faults is None:
        return fail(f"the project has no webhook to {url}", _again(project))
    if faults:
        return fail(f"the webhook to {url}: {'; '.join(faults)}", _again(project))
    return fine(f"events go to {url}")


def sampling(wired: Wired, project: Project) -> Finding:
    """The queue is served by prediction score."""
    now = wired.client.get_project(project.url, project.token, project.id).get("sampling")
    if now != SAMPLING:
        return fail(f"task sampling is {now!r}, so the queue's order is not ours", _again(project))
    return fine(f"{SAMPLING!r}")


def version(wired: Wired, project: Project) -> Finding:
    """What Label Studio serves, what we published last, and what /setup answers are one version."""
    for _ in range(3):  # a window that is being published changes all three within a second
        served = wired.client.state(project).version
        ours = wired.store.current_window(project.id)
        announced = _announced(wired, project)
        if ours is not None and served == ours.version == announced:
            return fine(f"{served} everywhere")
        time.sleep(1.0)
    if ours is None:
        return warn(
            "no window was published yet, so the queue's order is not ours",
            f"ingest tasks, and see groundlook jobs --project {project.id}",
        )
    if served != ours.version:
        return fail(
            f"Label Studio serves {served or 'no version'!r}, the window is {ours.version!r}: tasks come at random",
            f"see that the worker runs, which puts it right; else: {_again(project)[5:]}",
        )
    return fail(
        f"/setup answers {announced!r}, the window is {ours.version!r}: predictions would pile up",
        "start the service again with this GROUNDLOOK_HOME",
    )


def _announced(wired: Wired, project: Project) -> str:
    """As Label Studio would ask; where the service is down, what it would say."""
    settings = wired.settings
    try:
        reply = httpx.post(
            f"{settings.url}/setup",
            json={"project": f"{project.id}.0"},
            auth=settings.login,
            timeout=TIMEOUT,
            trust_env=False,
        )
        return str(reply.json().get("model_version")) if reply.status_code == 200 else f"HTTP {reply.status_code}"
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, AttributeError):
        return served_version(wired.loop, project.id)[0]


def tasks(wired: Wired, project: Project) -> Finding:
    """There is something to label."""
    state = wired.client.state(project)
    if state.tasks == 0:
        return warn("the project has no task", f"run: groundlook ingest PATH… --project {project.id}")
    scored = wired.store.scores(project.id, served_version(wired.loop, project.id)[1])
    embedded, _ = wired.loop.features.get(project.id, wired.loop.embedder.name)
    known = len(scored.keys() | set(embedded.tolist()))
    if state.tasks > known:
        return warn(f"{state.tasks} tasks, {known} of them seen", f"watch groundlook jobs --project {project.id}")
    return fine(f"{state.tasks} tasks, {state.annotations} annotations")


def order(wired: Wired, project: Project) -> Finding:
    """What is served is what a strategy chose."""
    window = wired.store.current_window(project.id)
    if window is None:
        return skip("no window yet")
    if window.fallback:
        says = f"the queue is the last good order: {window.strategy} failed ({window.fallback})"
        return warn(says, "see the worker's log; groundlook rank --strategy NAME --keep chooses another strategy")
    return fine(f"ordered by {window.strategy}" if window.strategy else "ordered by an earlier version")


def _again(project: Project) -> str:
    return AGAIN.replace("{id}", str(project.id))


def _private(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return not ip_address(host).is_global
    except ValueError:
        return "." not in host or host.endswith((".local", ".internal", ".lan"))


_ASK = "see whether Label Studio is up, then try again"
PROJECT_CHECKS: tuple[tuple[str, str, Callable[[Wired, Project], Finding]], ...] = (
    ("label config", "correct the labelling interface in the project's settings", config),
    ("controls", "correct the labelling interface or the plan", controls),
    ("smart tools", "set GROUNDLOOK_SAM to a file of SAM weights", smart),
    ("backend", AGAIN, backend),
    ("webhook", AGAIN, webhook),
    ("sampling", AGAIN, sampling),
    ("model version", AGAIN, version),
    ("tasks", _ASK, tasks),
    ("order", AGAIN, order),
    ("image", "put the file back where the task says it is, or ingest it again", image),
    ("tile", "see the service's log", tile),
    ("unreadable tasks", _ASK, unreadable),
)
"""Name, remedy where the check itself breaks, check."""
