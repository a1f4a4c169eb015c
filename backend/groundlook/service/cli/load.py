"""load: vector data → pre-annotations."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import typer

from groundlook.service.cli.shared import JSON, PROJECT, TOKEN, URL, out, pairs, progress
from groundlook.service.settings import read_settings

if TYPE_CHECKING:
    from groundlook.service.wiring.load import FileReport

_SHOWN = 10


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command(epilog="Example: groundlook load buildings.gpkg --project 1 --label-column type --map yes=Building")(
        load
    )


def load(
    paths: list[str] = typer.Argument(..., help="GeoPackage, GeoJSON, Shapefile, FlatGeobuf or GeoParquet files."),
    project: int = PROJECT,
    layer: str = typer.Option(None, help="Layer, where a file has several."),
    label: str = typer.Option(None, help="The label of every feature."),
    label_column: str = typer.Option(None, help="Column that holds each feature's label."),
    label_map: list[str] = typer.Option([], "--map", help="value=Project label, with --label-column; may be repeated."),
    crs: str = typer.Option(None, help="CRS of files that don't say theirs, or say a wrong one: EPSG:32631, or WKT."),
    min_visible: float = typer.Option(
        0.1, min=0.0, max=1.0, help="Least share of a feature that a tile must show; pieces of 25 px² stay anyhow."
    ),
    url: str = URL,
    token: str = TOKEN,
    as_json: bool = JSON,
) -> None:
    """Put vector features on the project's tiles as pre-annotations; an unedited one is exported as it was. A file
    that is loaded again takes the place of what it left before. Exit code 3: some files could not be used."""
    from groundlook.service.wiring import wire
    from groundlook.service.wiring.connect import find_project
    from groundlook.service.wiring.load import Options
    from groundlook.service.wiring.load import load as run

    options = Options(label, label_column, pairs(label_map, "value"), layer, crs, min_visible)
    with wire(read_settings(os.environ)) as wired:
        report = run(wired, find_project(wired, project, url, token), paths, options, progress)
    for line in report.failed:
        typer.echo(f"groundlook: {line}", err=True)
    files = [f.data() for f in report.files]
    body = {"tiles": report.tiles, "connected": report.connected, "files": files, "failed": report.failed}
    lines = [s for f in report.files for s in sentences(f)] or ["nothing was loaded"]
    if report.files and not report.connected:
        lines.append(f"annotators see it once the project is connected: groundlook connect --project {project}")
    out(as_json, body, "\n".join(lines))
    if report.failed:
        raise typer.Exit(3 if report.files else 1)


def sentences(report: FileReport) -> list[str]:
    """What became of one file, a line for everything that a person may want to act on."""
    c, total = report.counts, "" if report.features < 0 else f" of {report.features}"
    first = (
        f"{report.file}: {c.read}{total} features read, {c.placed} placed as {c.regions} regions "
        f"on {len(c.tasks)} tasks, {c.outside} outside all tiles"
    )
    notes = [
        (c.small, "pieces left out, because they show too little of their feature (--min-visible)"),
        (c.lines, "lines not placed, because nothing labels lines: buffer them to areas first (ogr2ogr, QGIS)"),
        (c.broken, "features left out, because their geometry is broken beyond repair"),
        (c.repaired, "features had an invalid geometry, which was repaired"),
        (c.holes_dropped, "regions without the holes they have, because a polygon can't hold any: add BrushLabels"),
        (report.replaced, "regions of an earlier load of this file were replaced"),
    ]
    lines = [first, *(f"  {number} {text}" for number, text in notes if number)]
    lines += [
        f"  {n} {what} not placed, because no control of the config takes them" for what, n in _most(c.no_control)
    ]
    lines += [f"  {n} features with {v!r}, which is no label of the project: see --map" for v, n in _most(c.no_label)]
    if len(c.no_label) > _SHOWN:
        lines.append(f"  and {len(c.no_label) - _SHOWN} further values; --json lists them")
    return [*lines, *(f"  nothing leads to the tiles in {crs[:60]}" for crs in report.unreached)]


def _most(counts: dict[str, int]) -> list[tuple[Any, int]]:
    return sorted(counts.items(), key=lambda item: -item[1])[:_SHOWN]
