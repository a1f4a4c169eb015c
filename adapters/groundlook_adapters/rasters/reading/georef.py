"""Where a raster lies: its own georeference, the user's CRS, a file name, or a clear refusal."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyproj
import pyproj.exceptions

from groundlook.core.errors import InvalidInput, InvalidRaster
from groundlook.core.geo import Affine, GeoRef
from groundlook_adapters.rasters.crs import crs_text, parse_crs
from groundlook_adapters.rasters.environment import led_astray
from groundlook_adapters.rasters.reading.slippy import slippy_georef

_MERCATOR = "EPSG:3857"
_PLAIN = ("PNG", "JPEG", "WEBP")
"""Pictures that need no place."""

_DIGITS = 9
"""Of the pixel size of a warped grid, and of a pixel's place in it: the last bits of a logarithm differ between
processors, a tile's uid must not."""


def georef_of(dataset: Any, name: str, xyz: str | None = None, crs: str | None = None) -> GeoRef | None:
    """The georeference of an open raster (warped where control points place it); None for a plain picture without.

    `xyz`: file-name pattern of slippy-map tiles. `crs`: authority code or WKT for a raster that has a transform but
    no CRS. Raises InvalidRaster (no place, a CRS that is not `crs`), InvalidInput (a bad pattern).
    """
    astray = led_astray()
    if astray:
        raise InvalidRaster(f"{name} can't be placed: {astray}")
    if xyz is not None:
        if crs is not None and not _same(parse_crs(crs), parse_crs(_MERCATOR)):
            raise InvalidInput(f"--xyz places tiles in {_MERCATOR}, --crs says {crs[:80]}; leave --crs out")
        return slippy_georef(Path(name), xyz, dataset.width, dataset.height)
    if dataset.transform.is_identity:
        if dataset.driver in _PLAIN:
            return None
        raise InvalidRaster(_unplaced(dataset, name))
    transform = _transform(dataset, name)
    system = _crs(dataset, name, crs)
    if _geocentric(system):
        raise InvalidRaster(f"{name} is in {_short(system)}, which is no map: it counts from the Earth's centre")
    return GeoRef(system, transform)


@lru_cache(maxsize=256)
def _geocentric(crs: str) -> bool:
    try:
        return bool(pyproj.CRS.from_user_input(parse_crs(crs).to_wkt()).is_geocentric)
    except pyproj.exceptions.CRSError:  # PROJ knows less of some local systems than GDAL
        return False


def _crs(dataset: Any, name: str, given: str | None) -> str:
    own = dataset.crs
    if given is None:
        if own is None:
            raise InvalidRaster(f"{name} has no CRS; pass the one it was made in: --crs EPSG:…")
        return crs_text(own)
    asked = parse_crs(given)
    if own is not None and not _same(own, asked):
        raise InvalidRaster(
            f"{name} is in {_short(crs_text(own))}, --crs says {_short(given)}; "
            "leave --crs out, or correct the file with gdal_edit.py -a_srs"
        )
    return crs_text(asked if own is None else own)


def _same(one: Any, other: Any) -> bool:
    return bool(one == other)


def _short(crs: str) -> str:
    return crs if len(crs) <= 60 else f"{crs[:57]}…"


def _transform(dataset: Any, name: str) -> Affine:
    transform = tuple(float(v) for v in tuple(dataset.transform)[:6])
    if hasattr(dataset, "src_dataset"):
        transform = _rounded(transform)
    a, b, c, d, e, f = transform
    if not all(map(math.isfinite, transform)) or a * e - b * d == 0:
        raise InvalidRaster(f"{name} has the transform {transform}, which can't be inverted; correct it with gdal_edit")
    return a, b, c, d, e, f


def _rounded(transform: tuple[float, ...]) -> tuple[float, ...]:
    size = abs(transform[0])
    digits = _DIGITS - 1 - math.floor(math.log10(size)) if size > 0 else 0
    return tuple(round(v, digits) for v in transform)


def _unplaced(dataset: Any, name: str) -> str:
    if dataset.crs is None:
        return (
            f"{name} has no CRS and no transform; give it both: "
            "gdal_translate -a_srs EPSG:… -a_ullr LEFT TOP RIGHT BOTTOM IN OUT, or a world file and --crs EPSG:…"
        )
    return f"{name} has a CRS but no transform; set it with gdal_edit.py -a_ullr LEFT TOP RIGHT BOTTOM {name}"
