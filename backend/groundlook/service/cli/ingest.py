"""ingest: rasters → tasks."""

from __future__ import annotations

import os
from dataclasses import asdict

import typer

from groundlook.service.cli.shared import JSON, PROJECT, TOKEN, URL, out, progress
from groundlook.service.settings import read_settings


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command(epilog="Example: groundlook ingest scenes/*.tif --project 1 --tile 1024 --overlap 128")(ingest)


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
        progress(f"{report.scenes} scenes, {report.tasks} tasks sent, {len(report.failed)} failed")

    report = run(wired, target, paths, Options(tile, overlap, xyz, block, held_out), show)
    for line in report.failed:
        typer.echo(f"groundlook: {line}", err=True)
    text = (
        f"{report.tasks} tasks from {report.scenes} scenes ({report.held_out} held out); "
        f"{report.known} were there already, {report.empty} empty tiles left out, {len(report.failed)} rasters failed"
    )
    if report.tasks >= 10 and report.held_out == 0 and report.known == 0:
        text += "\nno tile is held out, so no model can pass the gate: ingest with a smaller --block"
    out(as_json, asdict(report), text)
    if report.failed:
        raise typer.Exit(3 if report.scenes else 1)
