"""connect: make a project and the service known to each other."""

from __future__ import annotations

import os

import typer

from groundlook.core.errors import InvalidInput
from groundlook.service.cli.shared import JSON, PROJECT, TOKEN, URL, out, pairs, progress
from groundlook.service.settings import read_settings


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command(epilog="Example: groundlook connect --url http://127.0.0.1:8080 --project 1 --token …")(connect)


def connect(
    project: int = PROJECT,
    url: str = URL,
    token: str = TOKEN,
    weights: str = typer.Option(None, help="Weights to start from: a path, or an https URL with --sha256."),
    sha256: str = typer.Option(None, help="What the weights' sha256 must be."),
    arch: str = typer.Option(None, help="Network of weights that don't name theirs, such as yolov5n.yaml."),
    label_map: list[str] = typer.Option([], "--map", help="model class=Project label; may be repeated."),
    retrain_every: int = typer.Option(None, min=1, help="New annotations that start a training; by default 24."),
    model: str = typer.Option(None, help="Kind of model to train: yolo (default), unet, deeplabv3+, …"),
    licence: str = typer.Option(None, help="Of the weights and of what is trained from them, such as CC-BY-4.0."),
    plan: typer.FileText = typer.Option(None, help="A groundlook.toml: which model answers for which control."),
    wait: float = typer.Option(300.0, help="Seconds to wait for the first window; 0 = don't."),
    as_json: bool = JSON,
) -> None:
    """Set up backend, webhook, sampling and queue of a project; says what it changed. Needs a running service."""
    from groundlook.service.wiring import wire
    from groundlook.service.wiring.connect import Choices, await_window, connect_project

    if not url or not token:
        raise InvalidInput("connect needs --url and --token (or GROUNDLOOK_LABEL_STUDIO_URL and GROUNDLOOK_TOKEN)")
    wired = wire(read_settings(os.environ))
    text = plan.read() if plan is not None else None
    choices = Choices(weights, sha256, pairs(label_map), arch, retrain_every, text, model, licence)
    changes = connect_project(wired, project, url, token, choices, _show)
    before = wired.store.current_window(project)
    version = await_window(wired, project, wait, _show) if wait else None
    if version is not None and (before is None or before.version != version):
        changes.append(f"model_version is {version} now: its window is the queue")
    out(as_json, {"project": project, "changed": changes, "model_version": version}, _sentences(changes, version))


def _sentences(changes: list[str], version: str | None) -> str:
    lines = changes or ["nothing to change"]
    if version is None:
        lines = [*lines, "no window yet: it is published as soon as there are tasks (groundlook ingest)"]
    return "\n".join(lines)


def _show(done: float, text: str) -> None:
    progress(f"{done:4.0%} {text}")
