"""Regions of tiles → GIS files in map coordinates, with where each feature came from."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from groundlook.core.errors import InvalidInput
from groundlook.core.ports import Progress
from groundlook_adapters.vectors.export.features import Feature, Kind, Reviewed
from groundlook_adapters.vectors.export.layers import LONLAT, Layers, Merging
from groundlook_adapters.vectors.export.spool import ScenePlace, Spool
from groundlook_adapters.vectors.export.write import DRIVERS, Layer, Written, draft, write

__all__ = ["ExportReport", "Feature", "Merging", "Reviewed", "export"]

_KINDS: tuple[Kind, ...] = ("regions", "points", "tiles")
_SAY_EVERY = 1000


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was written where.

    `regions`: what people drew; `written`: the features made of it, `layers` says how many in each; `reviewed`: the
    tiles that were looked at. `skipped`: regions left out, by reason: `without_georef` (the tile is not on any map),
    `without_area` (a box without width, a polygon of two points), `unreadable`. `repaired`: rings that crossed
    themselves; `merged`: features made of several regions; `originals`: features that are the vector feature they
    came in as.
    """

    path: Path
    format: str
    regions: int
    written: int
    layers: Mapping[str, int]
    parts: tuple[Written, ...]
    scenes: tuple[ScenePlace, ...]
    labels: Mapping[str, int] = field(default_factory=dict)
    skipped: Mapping[str, int] = field(default_factory=dict)
    reviewed: int = 0
    repaired: int = 0
    merged: int = 0
    originals: int = 0

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file, once."""
        return tuple(dict.fromkeys(part.file for part in self.parts))


def export(
    path: Path,
    form: str,
    features: Iterable[Feature | Reviewed],
    *,
    merging: Merging = Merging(),  # noqa: B008
    overwrite: bool = False,
    progress: Progress = lambda _fraction, _text: None,
) -> ExportReport:
    """Write `features`, consumed once and in any order; a reader sees the old files or the new ones, never half of
    one. Memory does not grow with their number: they wait in a file beside `path`.

    "gpkg": one file in the scenes' own CRS, a layer for each kind (`regions`, `points`, `tiles` for classes of whole
    tiles) and `reviewed`; scenes of several CRS give one layer each (`regions_epsg_32611`).
    "geoparquet", "flatgeobuf": the same with a file for each layer, since these formats hold one CRS and GIS programs
    open one geometry type best: `labels.parquet` for the regions, `labels.points.parquet`, `labels.reviewed.parquet`;
    with several CRS `labels.epsg_32611.parquet`.
    "geojson": RFC 7946, WGS84 longitude and latitude, all kinds together, told apart by `kind`, and
    `labels.reviewed.geojson` beside it.
    Areas are multipolygons in all but GeoJSON, since GIS programs want one type per layer. No features give an empty
    layer: "nothing there" is an answer. Columns: `rows.FEATURE_COLUMNS`, `rows.REVIEWED_COLUMNS`.

    Raises InvalidInput: unknown format, a file in the way without `overwrite`, a folder that can't be written to, a
    full disk, a CRS that has no longitude and latitude (GeoJSON).
    """
    if form not in DRIVERS:
        raise InvalidInput(f"export format {form!r}: use one of {', '.join(DRIVERS)}")
    refuse_existing([path], overwrite)
    with draft(path) as folder:
        spool = Spool(folder / "spool.db")
        try:
            _fill(spool, features, progress)
            layers = Layers(spool, merging, progress, degrees=form == "geojson")
            files = _plan(path, form, spool, layers)
            refuse_existing(files, overwrite)
            parts = write(files, form, folder)
        finally:
            spool.close()
    reviewed = {p.layer for p in parts if p.layer.startswith("reviewed")}
    return ExportReport(
        path=path,
        format=form,
        regions=spool.pieces + spool.skipped.total(),
        written=sum(p.features for p in parts if p.layer not in reviewed),
        layers={p.layer: p.features for p in parts},
        parts=tuple(parts),
        scenes=tuple(spool.scenes),
        labels=dict(layers.tally.labels.most_common()),
        skipped=dict(spool.skipped),
        reviewed=sum(p.features for p in parts if p.layer in reviewed),
        repaired=spool.repaired,
        merged=layers.tally.merged,
        originals=layers.tally.originals,
    )


def refuse_existing(paths: Iterable[Path], overwrite: bool) -> None:
    """Raises InvalidInput for the first of `paths` that is there, unless it is a file that may be overwritten."""
    for path in paths:
        if path.is_dir():
            raise InvalidInput(f"{path} is a folder; name the file to write")
        if not overwrite and path.exists():
            raise InvalidInput(f"{path} exists; choose another name, or say that it may be overwritten")


def _fill(spool: Spool, features: Iterable[Feature | Reviewed], progress: Progress) -> None:
    for number, item in enumerate(features, start=1):
        if isinstance(item, Reviewed):
            spool.add_reviewed(item)
        else:
            spool.add(item)
        if number % _SAY_EVERY == 0:
            progress(0.0, f"{spool.pieces:,} regions read")
    spool.finish()


def _plan(path: Path, form: str, spool: Spool, layers: Layers) -> dict[Path, Sequence[Layer]]:
    """The layers of every file."""
    if form == "geojson":
        everything = layers.features("regions", LONLAT, _KINDS, spool.scenes)
        looked_at = {_beside(path, "reviewed"): [layers.reviewed("reviewed", LONLAT, spool.scenes)]}
        return {path: [everything], **(looked_at if spool.has_reviewed() else {})}
    by_crs: dict[str, list[ScenePlace]] = {}
    for scene in spool.scenes:
        by_crs.setdefault(scene.georef.crs, []).append(scene)
    files: dict[Path, list[Layer]] = {}
    for crs, scenes in (by_crs or {LONLAT: []}).items():
        slug = _slug(crs) if len(by_crs) > 1 else ""
        for layer, kind in _layers_of(spool, layers, crs, scenes, slug):
            file = path if form == "gpkg" else _beside(path, "" if kind == "regions" else kind, slug)
            files.setdefault(file, []).append(layer)
    return dict(files)


def _layers_of(
    spool: Spool, layers: Layers, crs: str, scenes: list[ScenePlace], slug: str
) -> Iterable[tuple[Layer, str]]:
    """Regions always, points and classes where there are any, what was looked at where that is known."""
    end = f"_{slug}" if slug else ""
    found = {kind for scene in scenes for kind in spool.kinds(scene.id)}
    for kind in (k for k in _KINDS if k == "regions" or k in found):
        yield layers.features(f"{kind}{end}", crs, (kind,), scenes), kind
    if spool.has_reviewed():
        yield layers.reviewed(f"reviewed{end}", crs, scenes), "reviewed"


def _beside(path: Path, *words: str) -> Path:
    middle = "".join(f".{word}" for word in words if word)
    return path.with_name(f"{path.stem}{middle}{path.suffix}")


def _slug(crs: str) -> str:
    if len(crs) < 32 and re.fullmatch(r"\w+:\w+", crs):
        return crs.lower().replace(":", "_")
    return "custom_" + hashlib.sha256(crs.encode()).hexdigest()[:8]
