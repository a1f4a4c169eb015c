"""The ground of tiles as shapes, and how large it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import Geod
from shapely.geometry import shape

from groundlook.core.geo import TileRef
from groundlook_adapters.rasters.crs import to_lonlat
from groundlook_adapters.rasters.tiling.footprint import footprint, is_curved

_SMALL = 1.0
"""Degrees: a tile that spans less, …"""
_TEMPERATE = 80.0
"""… nowhere further north or south than this, has no pole in it, and is not around one."""


def ground(tile: TileRef) -> Any | None:
    """The tile's outline in degrees, longitude first: Polygon, or MultiPolygon cut at the antimeridian. None where it
    has no place on Earth."""
    found = footprint(tile)
    return None if found is None else shape(found)


def grounds(tiles: Sequence[TileRef]) -> list[Any | None]:
    """`ground` of each. A hundred thousand tiles take seconds, not a minute: those of one CRS are placed together where
    their corners tell everything, because they are small and straight, and neither polar nor at the antimeridian."""
    found: list[Any | None] = [None] * len(tiles)
    by_crs: dict[str, list[int]] = {}
    for i, tile in enumerate(tiles):
        if tile.georef is not None:
            by_crs.setdefault(tile.georef.crs, []).append(i)
    for crs, rows in by_crs.items():
        for i, place in zip(rows, _of_one_crs(crs, [tiles[i] for i in rows]), strict=True):
            found[i] = place
    return found


def _of_one_crs(crs: str, tiles: Sequence[TileRef]) -> list[Any | None]:
    """All of them are placed."""
    outlines = np.array([tile.outline() for tile in tiles])
    following = np.roll(outlines, -1, axis=1)
    both = np.stack([outlines, (outlines + following) / 2], axis=1)  # corners, and the middle of each side
    placed = to_lonlat(crs, both.reshape(-1, 2))
    if placed is None:  # one of them is nowhere
        half = len(tiles) // 2
        return [*_of_one_crs(crs, tiles[:half]), *_of_one_crs(crs, tiles[half:])] if half else [ground(tiles[0])]
    corners, middles = placed.reshape(both.shape).swapaxes(0, 1)
    plain = _plain(corners) & ~is_curved(corners, middles, np.array([tile.size for tile in tiles]))
    turned = shapely.is_ccw(shapely.linearrings(corners))[:, None, None]
    polygons = shapely.polygons(np.round(np.where(turned, corners, corners[:, ::-1]), 7))
    good = plain & shapely.is_valid(polygons) & (shapely.area(polygons) > 0)
    return [polygons[i] if good[i] else ground(tile) for i, tile in enumerate(tiles)]


def _plain(corners: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(N,), of (N, 4, 2) in degrees."""
    low, high = corners.min(axis=1), corners.max(axis=1)
    small = (high - low < _SMALL).all(axis=1)
    inside = (np.maximum(np.abs(low), np.abs(high)) < (180.0, _TEMPERATE)).all(axis=1)
    return np.asarray(small & inside, bool)


def square_metres(geometry: Any) -> float:
    """Of a geometry in degrees, along the WGS84 ellipsoid (Karney 2013, as GeographicLib has it)."""
    area, _ = Geod(ellps="WGS84").geometry_area_perimeter(shapely.normalize(geometry))
    return abs(float(area))


def tile_square_metres(tile: TileRef) -> float | None:
    """Of a tile; None where it has no place on Earth."""
    found = ground(tile)
    return None if found is None else square_metres(found)
