"""ingest: rasters → tasks."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from groundlook.core.errors import InvalidInput
from groundlook.service.cli.shared import JSON, PROJECT, TOKEN, URL, out, progress
from groundlook.service.settings import read_settings

if TYPE_CHECKING:
    from groundlook.service.wiring.ingest import Options, Report

TILE, OVERLAP = 1024, 128
EPILOG = """Example: groundlook ingest scenes/*.tif --project 1 --tile 1024 --overlap 128

--prerender DIR is for a Label Studio that can't reach this service: it then serves the pictures as local files. Its
server needs LOCAL_FILES_SERVING_ENABLED=true and LOCAL_FILES_DOCUMENT_ROOT=<the folder that holds DIR>, and the
project a Local Files storage with the path DIR.
"""


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command(epilog=EPILOG)(ingest)


def ingest(
    paths: list[str] = typer.Argument(..., help="Rasters, folders, globs, or URLs (https, s3, gs, az)."),
    project: int = PROJECT,
    tile: int | None = typer.Option(None, help=f"Tile side in pixels; {TILE} by default."),
    overlap: int | None = typer.Option(None, help=f"Pixels shared by neighbours; {OVERLAP} by default."),
    object_size: float | None = typer.Option(None, help="Size of the largest object in metres: sets tile and overlap."),
    xyz: str = typer.Option(None, help='Name pattern of slippy-map tiles: "OAM-{x}-{y}-{z}.png".'),
    crs: str = typer.Option(None, help='CRS of rasters that lack one: "EPSG:32631".'),
    bands: str = typer.Option(None, help='Bands to show, counted from 1: "4,3,2", or one for grey.'),
    expression: list[str] = typer.Option(
        [], help='What to show, computed from bands: "(b4-b1)/(b4+b1)". Once, or three times for red, green, blue.'
    ),
    mode: Literal["auto", "linear", "reflectance", "db", "amplitude"] = typer.Option(
        "auto", help="auto, or linear 2–98 %; reflectance: Sentinel-2; db: SAR power; amplitude: SAR amplitude."
    ),
    offset: float = typer.Option(None, help="Added to the values in mode reflectance; by default what the file says."),
    image_format: Literal["jpg", "png", "webp"] = typer.Option("jpg", help="Of the pictures that annotators see."),
    prerender: Path = typer.Option(
        None,
        help="Write the pictures to this folder now; Label Studio serves them as local files (see below).",
    ),
    prerender_url: str = typer.Option(
        None, help="What their URLs begin with where something else serves that folder, last slash included."
    ),
    min_valid: float = typer.Option(
        0.05, min=0.0, max=1.0, help="Tiles with a smaller share of pixels with data are left out."
    ),
    block: float = typer.Option(None, help="Side of a held-out map block, in units of the CRS; by default 4 tiles."),
    held_out: float = typer.Option(
        None, min=0.0, max=0.9, help="Share of blocks held out for the gate; 0.2 by default."
    ),
    straddlers: Literal["mark", "drop"] = typer.Option(
        "mark", help="Tiles partly on held-out ground: a task that neither side uses, or none."
    ),
    url: str = URL,
    token: str = TOKEN,
    as_json: bool = JSON,
) -> None:
    """Turn rasters into tasks; run again, it adds what is new. Exit code 3: some rasters could not be used, the others
    were ingested; 1: none could."""
    from groundlook.service.wiring import wire
    from groundlook.service.wiring.connect import find_project
    from groundlook.service.wiring.ingest import Choice, Options
    from groundlook.service.wiring.ingest import ingest as run

    if object_size is not None and (tile is not None or overlap is not None):
        raise InvalidInput("--object-size sets the tile and the overlap: leave --tile and --overlap out")
    options = Options(
        tile=TILE if tile is None else tile,
        overlap=OVERLAP if overlap is None else overlap,
        xyz=xyz,
        block=block,
        held_out=held_out,
        object_size=object_size,
        crs=crs,
        choice=Choice(band_numbers(bands), tuple(expression), mode, offset),
        image_format=image_format,
        prerender=prerender,
        prerender_url=prerender_url,
        min_valid=min_valid,
        straddlers=straddlers,
    )

    def show(report: Report) -> None:
        progress(f"{report.scenes} scenes, {report.tasks} tasks sent, {len(report.failed)} failed")

    with wire(read_settings(os.environ)) as wired:
        report = run(wired, find_project(wired, project, url, token), paths, options, show)
    for line in report.failed:
        typer.echo(f"groundlook: {line}", err=True)
    out(as_json, asdict(report), _text(report, options))
    if report.failed:
        raise typer.Exit(3 if report.scenes or report.tasks else 1)


def band_numbers(text: str | None) -> tuple[int, ...]:
    """What --bands says. Raises InvalidInput."""
    parts = [] if text is None else [part.strip() for part in text.split(",")]
    if any(not (part.isascii() and part.isdecimal() and len(part) <= 5) for part in parts):
        raise InvalidInput(f'--bands {text!r}: band numbers from 1, separated by commas, as in "4,3,2"')
    return tuple(int(part) for part in parts)


def _text(report: Report, options: Options) -> str:
    straddlers = f", {report.straddlers} on both kinds of ground" if report.straddlers else ""
    dropped = f", {report.dropped} on both kinds of ground" if report.dropped else ""
    lines = [
        f"{report.tasks} tasks from {report.scenes} scenes ({report.held_out} held out{straddlers}); "
        f"{report.known} were there already, {report.empty} empty tiles{dropped} left out, "
        f"{len(report.failed)} rasters failed"
    ]
    if options.prerender is not None and report.pictures:
        lines.append(f"{report.pictures} pictures are in {options.prerender}")
        if options.prerender_url is None:
            folder = options.prerender.expanduser().absolute()
            lines.append(
                f"Label Studio shows them once its server has LOCAL_FILES_SERVING_ENABLED=true and "
                f"LOCAL_FILES_DOCUMENT_ROOT={folder.parent} (the folder that holds {folder.name}), and the project a "
                f"Local Files storage with the path {folder}"
            )
    if report.tasks >= 10 and report.held_out == 0 and report.known == 0:
        lines.append("no tile is held out, so no model can pass the gate: ingest with a smaller --block")
    return "\n".join(lines)
