"""A Label Studio project and our service, made known to each other."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from groundlook.core.errors import InvalidConfig, InvalidInput, InvalidWeights, NotFound
from groundlook.core.plan import Plan
from groundlook.core.ports import Progress
from groundlook.core.types import ModelCard, Project
from groundlook.learning.registry import version_of
from groundlook.loop.route import plan_of
from groundlook.loop.track import tell
from groundlook.models.labels import map_classes
from groundlook.models.weights import file as yolo_weights
from groundlook.models.weights.fetch import fetch
from groundlook.service.kinds import kind_by_arch, kind_of, kinds
from groundlook.service.plan import read_plan
from groundlook.service.shelf import usual_kind
from groundlook.service.wiring.parts import Wired
from groundlook_adapters.labelstudio.config import parse_config
from groundlook_adapters.labelstudio.connect import connect


@dataclass(frozen=True, slots=True)
class Choices:
    """`weights`: a path, or an https URL with `sha256`. `label_map`: model class → project label. `arch`: the network
    of weights that don't name theirs, and of trainings. `retrain_every`: new annotations that start a training.
    `plan`: the text of a groundlook.toml. `kind`: of the model that the project trains. `licence`: of the weights, and
    of what the project trains."""

    weights: str | None = None
    sha256: str | None = None
    label_map: Mapping[str, str] = field(default_factory=dict)
    arch: str | None = None
    retrain_every: int | None = None
    plan: str | None = None
    kind: str | None = None
    licence: str | None = None


def find_project(wired: Wired, project_id: int, url: str | None, token: str | None) -> Project:
    """The connected project, or one described by `url` and `token` that need not be connected yet."""
    try:
        project = wired.store.project(project_id)
    except NotFound:
        if not url or not token:
            raise
        return _described(wired, project_id, url, token, {})
    if url and url.rstrip("/") != project.url:
        raise InvalidInput(_other_server(project, url))  # and its token goes nowhere
    return replace(project, token=token) if token else project


def connect_project(
    wired: Wired, project_id: int, url: str, token: str, choices: Choices, progress: Progress | None = None
) -> list[str]:
    """Set up everything; returns one sentence per change. Run twice, the second time changes nothing. `progress` hears
    of a download."""
    before = _known(wired, project_id)
    if before is not None and before.url != url.rstrip("/"):
        raise InvalidInput(_other_server(before, url))
    project = _described(wired, project_id, url, token, {} if before is None else before.settings)
    changes = [] if before is not None else [f"project {project_id} ({project.title!r}) is known to this service now"]
    project, used = use_weights(wired, project, choices, progress)
    if project != before:
        wired.store.put_project(project)
        if before is not None and not used:
            changes.append(f"stored settings of project {project_id} brought up to date")
    smart = bool(wired.settings.sam or plan_of(project).interactive)
    changes += used + connect(wired.client, project, wired.settings.url, wired.settings.login, smart)
    wired.jobs.submit("sync", project_id)
    return changes


def await_window(wired: Wired, project_id: int, seconds: float, progress: Callable[[float, str], None]) -> str | None:
    """Wait until the worker has published a window; None when there is no task yet, or time ran out."""
    end = time.monotonic() + seconds
    project = wired.store.project(project_id)
    while time.monotonic() < end:
        window = wired.store.current_window(project_id)
        state = wired.client.state(project)
        if window is not None and state.version == window.version:
            return window.version
        if state.tasks == 0:
            return None
        running = [j for j in wired.jobs.jobs(project_id) if j.state in ("running", "queued")]
        if running:
            progress(running[0].progress, running[0].message or f"{running[0].kind} is {running[0].state}")
        time.sleep(0.5)
    return None


def use_weights(
    wired: Wired, project: Project, choices: Choices, progress: Progress | None = None
) -> tuple[Project, list[str]]:
    """Weights whose classes are the project's labels serve at once; others are what the first training starts from."""
    settings, planned = _planned(project, choices)
    if choices.arch:
        settings["arch"] = choices.arch
    if choices.retrain_every:
        settings["retrain_every"] = choices.retrain_every
    if choices.licence:
        settings["licence"] = choices.licence
    if choices.label_map:
        settings["label_map"] = dict(choices.label_map)
    if not choices.weights:
        return replace(project, settings=settings), planned
    path = _fetched(wired, choices, progress)
    read = yolo_weights.read(path)
    digest = yolo_weights.digest(path)
    arch = read.arch or str(settings.get("arch") or wired.settings.arch)
    settings["arch"] = arch
    kept = wired.settings.home / "weights" / f"{digest}{path.suffix}"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, kept)
    changed = settings.get("start") != str(kept)
    settings["start"] = str(kept)
    project = replace(project, settings=settings)
    if read.names is None or not _maps(read.names, project, choices.label_map):
        return project, planned + ([f"trainings start from {path.name} ({arch})"] if changed else [])
    card = _import(wired, project, read, kept, arch, digest)
    served = f"{card.version} serves: {path.name} ({arch}), classes {', '.join(read.names)}"
    return project, planned + ([served] if changed else [])


def _planned(project: Project, choices: Choices) -> tuple[dict[str, Any], list[str]]:
    """The project's settings with the plan and the kind of model that were chosen, and what that changes."""
    settings, changes = dict(project.settings), []
    if choices.plan is not None:
        plan = read_plan(choices.plan, project.config, set(kinds())).body()
        if plan != settings.get("plan", Plan().body()):
            settings["plan"] = plan
            changes.append(f"plan: models {_listed(plan['models'])}; answers for {_listed(plan['routes'])}")
    if choices.kind and choices.kind != settings.get("kind", usual_kind(project)):
        kind_of(choices.kind).learns()
        settings["kind"] = choices.kind
        for key in ("arch", "start"):  # of the kind before
            settings.pop(key, None)
        changes.append(f"trainings make models of kind {choices.kind}")
    return settings, changes


def _listed(names: Mapping[str, Any]) -> str:
    return ", ".join(names) or "none"


def _import(
    wired: Wired, project: Project, read: yolo_weights.Weights, kept: Path, arch: str, digest: str
) -> ModelCard:
    names, kind = read.names or (), kind_by_arch(arch)
    card = ModelCard(
        version_of(kind, ["", arch, digest]),
        kind,
        arch,
        names,
        "",
        verdict="imported",
        created=time.time(),
        licence=str(project.settings.get("licence", "")),
    )
    clean = yolo_weights.save(kept.with_name(f"{digest}-checked.safetensors"), read)
    card = replace(card, sha256=yolo_weights.digest(clean))
    kind_of(kind).load().load(card, clean, project.config.labels, project.settings.get("label_map") or None)
    wired.registry.save(project.id, card, clean)
    if wired.registry.serving(project.id) is None:
        wired.registry.promote(project.id, card.version, None)
    tell(wired.loop, project.id)
    return card


def _maps(names: tuple[str, ...], project: Project, label_map: Mapping[str, str]) -> bool:
    try:
        map_classes(names, project.config.labels, label_map or None)
    except InvalidConfig:
        if label_map:
            raise  # the admin asked for this map
        return False
    return True


def _fetched(wired: Wired, choices: Choices, progress: Progress | None) -> Path:
    source = str(choices.weights)
    if choices.sha256:
        return fetch(source, choices.sha256, wired.settings.home / "weights", progress=progress)
    if "://" in source:
        raise InvalidWeights(f"weights from a URL need --sha256, so that nobody can swap them: {source}")
    return Path(source).expanduser()


def _other_server(project: Project, url: str) -> str:
    return (
        f"project {project.id} here belongs to {project.url}, not {url}; give the other server a home of its own "
        "(GROUNDLOOK_HOME)"
    )


def _known(wired: Wired, project_id: int) -> Project | None:
    try:
        return wired.store.project(project_id)
    except NotFound:
        return None


def _described(wired: Wired, project_id: int, url: str, token: str, settings: Mapping[str, Any]) -> Project:
    url = url.rstrip("/")
    body = wired.client.get_project(url, token, project_id)
    config = parse_config(str(body.get("label_config") or ""))
    return Project(project_id, url, token, config, str(body.get("title") or ""), dict(settings))
