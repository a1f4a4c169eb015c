"""Polygons without holes that cover what a polygon with holes covers."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray


def without_holes(polygon: Any) -> list[Any]:
    """Cut a valid polygon into simple ones without holes: they share edges, don't overlap, and together are the same
    area. The largest first; the polygon itself where it has no holes.

    It is cut right across, along the fewest parallel lines that meet every hole (the greedy stabbing of intervals),
    upright or level, whichever are fewer.
    """
    if not polygon.interiors:
        return [polygon]
    holes = shapely.bounds(np.array([shapely.Polygon(ring) for ring in polygon.interiors]))
    upright, level = _stabs(holes[:, 0], holes[:, 2]), _stabs(holes[:, 1], holes[:, 3])
    x0, y0, x1, y1 = shapely.bounds(polygon).tolist()
    if len(upright) <= len(level):
        slabs = [shapely.box(a, y0, b, y1) for a, b in pairwise([x0, *upright, x1])]
    else:
        slabs = [shapely.box(x0, a, x1, b) for a, b in pairwise([y0, *level, y1])]
    parts = shapely.get_parts(shapely.intersection(polygon, np.array(slabs)))
    found = [p for p in parts.tolist() if p.geom_type == "Polygon" and p.area > 0]
    return sorted(found, key=lambda p: -float(p.area))


def _stabs(start: NDArray[np.float64], end: NDArray[np.float64]) -> list[float]:
    """The fewest places, ascending, of which one lies within each open interval."""
    found: list[float] = []
    low, high = -np.inf, -np.inf
    for n in np.argsort(end, kind="stable"):
        if start[n] < high:
            low = max(low, float(start[n]))
            continue
        if high > low:
            found.append(_between(low, high))
        low, high = float(start[n]), float(end[n])
    return [*found, _between(low, high)]


def _between(low: float, high: float) -> float:
    """On a pixel's edge where there is one: corners of masks are there, and nothing is rounded."""
    middle = (low + high) / 2
    return float(round(middle)) if low < round(middle) < high else middle
