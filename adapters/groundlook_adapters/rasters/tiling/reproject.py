"""Points from one CRS to another, all of them or none."""

from __future__ import annotations

import numpy as np
import rasterio.errors
import rasterio.warp
from rasterio._err import CPLE_BaseError

from groundlook.core.geo import Points
from groundlook_adapters.rasters.crs import FAR, parse_crs

_ERRORS = (rasterio.errors.RasterioError, CPLE_BaseError, ValueError, OSError)


def reproject(source: str, target: str, points: Points) -> Points | None:
    """(N, 2) of one CRS in the units of another, x first. None where they are not of one planet, or where some point
    has no place in `target`. Raises InvalidRaster for a CRS that is none."""
    if source == target:
        return points
    if not (np.abs(points) <= FAR).all():
        return None
    try:
        x, y = rasterio.warp.transform(parse_crs(source), parse_crs(target), points[:, 0], points[:, 1])
    except _ERRORS:
        return None
    found = np.stack([x, y], axis=1).astype(np.float64)
    return found if np.isfinite(found).all() else None


def from_lonlat(crs: str, points: Points) -> Points | None:
    """WGS84 degrees (N, 2), longitude first, to map coordinates; None as in `reproject`."""
    return reproject("EPSG:4326", crs, points)
