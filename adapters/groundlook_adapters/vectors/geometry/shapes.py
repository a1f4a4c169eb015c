"""Shapes in tile pixels ↔ geometries on the map. Every step has its inverse."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import shapely

from groundlook.core.geo import GeoRef, Points
from groundlook.core.geometry import Ellipse, Point, Polygon, Shape, WholeTile
from groundlook.core.mask import Mask
from groundlook_adapters.vectors.geometry.fit import fit_box, fit_ellipse
from groundlook_adapters.vectors.geometry.scan import pixels_inside
from groundlook_adapters.vectors.geometry.trace import outlines

_CHORD_PX = 0.05
"""Pixels by which a side of an ellipse's outline may lie inside the ellipse."""
_SIDES = 72
"""Points of `Ellipse.corners`."""


def to_geometry(shape: Shape, size: tuple[int, int]) -> tuple[Any | None, bool]:
    """The shapely geometry of a shape in tile pixels, x first, and whether it had to be repaired (a ring that crosses
    itself). `size`: (width, height) of the tile.

    Point gives a Point, WholeTile the tile's rectangle, the rest a Polygon or MultiPolygon. None where nothing is
    left: a box without width, two points, an empty mask, a coordinate that is no number. Raises InvalidInput for a
    mask whose runs lie outside it.

    Repaired in pixels, not on the map: there eastings and northings in the millions eat the digits that decide
    whether two edges cross.
    """
    if isinstance(shape, WholeTile):
        return (shapely.box(0, 0, *size) if min(size) > 0 else None), False
    if isinstance(shape, Mask):
        return (outlines(shape) if len(shape.runs) else None), False
    with np.errstate(invalid="ignore"):  # infinity times zero: left out below
        corners = _around(shape) if isinstance(shape, Ellipse) else shape.corners()
    if len(corners) == 0 or not np.isfinite(corners).all():
        return None, False
    if isinstance(shape, Point):
        return shapely.Point(corners[0]), False
    if len(corners) < 3:
        return None, False
    polygon = shapely.Polygon(corners)
    if polygon.is_valid:
        return (polygon if polygon.area > 0 else None), False
    # make_valid, never buffer(0): that drops the smaller half of a figure of eight
    repaired = areas(shapely.make_valid(polygon))
    return repaired, repaired is not None


def _around(ellipse: Ellipse) -> Points:
    """(N, 2) points on an ellipse, clockwise on screen, so many that no chord is off by more than `_CHORD_PX`; those
    of `Ellipse.corners` are among them."""
    reach = float(np.nan_to_num(max(abs(ellipse.rx), abs(ellipse.ry)), posinf=0.0))
    times = math.ceil(math.pi / _SIDES * math.sqrt(reach / (2 * _CHORD_PX)))
    along = np.linspace(0, 2 * np.pi, _SIDES * min(max(times, 1), 100), endpoint=False)
    u, v = ellipse.rx * np.cos(along), ellipse.ry * np.sin(along)
    t = np.radians(ellipse.rotation)
    return np.stack([ellipse.x + u * np.cos(t) - v * np.sin(t), ellipse.y + u * np.sin(t) + v * np.cos(t)], axis=1)


def areas(geometry: Any) -> Any:
    """What has an area in a geometry of any type, repaired where it is invalid: Polygon, MultiPolygon or None."""
    if not geometry.is_valid:
        geometry = shapely.make_valid(geometry)
    parts = [p for p in _flat(geometry) if p.geom_type == "Polygon" and p.area > 0]
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)


def to_map(geometry: Any, georef: GeoRef) -> Any:
    """A geometry in pixels of `georef`'s grid, in its CRS, float64 throughout; the other way round wherever the
    transform mirrors (most do), so that rings stay counter-clockwise."""
    return _turned(shapely.transform(geometry, georef.to_map), georef)


def to_pixel(geometry: Any, georef: GeoRef) -> Any:
    """A geometry in `georef`'s CRS, in pixels of its grid: the inverse of `to_map`."""
    return _turned(shapely.transform(geometry, georef.to_pixel), georef)


def shape_to_map(shape: Shape, georef: GeoRef, size: tuple[int, int]) -> tuple[Any | None, bool]:
    """A shape in pixels of a tile → its geometry in the tile's CRS, and whether it was repaired. See `to_geometry`."""
    geometry, repaired = to_geometry(shape, size)
    return (None if geometry is None else to_map(geometry, georef)), repaired


def to_shape(geometry: Any, like: type[Shape], size: tuple[int, int]) -> list[Shape]:
    """A geometry in tile pixels as shapes of the kind `like`; empty where nothing of that kind is left.

    Polygon: one per part, without holes: whoever asks looks for them. Mask: one, the pixels of a tile of `size`
    whose centres are inside. Box: one, the smallest turned rectangle around all parts; Ellipse: one, of the parts'
    centre and axes. Point: one per point; of an area its centroid, or a point in it where that lies outside.
    WholeTile: one. Coordinates that are no numbers leave nothing. Only Mask is clipped to the tile.
    """
    if geometry.is_empty or not np.isfinite(shapely.get_coordinates(geometry)).all():
        return []
    if like is Point:
        return _points(geometry)
    area = areas(geometry)
    if area is None:
        return []
    if like is WholeTile:
        return [WholeTile()]
    if like is Polygon:
        rings = (shapely.get_coordinates(p.exterior)[:-1].tolist() for p in shapely.get_parts(area))
        return [Polygon(tuple((x, y) for x, y in ring)) for ring in rings]
    if like is Mask:
        mask = pixels_inside(area, size)
        return [mask] if len(mask.runs) else []
    found = fit_ellipse(area) if like is Ellipse else fit_box(area)
    return [] if found is None else [found]


def _points(geometry: Any) -> list[Shape]:
    parts = [p for p in _flat(geometry) if p.geom_type == "Point"]
    if not parts:
        middle = geometry.centroid
        parts = [middle if geometry.intersects(middle) else geometry.point_on_surface()]
    return [Point(float(p.x), float(p.y)) for p in parts]


def _flat(geometry: Any) -> list[Any]:
    """The single parts of a geometry, through collections of collections."""
    parts = [geometry]
    while any(hasattr(p, "geoms") for p in parts):
        parts = [q for p in parts for q in getattr(p, "geoms", [p])]
    return [p for p in parts if not p.is_empty]


def _turned(placed: Any, georef: GeoRef) -> Any:
    a, b, _, d, e, _ = georef.transform
    return shapely.reverse(placed) if a * e - b * d < 0 else placed
