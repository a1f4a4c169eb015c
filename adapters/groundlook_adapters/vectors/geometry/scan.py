"""Polygons → masks: the pixels whose centres are inside."""

from __future__ import annotations

from typing import Any

import shapely

from groundlook.core.mask import Mask
from groundlook.core.raster import enclosed


def pixels_inside(area: Any, size: tuple[int, int]) -> Mask:
    """The pixels of a tile of `size` (width, height) whose centres lie in `area`, a valid Polygon or MultiPolygon in
    tile pixels. The inverse of `trace.outlines`. A centre on an edge belongs to the side below it and to its right."""
    points, ring = shapely.get_coordinates(shapely.get_rings(shapely.get_parts(area)), return_index=True)
    same = ring[1:] == ring[:-1]
    return enclosed(points[:-1][same], points[1:][same], *size)
