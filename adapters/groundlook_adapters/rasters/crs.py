"""Coordinate reference systems as text, and what they mean on the ground."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import numpy as np
import rasterio
import rasterio.crs
import rasterio.errors
import rasterio.warp
from rasterio._err import CPLE_BaseError

from groundlook.core.errors import InvalidRaster
from groundlook.core.geo import Points

CODE = re.compile(r"[A-Za-z][A-Za-z0-9_]{1,31}:[A-Za-z0-9_.]{1,32}")
"""An authority code, "EPSG:32631"."""

FAR = 1e11
"""No map reaches this far, in any unit. PROJ takes longitudes off such numbers turn by turn, for ever."""

_ERRORS = (rasterio.errors.RasterioError, CPLE_BaseError, ValueError, OSError)


def crs_text(crs: Any) -> str:
    """The authority code of a rasterio CRS where it is exactly that, WKT2 where it is not. GDAL's own matching is
    content with 70 % and calls a custom projection by the name of its neighbour."""
    try:
        found = crs.to_authority(confidence_threshold=100)
        if found and rasterio.crs.CRS.from_authority(*found) == crs:
            return f"{found[0]}:{found[1]}"
        return str(crs.to_wkt(version="WKT2_2019"))
    except _ERRORS as error:
        raise InvalidRaster(f"CRS {str(crs)[:80]!r} can't be written as WKT2: {error}") from None


@lru_cache(maxsize=256)
def parse_crs(text: str) -> Any:
    """The rasterio CRS of `crs_text`. Codes and WKT only: GDAL's general parser also opens files and URLs."""
    try:
        with rasterio.Env():  # else GDAL writes what is wrong to the terminal, too
            if CODE.fullmatch(text):
                authority, code = text.split(":")
                return rasterio.crs.CRS.from_authority(authority, code)
            return rasterio.crs.CRS.from_wkt(text)
    except _ERRORS as error:
        raise InvalidRaster(f"CRS {text[:80]!r} is neither an authority code nor WKT: {error}") from None


def to_lonlat(crs: str, points: Points) -> Points | None:
    """Map (N, 2) to WGS84 degrees (N, 2), longitude first. None where the CRS is not of the Earth, or where some
    point has no longitude and latitude."""
    if not (np.abs(points) <= FAR).all():
        return None
    try:
        x, y = rasterio.warp.transform(parse_crs(crs), parse_crs("EPSG:4326"), points[:, 0], points[:, 1])
    except _ERRORS:
        return None
    lonlat = np.stack([x, y], axis=1).astype(np.float64)
    inside = np.isfinite(lonlat).all() and bool((np.abs(lonlat[:, 1]) <= 90.0001).all())
    return lonlat if inside else None


def metres_per_unit(crs: str) -> float | None:
    """Of a projected CRS; None for degrees."""
    parsed = parse_crs(crs)
    try:
        return float(parsed.linear_units_factor[1]) if parsed.is_projected else None
    except _ERRORS:
        return None
