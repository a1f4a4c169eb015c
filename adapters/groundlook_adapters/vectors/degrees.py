"""Shapes on a map → WGS84 degrees that any reader draws right: cut at the antimeridian, poles closed, and with further
vertices where a straight side on the map is a curve in degrees (RFC 7946 draws sides straight in degrees).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError

from groundlook.core.errors import InvalidInput
from groundlook.core.geo import GeoRef, Points
from groundlook_adapters.vectors.systems import system

_DIGITS = 9
"""Decimals of a degree: 0.1 mm."""
_NOTHING = 1e-15
"""Square degrees (12 mm²) that are only what cutting leaves of a corner."""


OFF_PX = 0.05
"""Pixels by which a side may be off the straight one on the map."""
_EARTH_M = 6_371_000.0
_HALVINGS = 12
_LONG = 170.0
"""Degrees: GDAL takes a side of more than 350 for one that crosses the antimeridian."""


def allowance(georef: GeoRef) -> float:
    """`OFF_PX` of a grid as an angle on the Earth, in radians."""
    found = system(georef.crs)
    unit = found.axis_info[0].unit_conversion_factor if found.axis_info else 1.0
    return OFF_PX * min(georef.gsd()) * unit / (1.0 if found.is_geographic else _EARTH_M)


def to_degrees(geometries: Sequence[Any], crs: str, off: float) -> list[Any]:
    """Shapely Points, Polygons and MultiPolygons in `crs` (x first) as RFC 7946 wants them: longitude first, between
    ±180, cut there; a ring around a pole is closed along it. No side is off the one on the map by more than `off`
    (radians on the Earth). What lies well already keeps every bit. Raises InvalidInput where there is no longitude and
    latitude."""
    points, owner = shapely.get_coordinates(geometries, return_index=True)
    lonlat = points if system(crs).equals(CRS.from_epsg(4326), ignore_axis_order=True) else _degrees(points, crs)
    found = shapely.transform(np.array(geometries, dtype=object), lambda _: lonlat)
    west, south, east, north = shapely.bounds(found).T
    hard = (west < -180) | (east > 180) | (east - west > _LONG) | (south < -90) | (north > 90)
    side = np.flatnonzero(owner[1:] == owner[:-1])
    hard[owner[side[_bent(points, lonlat, crs, side) > off]]] = True
    for i in np.flatnonzero(hard):
        found[i] = _cut_to_degrees(geometries[i], crs, off)
    return list(found)


def geojson(geometry: Any, crs: str, off: float) -> dict[str, Any]:
    """One geometry of `to_degrees` as a GeoJSON geometry, rings counter-clockwise. Raises InvalidInput like that."""
    placed = _cut_to_degrees(geometry, crs, off)
    if placed.geom_type == "Point":
        return {"type": "Point", "coordinates": [round(float(placed.x), _DIGITS), round(float(placed.y), _DIGITS)]}
    parts = shapely.get_parts(placed)
    rings = [[_ring(p.exterior, True), *(_ring(hole, False) for hole in p.interiors)] for p in parts]
    if len(rings) == 1:
        return {"type": "Polygon", "coordinates": rings[0]}
    return {"type": "MultiPolygon", "coordinates": rings}


def _cut_to_degrees(geometry: Any, crs: str, off: float) -> Any:
    if geometry.geom_type == "Point":
        ((lon, lat),) = _degrees(shapely.get_coordinates(geometry), crs)
        return shapely.Point(_wrapped(lon), min(max(float(lat), -90.0), 90.0))
    parts = [p for polygon in shapely.get_parts(geometry) for p in _cut(_unrolled(polygon, crs, off))]
    if not parts:
        raise InvalidInput("a shape without area has no outline in degrees")
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)


def _bent(points: Points, lonlat: Points, crs: str, side: NDArray[np.int64]) -> NDArray[np.float64]:
    """By how much the middles of some sides are off in degrees drawn straight; radians on the Earth. `side` (K,): the
    first points of these sides, which end at the next."""
    if _is_geographic(crs) or not len(side):
        return np.zeros(len(side))
    true = _raw_degrees((points[side + 1] + points[side]) / 2, crs)
    with np.errstate(invalid="ignore"):  # a side may cross what a projection leaves out
        step = lonlat[side + 1] - lonlat[side]
        step[:, 0] -= 360 * np.round(step[:, 0] / 360)
        apart = true - (lonlat[side] + step / 2)
        apart[:, 0] -= 360 * np.round(apart[:, 0] / 360)
        bent = np.radians(np.hypot(apart[:, 0] * np.cos(np.radians(true[:, 1])), apart[:, 1]))
    return np.asarray(np.where(np.isfinite(bent), bent, 0.0), dtype=np.float64)


def _followed(points: Points, crs: str, off: float) -> Points:
    """A ring with its sides halved until none is off by more than `off`."""
    for _ in range(_HALVINGS):
        sides = np.arange(len(points) - 1)
        bent = np.flatnonzero(_bent(points, _degrees(points, crs), crs, sides) > off)
        if not len(bent):
            break
        points = np.insert(points, bent + 1, (points[bent] + points[bent + 1]) / 2, axis=0)
    return points


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
    found = system(crs)  # a rotated pole has longitudes of its own
    return bool(found.is_geographic) and not found.is_derived


def _raw_degrees(points: Points, crs: str) -> Points:
    """(N, 2) map → (N, 2) longitude, latitude; infinite where there is none."""
    try:
        # A list: pyproj warns of an array of one point
        x, y = _transformer(crs).transform(*(points.T if len(points) > 1 else points.T.tolist()))
    except ProjError as error:
        raise InvalidInput(f"CRS {crs[:80]!r} has no longitude and latitude here: {str(error)[:120]}") from None
    return np.stack([x, y], axis=1)


def _degrees(points: Points, crs: str) -> Points:
    """(N, 2) map → (N, 2) longitude, latitude. Raises InvalidInput where there is none."""
    lonlat = _raw_degrees(points, crs)
    # A shape may be drawn over the edge of a grid in degrees that ends at the pole: that part is cut off
    most = 180 if _is_geographic(crs) else 90 + 1e-6
    if not np.isfinite(lonlat).all() or (np.abs(lonlat[:, 1]) > most).any():
        raise InvalidInput(f"CRS {crs[:80]!r} has no longitude and latitude for a part of the scene")
    return lonlat


def _unrolled(polygon: Any, crs: str, off: float) -> Any:
    """In degrees, longitudes going on beyond 180 instead of jumping back."""
    outer, pole = _ring_unrolled(polygon.exterior, crs, off)
    if pole:
        first, last = outer[0], outer[-1]
        outer = np.concatenate([outer, [[last[0], pole], [first[0], pole], first]])
    middle = (outer[:, 0].min() + outer[:, 0].max()) / 2
    holes = []
    for hole in polygon.interiors:
        ring, around = _ring_unrolled(hole, crs, off)
        if not around:  # a hole around the pole is no hole in degrees
            holes.append(ring + np.array([360 * round((middle - ring[:, 0].mean()) / 360), 0]))
    placed = shapely.segmentize(shapely.Polygon(outer, holes), _LONG)
    return placed if placed.is_valid else shapely.make_valid(placed)


def _ring_unrolled(ring: Any, crs: str, off: float) -> tuple[NDArray[np.float64], float]:
    """A closed ring, and the latitude of the pole that it goes around, 0 for none."""
    points = _followed(shapely.get_coordinates(ring), crs, off)
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
