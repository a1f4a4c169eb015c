"""Regions in tile pixels → polygons on the map."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely

from groundlook.core.geo import GeoRef
from groundlook.core.geometry import Shape


def to_polygon(shape: Shape) -> tuple[Any, bool]:
    """The shapely (Multi)Polygon of a shape in tile pixels, and whether it had to be repaired (a ring that crosses
    itself). None where nothing with an area is left: a box without width, two points, a coordinate that is no number.

    Repaired in pixels, not on the map: there eastings and northings in the millions eat the digits that decide
    whether two edges cross.
    """
    corners = shape.corners()
    if len(corners) < 3 or not np.isfinite(corners).all():
        return None, False
    polygon = shapely.Polygon(corners)
    if polygon.is_valid:
        return (polygon if polygon.area > 0 else None), False
    # make_valid, never buffer(0): that drops the smaller half of a figure of eight
    repaired = _polygonal(shapely.make_valid(polygon))
    return repaired, repaired is not None


def _polygonal(geometry: Any) -> Any:
    """What has an area in a geometry of any type: Polygon, MultiPolygon or None."""
    parts = [p for p in shapely.get_parts(geometry, return_index=False) if p.geom_type == "Polygon" and p.area > 0]
    if geometry.geom_type == "GeometryCollection":
        nested = [g for g in geometry.geoms if g.geom_type == "MultiPolygon"]
        parts += [p for g in nested for p in g.geoms if p.area > 0]
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)


def to_map(polygon: Any, georef: GeoRef) -> Any:
    """A geometry in pixels of `georef`'s grid, in its CRS, float64 throughout; the other way round wherever the
    transform mirrors (most do), so that rings stay counter-clockwise."""
    a, b, _, d, e, _ = georef.transform
    placed = shapely.transform(polygon, georef.to_map)
    return shapely.reverse(placed) if a * e - b * d < 0 else placed
