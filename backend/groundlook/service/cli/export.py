"""export: annotations → GIS data and datasets."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

from groundlook.service.cli.shared import JSON, PROJECT, TOKEN, URL, progress
from groundlook.service.cli.shared import out as show
from groundlook.service.settings import read_settings

if TYPE_CHECKING:
    from groundlook.service.wiring.export import Exported

Format = Literal[
    "gpkg", "geojson", "geoparquet", "flatgeobuf", "coco", "yolo", "yolo-obb", "voc", "mask-cog", "stac-label"
]

_REASONS = {
    "without_georef": "region(s) of images that have no georeference",
    "without_area": "region(s) without area",
    "unreadable": "region(s) that can't be read",
    "task_unreadable": "task(s) or annotation(s) that can't be read",
    "tile_without_georef": "task(s) without georeference",
    "tile_without_picture": "task(s) whose picture can't be read",
}


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command(epilog="Example: groundlook export --project 1 --format gpkg --out labels.gpkg --dissolve water")(
        export
    )


def export(
    project: int = PROJECT,
    out: Path = typer.Option(..., help="File to write; a folder for coco, yolo, yolo-obb, voc, mask-cog, stac-label."),
    form: Format = typer.Option("gpkg", "--format", help="What to write."),
    merge: Literal["instances", "none"] = typer.Option(
        "instances", help="instances: one feature for an object that several tiles show; none: every region by itself."
    ),
    dissolve: list[str] = typer.Option(
        [], help="Label of a surface (water), joined where it touches; may be repeated."
    ),
    licence: str = typer.Option(None, help="Licence of the labels, for the manifest: CC-BY-4.0."),
    image_format: Literal["jpg", "png"] = typer.Option("jpg", help="Pictures of coco, yolo, yolo-obb and voc."),
    overwrite: bool = typer.Option(False, help="Replace what is there."),
    url: str = URL,
    token: str = TOKEN,
    as_json: bool = JSON,
) -> None:
    """Write people's annotations as GIS data in map coordinates, with provenance, or as a training dataset. A manifest
    beside it names versions, hashes and licences."""
    from groundlook.service.wiring import wire
    from groundlook.service.wiring.connect import find_project
    from groundlook.service.wiring.export import Choices, export_project

    moment = datetime.now(UTC)
    choices = Choices(form, moment, merge == "instances", tuple(dissolve), licence, image_format, overwrite)
    with wire(read_settings(os.environ)) as wired:
        found = find_project(wired, project, url, token)
        report = export_project(wired, found, out, choices, lambda share, text: progress(f"{share:4.0%} {text}"))
    for problem in report.problems:
        typer.echo(f"groundlook: {problem}", err=True)
    show(as_json, _data(report), "\n".join(sentences(report)))


def _data(report: Exported) -> dict[str, Any]:
    body = {name: getattr(report, name) for name in report.__slots__}
    paths = {"path": str(report.path), "manifest": str(report.manifest), "files": [str(f) for f in report.files]}
    skipped = {f"skipped_{reason}": report.skipped.get(reason, 0) for reason in ("without_georef", "without_area")}
    return {**body, **paths, **skipped}


def sentences(report: Exported) -> list[str]:
    """What was written, what it was made of, and what was left out and why."""
    what = "feature" if report.layers else "region"
    lines = [
        f"{_many(report.written, what)} written to {report.path}, of {_many(report.regions, 'region')} in "
        f"{_many(report.tasks, 'reviewed task')}, {report.empty:,} of them empty"
    ]
    if len(report.files) > 1 or len(report.layers) > 1:
        lines.append("layers: " + ", ".join(f"{name} {count:,}" for name, count in report.layers.items()))
    if len(report.files) > 1:
        lines.append("files: " + ", ".join(path.name for path in report.files))
    if report.merged:
        lines.append(f"joined from what several tiles show: {_many(report.merged, 'feature')}")
    if report.originals:
        lines.append(f"written as they came in, because nobody edited them: {_many(report.originals, 'feature')}")
    if report.repaired:
        lines.append(f"repaired, because they crossed themselves: {_many(report.repaired, 'outline')}")
    lines += [f"left out: {count:,} {_words(reason)}" for reason, count in report.skipped.items() if count]
    return [*lines, f"manifest: {report.manifest}"]


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _words(reason: str) -> str:
    """A reason for people; those that we have no sentence for are clear enough by their names."""
    if reason in _REASONS:
        return _REASONS[reason]
    what, _, why = reason.partition("_")
    return f"tile(s), {why.replace('_', ' ')}" if what == "tile" and why else f"region(s), {reason.replace('_', ' ')}"
