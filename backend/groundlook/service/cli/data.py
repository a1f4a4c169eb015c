"""connect, ingest, export: data in and out."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import typer

from groundlook.core.errors import InvalidInput
from groundlook.service.settings import read_settings

PROJECT = typer.Option(..., "--project", "-p", help="Id of the Label Studio project.")
URL = typer.Option(None, envvar="GROUNDLOOK_LABEL_STUDIO_URL", help="Label Studio's address.")
TOKEN = typer.Option(
    None, envvar="GROUNDLOOK_TOKEN", help="Personal access token, or legacy token.", show_default=False
)
JSON = typer.Option(False, "--json", help="Print one JSON line.")


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command(epilog="Example: groundlook connect --url http://127.0.0.1:8080 --project 1 --token …")(connect)
    app.command(epilog="Example: groundlook ingest scenes/*.tif --project 1 --tile 1024 --overlap 128")(ingest)
    app.command(epilog="Example: groundlook export --project 1 --format gpkg --out labels.gpkg")(export)


def connect(
    project: int = PROJECT,
    url: str = URL,
    token: str = TOKEN,
    weights: str = typer.Option(None, help="Weights to start from: a path, or an https URL with --sha256."),
    sha256: str = typer.Option(None, help="What the weights' sha256 must be."),
    arch: str = typer.Option(None, help="Network of weights that don't name theirs, such as yolov5n.yaml."),
    label_map: list[str] = typer.Option([], "--map", help="model class=Project label; may be repeated."),
    retrain_every: int = typer.Option(None, min=1, help="New annotations that start a training; by default 24."),
    wait: float = typer.Option(300.0, help="Seconds to wait for the first window; 0 = don't."),
    as_json: bool = JSON,
) -> None:
    """Set up backend, webhook, sampling and queue of a project; says what it changed. Needs a running service."""
    from groundlook.service.wiring import wire
    from groundlook.service.wiring.connect import Choices, await_window, connect_project

    if not url or not token:
        raise InvalidInput("connect needs --url and --token (or GROUNDLOOK_LABEL_STUDIO_URL and GROUNDLOOK_TOKEN)")
    wired = wire(read_settings(os.environ))
    choices = Choices(weights, sha256, _pairs(label_map), arch, retrain_every)
    changes = connect_project(wired, project, url, token, choices)
    before = wired.store.current_window(project)
    version = await_window(wired, project, wait, _show) if wait else None
    if version is not None and (before is None or before.version != version):
        changes.append(f"model_version is {version} now: its window is the queue")
    _out(as_json, {"project": project, "changed": changes, "model_version": version}, _sentences(changes, version))


def ingest(
    paths: list[str] = typer.Argument(..., help="Rasters, folders or globs."),
    project: int = PROJECT,
    tile: int = typer.Option(1024, help="Tile side in pixels."),
    overlap: int = typer.Option(128, help="Pixels shared by neighbours."),
    xyz: str = typer.Option(None, help='Name pattern of slippy-map tiles: "OAM-{x}-{y}-{z}.png".'),
    block: float = typer.Option(None, help="Side of a held-out map block, in units of the CRS; by default 4 tiles."),
    held_out: float = typer.Option(0.2, min=0.0, max=0.9, help="Share of blocks held out for the gate."),
    url: str = URL,
    token: str = TOKEN,
    as_json: bool = JSON,
) -> None:
    """Turn rasters into tasks. Exit code 3: some rasters could not be used; the others were ingested."""
    from groundlook.service.wiring import wire
    from groundlook.service.wiring.connect import find_project
    from groundlook.service.wiring.ingest import Options, Report
    from groundlook.service.wiring.ingest import ingest as run

    wired = wire(read_settings(os.environ))
    target = find_project(wired, project, url, token)

    def show(report: Report) -> None:
        _progress(f"{report.scenes} scenes, {report.tasks} tasks sent, {len(report.failed)} failed")

    report = run(wired, target, paths, Options(tile, overlap, xyz, block, held_out), show)
    for line in report.failed:
        typer.echo(f"groundlook: {line}", err=True)
    text = (
        f"{report.tasks} tasks from {report.scenes} scenes ({report.held_out} held out); "
        f"{report.known} were there already, {report.empty} empty tiles left out, {len(report.failed)} rasters failed"
    )
    if report.tasks >= 10 and report.held_out == 0 and report.known == 0:
        text += "\nno tile is held out, so no model can pass the gate: ingest with a smaller --block"
    _out(as_json, asdict(report), text)
    if report.failed:
        raise typer.Exit(3 if report.scenes else 1)


def export(
    project: int = PROJECT,
    out: Path = typer.Option(..., help="File to write."),
    form: Literal["gpkg", "geojson"] = typer.Option("gpkg", "--format", help="What to write."),
    overwrite: bool = typer.Option(False, help="Replace the file if it is there."),
    url: str = URL,
    token: str = TOKEN,
    as_json: bool = JSON,
) -> None:
    """Write people's annotations as GIS data in map coordinates, with provenance."""
    from groundlook.service.wiring import wire
    from groundlook.service.wiring.connect import find_project
    from groundlook.service.wiring.export import export_project

    wired = wire(read_settings(os.environ))
    report = export_project(wired, find_project(wired, project, url, token), out, form, overwrite)
    body = {**asdict(report), "path": str(report.path)}
    text = f"{report.written} features written to {report.path}"
    if report.skipped_without_georef:
        text += f"; {report.skipped_without_georef} left out, because their images have no georeference"
    _out(as_json, body, text)


def _pairs(items: list[str]) -> dict[str, str]:
    pairs = {}
    for item in items:
        name, found, label = item.partition("=")
        if not found or not name or not label:
            raise InvalidInput(f"--map {item!r} is not of the form 'model class=Project label'")
        pairs[name] = label
    return pairs


def _sentences(changes: list[str], version: str | None) -> str:
    lines = changes or ["nothing to change"]
    if version is None:
        lines = [*lines, "no window yet: it is published as soon as there are tasks (groundlook ingest)"]
    return "\n".join(lines)


def _show(done: float, text: str) -> None:
    _progress(f"{done:4.0%} {text}")


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text[:110]}")
        sys.stderr.flush()


def _out(as_json: bool, body: dict[str, Any], text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K")
    typer.echo(json.dumps(body) if as_json else text)
