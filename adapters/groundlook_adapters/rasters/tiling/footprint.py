"""Where a tile lies on Earth: longitude and latitude, outline, metres per pixel.

A straight edge in the map's CRS is curved in degrees, longitudes jump at the antimeridian, and at a pole they mean
nothing: an outline is therefore walked in small steps and its longitudes are unrolled (each step is the short way).
One that comes back turned by 360° has walked around a pole.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import Geod

from groundlook.core.geo import GeoRef, Points, TileRef, WindowPx
from groundlook_adapters.rasters.crs import FAR, metres_per_unit, to_lonlat
from groundlook_adapters.rasters.tiling.reproject import from_lonlat

_EDGE = 16
"""Points per side."""
_POLE_EDGE = 128
"""Points per side of a tile with a pole in it, so that no step is much of the circle."""
_CURVED_PX = 0.5
"""A footprint keeps points between the corners where the straight line is further off than this."""

Box = tuple[float, float, float, float]
"""(west, south, east, north), degrees."""


@dataclass(frozen=True, slots=True)
class OnEarth:
    """A window on Earth, in degrees, longitude first. `ring`: (N, 2), from corner to corner; longitudes go on past
    180. `more`: further points of the outline, as far north and south as it gets. `centre`; `middles`: of the left,
    right, top and bottom side. `pole`: 90 or −90 where the window has that pole inside, else 0."""

    ring: Points
    more: Points
    centre: tuple[float, float]
    middles: Points
    pole: int

    def bbox(self) -> Box:
        """East is beyond 180 where the window crosses the antimeridian; west is in [−180, 180)."""
        points = np.concatenate([self.ring, self.more])
        south, north = float(points[:, 1].min()), float(points[:, 1].max())
        if self.pole:
            return -180.0, min(south, float(self.pole)), 180.0, max(north, float(self.pole))
        west, east = float(points[:, 0].min()), float(points[:, 0].max())
        return west, south, east, north


def on_earth(georef: GeoRef, size: tuple[int, int], edge: int = _EDGE) -> OnEarth | None:
    """The window of `size` (width, height) px that `georef` places, its outline in `edge` steps per side. None where
    the CRS is not of the Earth, or where some point of the outline has no longitude and latitude."""
    width, height = size
    t = np.arange(edge)[:, None] / edge
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height], [0, 0]], dtype=np.float64)
    edges = [corners[i] + t * (corners[i + 1] - corners[i]) for i in range(4)]
    middles = np.array([[0.5, 0.5], [0, 0.5], [1, 0.5], [0.5, 0], [0.5, 1]]) * size
    nearest = _nearest_to_poles(georef, size)
    points = georef.to_map(np.concatenate([*edges, middles, nearest]))
    lonlat = None if np.abs(points).max() > FAR else to_lonlat(georef.crs, points)
    if lonlat is None:
        return None
    ring, rest = lonlat[: 4 * edge].copy(), lonlat[4 * edge :]
    longitudes = np.unwrap(np.append(ring[:, 0], ring[0, 0]), period=360)
    turned = abs(longitudes[-1] - longitudes[0]) > 180
    if turned and edge < _POLE_EDGE:
        return on_earth(georef, size, _POLE_EDGE)
    ring[:, 0] = longitudes[:-1]
    if not turned:
        ring[:, 0] -= 360 * np.floor((ring[:, 0].min() + 180) / 360)
    middle = (ring[:, 0].min() + ring[:, 0].max()) / 2
    rest[:, 0] += 360 * np.round((middle - rest[:, 0]) / 360)  # the turn that the ring is on
    pole = 0 if not turned else 90 if rest[0, 1] > 0 else -90
    return OnEarth(ring, rest[5:], (float(rest[0, 0]), float(rest[0, 1])), rest[1:5], pole)


def _nearest_to_poles(georef: GeoRef, size: tuple[int, int]) -> Points:
    """(0…2, 2) pixels: the points of a window that are nearest to the poles, where its CRS has them: there an edge
    is furthest north or south."""
    poles = [p for p in (_pole(georef.crs, latitude) for latitude in (90.0, -90.0)) if p is not None]
    if not poles:
        return np.zeros((0, 2))
    return np.clip(georef.to_pixel(np.array(poles)), 0, size)


@lru_cache(maxsize=256)
def _pole(crs: str, latitude: float) -> tuple[float, float] | None:
    """A pole in map coordinates, where the CRS shows it as one point."""
    points = np.array([[lon, latitude] for lon in (0.0, 90.0, 180.0)])
    found = from_lonlat(crs, points)
    if found is None or np.ptp(found, axis=0).max() > 1e-3:
        return None
    return float(found[0, 0]), float(found[0, 1])


@lru_cache(maxsize=64)
def _on_earth(georef: GeoRef, size: tuple[int, int]) -> OnEarth | None:
    return on_earth(georef, size)


def _of(tile: TileRef) -> OnEarth | None:
    return None if tile.georef is None else _on_earth(tile.georef, tile.size)


def lonlat_centre(tile: TileRef) -> tuple[float, float] | None:
    """(longitude, latitude) of the tile's middle, 7 decimals (1 cm)."""
    place = _of(tile)
    return None if place is None else (round(_wrapped(place.centre[0]), 7), round(place.centre[1], 7))


def lonlat_bbox(tile: TileRef) -> list[float] | None:
    """[west, south, east, north]; west > east where the tile crosses the antimeridian (RFC 7946); all longitudes
    where a pole is inside."""
    place = _of(tile)
    if place is None:
        return None
    west, south, east, north = place.bbox()
    if east - west >= 360:
        west, east = -180.0, 180.0
    return [west, south, _wrapped(east), north]


def scene_extent(georef: GeoRef, window: WindowPx) -> Box | None:
    """(west, south, east, north) of a window of a scene that `georef` places, all of it inside and a little more;
    east may be beyond 180. None where it has no longitudes and latitudes."""
    column, row, width, height = window
    place = on_earth(georef.window(column, row), (width, height), 4 * _EDGE)
    if place is None:
        return None
    west, south, east, north = place.bbox()
    pad = 1e-6 + max(east - west, north - south) / 256  # edges bow between the points
    return west - pad, max(-90.0, south - pad), east + pad, min(90.0, north + pad)


def footprint(tile: TileRef) -> dict[str, Any] | None:
    """GeoJSON Polygon, counter-clockwise; a MultiPolygon cut at the antimeridian where it crosses that. With a pole
    inside, it runs along the antimeridian to the pole and back. Its corners, with points between them where an edge
    is curved by more than half a pixel. None where there is none that is valid."""
    place = _of(tile)
    if place is None:
        return None
    ring = _around_pole(place) if place.pole else _kept(place.ring, tile.size)
    whole = shapely.Polygon(ring)
    if not whole.is_valid or whole.area == 0 or np.ptp(ring[:, 0]) > 360:
        return None
    if ring[:, 0].max() <= 180:
        return {"type": "Polygon", "coordinates": [_closed(ring)]}
    west = shapely.intersection(whole, shapely.box(-180, -90, 180, 90))
    east = shapely.intersection(whole, shapely.box(180, -90, 540, 90))
    back = shapely.transform(east, lambda points: points - (360, 0))
    # United, because a ring around the whole Earth would meet itself on the other side.
    parts = shapely.get_parts(shapely.union(west, back))
    rings = [_closed(shapely.get_coordinates(p)[:-1]) for p in parts if isinstance(p, shapely.Polygon)]
    return {"type": "MultiPolygon", "coordinates": [[ring] for ring in rings]}


def _kept(ring: Points, size: tuple[int, int]) -> Points:
    """The corners, or the whole ring where some edge is curved."""
    n = len(ring) // 4
    corners = ring[::n]
    return ring if is_curved(corners, ring[n // 2 :: n], np.array(size)) else corners


def is_curved(corners: Points, middles: Points, size: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether some edge is further from straight than half a pixel. `corners` (…, 4, 2); `middles` (…, 4, 2) of the
    edges that begin there; `size` (…, 2) in px."""
    following = np.roll(corners, -1, axis=-2)
    off = np.linalg.norm(middles - (corners + following) / 2, axis=-1)
    pixel = np.linalg.norm(following - corners, axis=-1) / np.concatenate([size, size], axis=-1)
    return np.asarray((off > _CURVED_PX * pixel).any(axis=-1))


def _around_pole(place: OnEarth) -> Points:
    """(N, 2), eastward from −180 to 180, then over the pole."""
    ring = place.ring if place.ring[-1, 0] > place.ring[0, 0] else place.ring[::-1]
    longitudes = (ring[:, 0] + 180) % 360 - 180
    start = int(np.argmin(longitudes))
    longitudes, latitudes = np.roll(longitudes, -start), np.roll(ring[:, 1], -start)
    share = (180 - longitudes[-1]) / (longitudes[0] + 360 - longitudes[-1])
    edge = latitudes[-1] + share * (latitudes[0] - latitudes[-1])
    over = [[180.0, edge], [180.0, place.pole], [-180.0, place.pole], [-180.0, edge]]
    return np.concatenate([np.stack([longitudes, latitudes], axis=1), over])


def ground_size(tile: TileRef) -> float | None:
    """Metres on the ground per pixel, mean of both directions, 4 significant digits. On Earth it is measured along
    the ellipsoid, so that web-mercator tiles far from the equator don't look coarser than they are."""
    if tile.georef is None:
        return None
    width, height = tile.size
    place = _of(tile)
    if place is not None:
        (left, right, top, bottom) = place.middles
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
