"""export: annotations → GIS data and datasets."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import typer

from groundlook.service.cli.shared import JSON, PROJECT, TOKEN, URL
from groundlook.service.cli.shared import out as show
from groundlook.service.settings import read_settings


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command(epilog="Example: groundlook export --project 1 --format gpkg --out labels.gpkg")(export)


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
    show(as_json, body, text)
