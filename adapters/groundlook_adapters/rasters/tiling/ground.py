"""The ground of tiles as shapes, and how large it is."""

from __future__ import annotations

from typing import Any

import shapely
from pyproj import Geod
from shapely.geometry import shape

from groundlook.core.geo import TileRef
from groundlook_adapters.rasters.tiling.footprint import footprint


def ground(tile: TileRef) -> Any | None:
    """The tile's outline in degrees, longitude first: Polygon, or MultiPolygon cut at the antimeridian. None where it
    has no place on Earth."""
    found = footprint(tile)
    return None if found is None else shape(found)


def square_metres(geometry: Any) -> float:
    """Of a geometry in degrees, along the WGS84 ellipsoid (Karney 2013, as GeographicLib has it)."""
    area, _ = Geod(ellps="WGS84").geometry_area_perimeter(shapely.normalize(geometry))
    return abs(float(area))


def tile_square_metres(tile: TileRef) -> float | None:
    """Of a tile; None where it has no place on Earth."""
    found = ground(tile)
    return None if found is None else square_metres(found)
