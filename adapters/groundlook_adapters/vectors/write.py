"""Layers of polygons → one file, all or nothing."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyogrio
import pyogrio.errors
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError

from groundlook.core.errors import InvalidInput
from groundlook_adapters.vectors.columns import Columns

_FAILURES = (
    pyogrio.errors.DataSourceError,
    pyogrio.errors.DataLayerError,
    pyogrio.errors.FeatureError,
    pyogrio.errors.FieldError,
    pyogrio.errors.GeometryError,
    pyogrio.errors.CRSError,
    RuntimeError,
    OSError,
)

# RFC 7946 has GDAL wind rings counter-clockwise and cut them at the antimeridian. Its usual 7 digits round by up to
# 6 mm, a quarter of a pixel of a 2 cm drone image; 9 digits by 0.06 mm.
_OPTIONS: dict[str, dict[str, Any]] = {
    "GPKG": {},
    "GeoJSON": {"RFC7946": "YES", "COORDINATE_PRECISION": 9},
}


@dataclass(frozen=True, slots=True)
class Layer:
    """`polygons`: shapely Polygon or MultiPolygon in `crs`, x/longitude first; `columns`: one row for each."""

    name: str
    crs: str
    polygons: Sequence[Any]
    columns: Columns


def write(path: Path, driver: Literal["GPKG", "GeoJSON"], layers: Sequence[Layer]) -> None:
    """Write beside `path`, count what is on disk, then replace `path`. Raises InvalidInput; `path` is as it was."""
    folder = path.parent
    if not folder.is_dir():
        raise InvalidInput(f"{folder} is not a folder; make it first")
    beside = folder / f".{path.stem[:80]}.{secrets.token_hex(4)}{'.gpkg' if driver == 'GPKG' else '.geojson'}"
    try:
        for layer in layers:
            _write_layer(beside, driver, layer)
        for layer in layers:
            _check(beside, layer)
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(beside, path)
    except _FAILURES as error:
        free = shutil.disk_usage(folder).free >> 20
        reason = " ".join(str(error).split())[:300]
        raise InvalidInput(
            f"{path} can't be written ({reason}); {free} MiB are free there: make room, or write to another folder"
        ) from None
    finally:
        for leftover in folder.glob(f"{beside.name}*"):
            leftover.unlink(missing_ok=True)


def _write_layer(file: Path, driver: str, layer: Layer) -> None:
    names, values, nulls = layer.columns.arrays()
    shapes = np.array(layer.polygons, dtype=object)
    several = any(p.geom_type == "MultiPolygon" for p in layer.polygons) and driver == "GPKG"
    pyogrio.raw.write(
        file,
        np.asarray(shapely.to_wkb(shapes), dtype=object),
        values,
        names,
        field_mask=nulls,
        layer=layer.name,
        driver=driver,
        geometry_type="MultiPolygon" if several else "Polygon",
        promote_to_multi=several,
        crs=parse_crs(layer.crs).to_wkt(),
        **_OPTIONS[driver],
    )


def _check(file: Path, layer: Layer) -> None:
    # GDAL's GeoJSON writer does not notice a full disk.
    found = pyogrio.read_info(file, layer=layer.name, force_feature_count=True)["features"]
    if found != len(layer.polygons):
        raise OSError(f"{found} of {len(layer.polygons)} features reached the disk")


@lru_cache(maxsize=64)
def parse_crs(text: str) -> CRS:
    """A code ("EPSG:32611") or WKT2, as in GeoRef. Raises InvalidInput."""
    try:
        match = re.fullmatch(r"(\w+):([\w.]+)", text)
        return CRS.from_authority(*match.groups()) if match else CRS.from_wkt(text)
    except ProjError as error:
        raise InvalidInput(f"CRS {text[:80]!r} is not one that PROJ knows: {str(error)[:120]}") from None


def to_lonlat(crs: str, polygons: Sequence[Any]) -> list[Any]:
    """Polygons of one CRS in WGS84 degrees, longitude first. Raises InvalidInput where there is no such thing."""

    def degrees(points: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = transformer.transform(points[:, 0], points[:, 1])
        return np.stack([x, y], axis=1)

    try:
        transformer = Transformer.from_crs(parse_crs(crs), CRS.from_epsg(4326), always_xy=True)
        placed = shapely.transform(np.array(polygons, dtype=object), degrees)
    except ProjError:
        placed = None
    if placed is None or not np.isfinite(shapely.get_coordinates(placed)).all():
        raise InvalidInput(f"{crs[:80]} has no longitude and latitude for these regions; export them as gpkg")
    return list(placed)
