"""Where a tile lies on Earth: longitude and latitude, outline, metres per pixel."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import shapely
from pyproj import Geod

from groundlook.core.geo import Points, TileRef
from groundlook_adapters.rasters.crs import metres_per_unit, to_lonlat

_EDGE = 8
"""Points per side: a straight edge in the map's CRS is curved in degrees."""


@lru_cache(maxsize=64)
def _lonlat(tile: TileRef) -> Points | None:
    """The outline, `_EDGE` points per side, then the centre and the middles of the left, right, top and bottom
    side, in degrees; past the antimeridian longitudes go on beyond 180."""
    if tile.georef is None:
        return None
    width, height = tile.size
    t = np.arange(_EDGE)[:, None] / _EDGE
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height], [0, 0]], dtype=np.float64)
    edges = [corners[i] + t * (corners[i + 1] - corners[i]) for i in range(4)]
    middles = np.array([[0.5, 0.5], [0, 0.5], [1, 0.5], [0.5, 0], [0.5, 1]]) * (width, height)
    lonlat = to_lonlat(tile.georef.crs, tile.georef.to_map(np.concatenate([*edges, middles])))
    if lonlat is not None and np.ptp(lonlat[:, 0]) > 180:
        lonlat[lonlat[:, 0] < 0, 0] += 360
    return lonlat


def lonlat_centre(tile: TileRef) -> tuple[float, float] | None:
    """(longitude, latitude) of the tile's middle, 7 decimals (1 cm)."""
    lonlat = _lonlat(tile)
    if lonlat is None:
        return None
    lon, lat = lonlat[4 * _EDGE]
    return round(_wrapped(lon), 7), round(float(lat), 7)


def lonlat_bbox(tile: TileRef) -> list[float] | None:
    """[west, south, east, north]; west > east where the tile crosses the antimeridian (RFC 7946)."""
    lonlat = _lonlat(tile)
    if lonlat is None:
        return None
    (west, south), (east, north) = lonlat.min(axis=0), lonlat.max(axis=0)
    return [float(west), float(south), _wrapped(east), float(north)]


def footprint(tile: TileRef) -> dict[str, Any] | None:
    """GeoJSON Polygon, counter-clockwise; a MultiPolygon cut at the antimeridian where it crosses that."""
    lonlat = _lonlat(tile)
    if lonlat is None:
        return None
    ring = lonlat[: 4 * _EDGE : _EDGE]
    if ring[:, 0].max() <= 180:
        return {"type": "Polygon", "coordinates": [_closed(ring)]}
    whole = shapely.Polygon(ring)
    west = shapely.intersection(whole, shapely.box(-180, -90, 180, 90))
    east = shapely.intersection(whole, shapely.box(180, -90, 540, 90))
    parts = [(part, shift) for part, shift in ((west, 0), (east, 360)) if part.area > 0]
    rings = [_closed(shapely.get_coordinates(part)[:-1] - (shift, 0)) for part, shift in parts]
    return {"type": "MultiPolygon", "coordinates": [[ring] for ring in rings]}


def ground_size(tile: TileRef) -> float | None:
    """Metres on the ground per pixel, mean of both directions, 4 significant digits. On Earth it is measured along
    the ellipsoid, so that web-mercator tiles far from the equator don't look coarser than they are."""
    if tile.georef is None:
        return None
    width, height = tile.size
    lonlat = _lonlat(tile)
    if lonlat is not None:
        (left, right, top, bottom) = lonlat[4 * _EDGE + 1 :]
        geod = Geod(ellps="WGS84")
        across = geod.inv(left[0], left[1], right[0], right[1])[2] / width
        down = geod.inv(top[0], top[1], bottom[0], bottom[1])[2] / height
        return float(f"{(across + down) / 2:.4g}")
    unit = metres_per_unit(tile.georef.crs)
    return None if unit is None else float(f"{sum(tile.georef.gsd()) / 2 * unit:.4g}")


def _wrapped(longitude: float) -> float:
    return float(longitude - 360 if longitude > 180 else longitude)


def _closed(ring: Points) -> list[list[float]]:
    x, y = ring[:, 0], ring[:, 1]
    area = float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))
    ordered = ring if area > 0 else ring[::-1]
    return [[round(float(a), 7), round(float(b), 7)] for a, b in (*ordered, ordered[0])]
