"""Vector features that came in as pre-annotations: which of them nobody edited."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely

from groundlook.core.geo import Points
from groundlook.core.geometry import Point, Polygon, Shape, WholeTile
from groundlook.core.mask import Mask
from groundlook.core.types import Original

TOLERANCE_PX = 0.05
"""Label Studio keeps percents as doubles, so what nobody moved comes back within 1e-9 px; what somebody moved with the
mouse moved by more than this on any screen."""

_POLYGONAL, _POINT = frozenset({"Polygon", "MultiPolygon"}), frozenset({"Point"})


def unedited(shape: Shape, sent: Shape, tolerance: float = TOLERANCE_PX) -> bool:
    """Whether `shape` is what was `sent`, both in pixels of the same tile. Polygons may start at another vertex and
    repeat their first; masks must be the same to the pixel; all else lies within `tolerance` px."""
    if type(shape) is not type(sent):
        return False
    if isinstance(shape, Mask | WholeTile):
        return shape == sent
    if isinstance(shape, Polygon):
        return _same_ring(_open(shape.corners(), tolerance), _open(sent.corners(), tolerance), tolerance)
    return _apart(shape.corners(), sent.corners()) <= tolerance


def usable(original: Original, shape: Shape) -> Any | None:
    """The 2-D geometry of an original, where it can stand for a region like `shape`: a point for a point, polygons for
    an area. None where it can't."""
    try:
        geometry = shapely.force_2d(shapely.from_wkb(original.geometry))
    except shapely.errors.ShapelyError:
        return None
    wanted = _POINT if isinstance(shape, Point) else _POLYGONAL
    fits = geometry is not None and not geometry.is_empty and geometry.geom_type in wanted
    return geometry if fits else None


def _open(ring: Points, tolerance: float) -> Points:
    return ring[:-1] if len(ring) > 3 and _apart(ring[:1], ring[-1:]) <= tolerance else ring


def _same_ring(a: Points, b: Points, tolerance: float) -> bool:
    if len(a) != len(b):
        return False
    starts = np.flatnonzero(np.hypot(*(b - a[0]).T) <= tolerance)
    return any(_apart(a, np.roll(b, -int(k), axis=0)) <= tolerance for k in starts)


def _apart(a: Points, b: Points) -> float:
    """The largest distance between points of the same place in both; not a number counts as far."""
    if len(a) != len(b):
        return np.inf
    distance = np.hypot(*(a - b).T)
    return float(distance.max(initial=0.0)) if np.isfinite(distance).all() else np.inf
