"""Regions of tiles → one GIS file in map coordinates, with where each came from."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from groundlook.core.errors import InvalidInput
from groundlook.core.geo import TileRef
from groundlook.core.types import Region
from groundlook_adapters.vectors.columns import Columns
from groundlook_adapters.vectors.shapes import to_map, to_polygon
from groundlook_adapters.vectors.write import Layer, to_lonlat, write

Format = Literal["gpkg", "geojson"]

LONLAT = "EPSG:4326"


@dataclass(frozen=True, slots=True)
class Feature:
    """One region and where it comes from. `region` is in pixels of `tile`. `provenance` becomes columns: task_id,
    annotation_id, annotator, created_at (ISO 8601), lead_time (s), project, …; a key that we also derive (label,
    score, origin, region_id, tile_uid, scene, acquired) overrides what we derived."""

    region: Region
    tile: TileRef
    provenance: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was written where. `layers`: features per layer. What is missing is counted by its reason:
    `skipped_without_georef` (the tile is not on any map) and `skipped_without_area` (a box without width, a polygon of
    two points). `repaired`: rings that crossed themselves."""

    path: Path
    format: Format
    written: int
    layers: Mapping[str, int]
    skipped_without_georef: int = 0
    skipped_without_area: int = 0
    repaired: int = 0


class _Gathered:
    """Polygons on the map with their columns, by CRS."""

    def __init__(self) -> None:
        self.polygons: dict[str, list[Any]] = {}
        self.columns: dict[str, Columns] = {}
        self.without_georef = self.without_area = self.repaired = 0

    def add(self, feature: Feature) -> None:
        georef = feature.tile.georef
        if georef is None:
            self.without_georef += 1
            return
        polygon, repaired = to_polygon(feature.region.shape)
        if polygon is None:
            self.without_area += 1
            return
        self.repaired += repaired
        self.polygons.setdefault(georef.crs, []).append(to_map(polygon, georef))
        self.columns.setdefault(georef.crs, Columns()).add(_row(feature))


def export(path: Path, format: Format, features: Iterable[Feature], overwrite: bool = False) -> ExportReport:
    """Write `features`, consumed once, to `path`; a reader sees the old file or the new one, never half of one.

    "gpkg": the scenes' own CRS, float64; scenes of several CRS give one layer per CRS (`regions_epsg_32611`).
    "geojson": RFC 7946, WGS84 longitude and latitude. No features give a file with an empty layer: "nothing there" is
    an answer.
    Raises InvalidInput: unknown format, a file in the way without `overwrite`, a folder that can't be written to, a
    full disk, a CRS that has no longitude and latitude (GeoJSON).
    """
    if format not in ("gpkg", "geojson"):
        raise InvalidInput(f"export format {format!r}: use gpkg or geojson")
    if path.exists() and not overwrite:
        raise InvalidInput(f"{path} exists; choose another name, or say that it may be overwritten")
    gathered = _Gathered()
    for feature in features:
        gathered.add(feature)
    layers = _native(gathered) if format == "gpkg" else _lonlat(gathered)
    write(path, "GPKG" if format == "gpkg" else "GeoJSON", layers)
    return ExportReport(
        path=path,
        format=format,
        written=sum(len(layer.polygons) for layer in layers),
        layers={layer.name: len(layer.polygons) for layer in layers},
        skipped_without_georef=gathered.without_georef,
        skipped_without_area=gathered.without_area,
        repaired=gathered.repaired,
    )


def _row(feature: Feature) -> dict[str, Any]:
    region, tile = feature.region, feature.tile
    return {
        "label": region.label,
        "score": None if region.score is None else float(region.score),
        "origin": region.origin,
        "region_id": region.uid or None,
        "tile_uid": tile.uid,
        "scene": os.path.basename(tile.source),
        "acquired": tile.acquired,
        **feature.provenance,
    }


def _native(gathered: _Gathered) -> list[Layer]:
    if not gathered.polygons:
        return [Layer("regions", LONLAT, [], Columns())]
    names = _layer_names(list(gathered.polygons))
    return [
        Layer(names[crs], crs, gathered.polygons.pop(crs), gathered.columns[crs]) for crs in list(gathered.polygons)
    ]


def _lonlat(gathered: _Gathered) -> list[Layer]:
    merged, polygons = Columns(), []
    for crs in list(gathered.polygons):
        polygons += to_lonlat(crs, gathered.polygons.pop(crs))
        merged.extend(gathered.columns[crs])
    return [Layer("regions", LONLAT, polygons, merged)]


def _layer_names(systems: list[str]) -> dict[str, str]:
    if len(systems) == 1:
        return {systems[0]: "regions"}
    return {crs: f"regions_{_slug(crs)}" for crs in systems}


def _slug(crs: str) -> str:
    if len(crs) < 32 and re.fullmatch(r"\w+:\w+", crs):
        return crs.lower().replace(":", "_")
    return "custom_" + hashlib.sha256(crs.encode()).hexdigest()[:8]
