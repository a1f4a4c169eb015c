"""predict: scenes → GIS data, with a model's weights and no project."""

from __future__ import annotations

import os
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from groundlook.core.errors import InvalidInput
from groundlook.core.plan import ModelSpec
from groundlook.service.cli.shared import JSON, out, pairs, progress
from groundlook.service.settings import read_settings

if TYPE_CHECKING:
    from groundlook.service.wiring.predict import Predicted

Format = Literal["gpkg", "geojson", "geoparquet", "flatgeobuf"]
TILE, OVERLAP = 640, 128


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command(
        epilog="Example: groundlook predict scenes/*.tif --weights yolo11n.pt --out found.gpkg --map building=House"
    )(predict)


def predict(
    paths: list[str] = typer.Argument(..., help="Rasters, folders, globs, or URLs (https, s3, gs, az)."),
    weights: str = typer.Option(..., help="The model: a path, or an https URL with --sha256."),
    out_path: Path = typer.Option(..., "--out", help="File to write."),
    sha256: str = typer.Option("", help="What the weights' sha256 must be."),
    kind: str = typer.Option("yolo", help="Kind of the model: yolo, unet, …; sam proposes whatever is one object."),
    arch: str = typer.Option("", help="Network of weights that don't name theirs, such as yolo11n.yaml."),
    classes: list[str] = typer.Option([], "--class", help="Class of weights that don't name theirs; in their order."),
    label_map: list[str] = typer.Option([], "--map", help="model class=label; then only such classes are written."),
    confidence: float = typer.Option(0.25, min=0.05, max=1.0, help="What the model is less sure of is left out."),
    tile: int | None = typer.Option(None, help=f"Window side in pixels; {TILE} by default."),
    overlap: int | None = typer.Option(None, help=f"Pixels shared by neighbours; {OVERLAP} by default."),
    object_size: float | None = typer.Option(None, help="Size of the largest object in metres: sets tile and overlap."),
    form: Format = typer.Option("gpkg", "--format", help="What to write."),
    dissolve: list[str] = typer.Option([], help="Label of a surface (water), joined where it touches."),
    crs: str = typer.Option(None, help='CRS of rasters that lack one: "EPSG:32631".'),
    xyz: str = typer.Option(None, help='Name pattern of slippy-map tiles: "OAM-{x}-{y}-{z}.png".'),
    bands: str = typer.Option(None, help='Bands to show the model, counted from 1: "4,3,2", or one for grey.'),
    expression: list[str] = typer.Option([], help="What to show it, computed from bands: see ingest."),
    mode: Literal["auto", "linear", "reflectance", "db", "amplitude"] = typer.Option("auto", help="See ingest."),
    offset: float = typer.Option(None, help="See ingest."),
    overwrite: bool = typer.Option(False, help="Replace what is there."),
    resume: bool = typer.Option(False, help="Keep what is found beside the output, and go on from it when cut short."),
    engine: Literal["local", "ray"] = typer.Option("local", help="Who looks: this process, or actors of Ray."),
    ray: str = typer.Option("", help='A Ray that this machine is part of: "auto", "host:6379"; else one of its own.'),
    actors: int = typer.Option(0, min=0, help="How many; by default one for each GPU, or for each machine."),
    as_json: bool = JSON,
) -> None:
    """Find things in whole rasters, and write them in the rasters' own CRS. Windows overlap; what several of them show
    is written once. Exit code 3: some rasters could not be used, the others were looked at; 1: none could."""
    from groundlook.service.cli.ingest import band_numbers
    from groundlook.service.wiring.ingest import Choice
    from groundlook.service.wiring.predict import Options, loaded_model, predict_scenes
    from groundlook.service.wiring.predict_ray import OnRay

    if object_size is not None and (tile is not None or overlap is not None):
        raise InvalidInput("--object-size sets the tile and the overlap: leave --tile and --overlap out")
    if engine == "local" and (ray or actors):
        raise InvalidInput("--ray and --actors are for --engine ray: add that, or leave them out")
    settings = read_settings(os.environ)
    options = Options(
        form=form,
        created=datetime.now(UTC),
        tile=TILE if tile is None else tile,
        overlap=OVERLAP if overlap is None else overlap,
        object_size=object_size,
        dissolve=tuple(dissolve),
        crs=crs,
        xyz=xyz,
        choice=Choice(band_numbers(bands), tuple(expression), mode, offset),
        overwrite=overwrite,
        resume=resume,
        asked=f"{arch}|{classes}|{sorted(label_map)}|{confidence}",
    )
    spec = ModelSpec(kind, kind, weights, sha256, arch, tuple(classes), pairs(label_map))

    def show(share: float, text: str) -> None:
        progress(f"{share:4.0%} {text}")

    with loaded_model(settings, spec, confidence) as model:
        elsewhere = OnRay(settings, spec, confidence, ray, actors) if engine == "ray" else None
        report = predict_scenes(settings, model, paths, out_path, options, show, elsewhere)
    for line in report.failed:
        typer.echo(f"groundlook: {line}", err=True)
    out(as_json, asdict(report), _text(report))
    if report.failed:
        raise typer.Exit(3)


def _text(report: Predicted) -> str:
    seen = f"{report.windows:,} windows" + (f" and {report.remembered:,} of before" if report.remembered else "")
    lines = [
        f"{report.written:,} features written to {report.path}, {report.merged:,} of them seen in several windows; "
        f"{seen} of {report.scenes:,} scenes, {report.empty:,} without data left out; "
        f"{report.model}{', ' if report.runtime else ''}{report.runtime}"
    ]
    if report.labels:
        lines.append(", ".join(f"{label} {count:,}" for label, count in report.labels.items()))
    if len(report.files) > 1:
        lines.append("files: " + ", ".join(Path(file).name for file in report.files))
    return "\n".join(lines)
