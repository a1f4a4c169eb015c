"""Shapes on a map → GeoJSON in WGS84 degrees that any reader draws right: cut at the antimeridian, poles closed."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError

from groundlook.core.errors import InvalidInput
from groundlook_adapters.vectors.systems import system

_DIGITS = 9
"""Decimals of a degree: 0.1 mm."""
_NOTHING = 1e-15
"""Square degrees (12 mm²) that are only what cutting leaves of a corner."""


def geojson(geometry: Any, crs: str, steps: int = 0) -> dict[str, Any]:
    """A shapely Point, Polygon or MultiPolygon in `crs` (x first) as a GeoJSON geometry, RFC 7946: longitude first,
    rings counter-clockwise, cut where it crosses ±180°. A ring around a pole is closed along it. `steps`: cut long
    sides into about so many pieces first: a straight side on the map is curved in degrees. Raises InvalidInput where
    there is no longitude and latitude.
    """
    if geometry.geom_type == "Point":
        ((lon, lat),) = _degrees(shapely.get_coordinates(geometry), crs)
        return {"type": "Point", "coordinates": [round(_wrapped(lon), _DIGITS), round(float(lat), _DIGITS)]}
    if steps:
        x0, y0, x1, y1 = geometry.bounds
        geometry = shapely.segmentize(geometry, max(x1 - x0, y1 - y0) / steps)
    parts = [p for polygon in shapely.get_parts(geometry) for p in _cut(_unrolled(polygon, crs))]
    rings = [[_ring(p.exterior, True), *(_ring(hole, False) for hole in p.interiors)] for p in parts]
    if not rings:
        raise InvalidInput("a shape without area has no outline in degrees")
    if len(rings) == 1:
        return {"type": "Polygon", "coordinates": rings[0]}
    return {"type": "MultiPolygon", "coordinates": rings}


def bbox(geometry: dict[str, Any]) -> list[float]:
    """[west, south, east, north] of what `geojson` returns; west > east where it was cut at the antimeridian."""
    coordinates = geometry["coordinates"]
    if geometry["type"] == "Point":
        return [*coordinates, *coordinates]
    polygons = coordinates if geometry["type"] == "MultiPolygon" else [coordinates]
    rings = [np.array(polygon[0]) for polygon in polygons]
    points = np.concatenate(rings)
    (west, south), (east, north) = points.min(axis=0), points.max(axis=0)
    if west <= -180 and east >= 180 and not any(np.ptp(r[:, 0]) >= 360 for r in rings):
        west = min(r[:, 0].min() for r in rings if r[:, 0].max() >= 180)
        east = max(r[:, 0].max() for r in rings if r[:, 0].min() <= -180)
    return [float(v) for v in (west, south, east, north)]


@lru_cache(maxsize=64)
def _transformer(crs: str) -> Transformer:
    try:
        return Transformer.from_crs(system(crs), CRS.from_epsg(4326), always_xy=True)
    except ProjError as error:
        reason = " ".join(str(error).split())[:120]
        raise InvalidInput(f"CRS {crs[:80]!r} has no longitude and latitude on Earth: {reason}") from None


@lru_cache(maxsize=64)
def _is_geographic(crs: str) -> bool:
    return bool(system(crs).is_geographic)


def _degrees(points: NDArray[np.float64], crs: str) -> NDArray[np.float64]:
    """(N, 2) map → (N, 2) longitude, latitude."""
    try:
        # Lists: pyproj warns of arrays of one point
        x, y = _transformer(crs).transform(points[:, 0].tolist(), points[:, 1].tolist())
    except ProjError as error:
        raise InvalidInput(f"CRS {crs[:80]!r} has no longitude and latitude here: {str(error)[:120]}") from None
    lonlat = np.stack([x, y], axis=1)
    if not np.isfinite(lonlat).all() or (np.abs(lonlat[:, 1]) > 90 + 1e-6).any():
        raise InvalidInput(f"CRS {crs[:80]!r} has no longitude and latitude for a part of the scene")
    return lonlat


def _unrolled(polygon: Any, crs: str) -> Any:
    """In degrees, longitudes going on beyond 180 instead of jumping back."""
    outer, pole = _ring_unrolled(polygon.exterior, crs)
    if pole:
        first, last = outer[0], outer[-1]
        outer = np.concatenate([outer, [[last[0], pole], [first[0], pole], first]])
    middle = (outer[:, 0].min() + outer[:, 0].max()) / 2
    holes = []
    for hole in polygon.interiors:
        ring, around = _ring_unrolled(hole, crs)
        if not around:  # a hole around the pole is no hole in degrees
            holes.append(ring + np.array([360 * round((middle - ring[:, 0].mean()) / 360), 0]))
    placed = shapely.Polygon(outer, holes)
    return placed if placed.is_valid else shapely.make_valid(placed)


def _ring_unrolled(ring: Any, crs: str) -> tuple[NDArray[np.float64], float]:
    """A closed ring, and the latitude of the pole that it goes around, 0 for none."""
    points = shapely.get_coordinates(ring)
    lonlat = _degrees(points, crs)
    if _is_geographic(crs):  # its own longitudes tell how far a side goes, half around the world or more
        lonlat[:, 0] += 360 * np.round((points[:, 0] - lonlat[:, 0]) / 360)
    else:
        lonlat[:, 0] = np.unwrap(lonlat[:, 0], period=360)
    if abs(lonlat[-1, 0] - lonlat[0, 0]) < 180:
        lonlat[-1] = lonlat[0]  # to the last bit
        return lonlat, 0.0
    return lonlat, math.copysign(90, float(lonlat[:, 1].mean()))


def _cut(placed: Any) -> list[Any]:
    """Polygons within ±180°."""
    west, _, east, _ = placed.bounds
    found = []
    for turn in range(math.floor((west + 180) / 360), math.ceil((east + 180) / 360)):
        world = shapely.box(-180 + 360 * turn, -90, 180 + 360 * turn, 90)
        inside = placed if world.covers(placed) else shapely.intersection(placed, world)
        found.append(_shifted(inside, 360 * turn))
    # Around a pole the pieces meet where the ring began
    joined = found[0] if len(found) == 1 else shapely.union_all(found)
    parts = [p for g in shapely.get_parts(joined) for p in shapely.get_parts(g)]
    return [p for p in parts if p.geom_type == "Polygon" and p.area > _NOTHING]


def _shifted(geometry: Any, by: int) -> Any:
    return shapely.transform(geometry, lambda points: points - (by, 0)) if by else geometry


def _ring(ring: Any, outer: bool) -> list[list[float]]:
    points = shapely.get_coordinates(ring)
    if ring.is_ccw != outer:
        points = points[::-1]
    return [[round(float(x), _DIGITS), round(float(y), _DIGITS)] for x, y in points]


def _wrapped(longitude: float) -> float:
    return float((longitude + 180) % 360 - 180)
