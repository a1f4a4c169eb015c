"""Masks → polygons along the edges of their pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput
from groundlook.core.mask import Mask


def outlines(mask: Mask) -> Any:
    """The exact area of a mask as a shapely Polygon, or MultiPolygon of several parts, in tile pixels, x first.

    One part per 4-connected component, with its holes; corners only where an outline turns; outer rings
    counter-clockwise in (x, y), holes the other way; always valid, also where pixels touch by a corner. An empty
    mask gives an empty Polygon. Works on the runs alone: O(runs + corners) time and memory. Releases the GIL.
    Raises InvalidInput where runs lie outside the tile or are not in order.
    """
    runs = _checked(mask)
    if len(runs) == 0:
        return shapely.Polygon()
    from groundlook_adapters.vectors.geometry import trace_kernels as kernels

    x0, x1, rows = kernels.row_runs(runs, mask.width, mask.height)
    found = kernels.corners(x0, x1, rows, kernels.components(x0, x1, rows))
    points, ring, polygon, count = kernels.rings(*found, len(x0))
    order = np.argsort(polygon, kind="stable")
    parts = shapely.polygons(shapely.linearrings(points, indices=ring)[order], indices=polygon[order])
    return parts[0] if count == 1 else shapely.multipolygons(parts)


def _checked(mask: Mask) -> NDArray[np.int64]:
    runs = np.ascontiguousarray(mask.runs, dtype=np.int64).reshape(-1, 2)
    flat = runs.reshape(-1)
    if len(flat) and (flat[0] < 0 or flat[-1] > mask.width * mask.height or not (flat[1:] > flat[:-1]).all()):
        raise InvalidInput(
            f"a mask of {mask.width} × {mask.height} px has runs that are out of order or outside it; "
            "make masks with Mask.of or from checked runs"
        )
    return runs
