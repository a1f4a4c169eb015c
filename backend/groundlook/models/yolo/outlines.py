"""The outline of a region, for learning: in one piece, and inside its picture."""

from __future__ import annotations

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray

from groundlook.core.geo import WindowPx
from groundlook.core.geometry import Shape, envelope, has_area
from groundlook.core.mask import Mask

Outline = NDArray[np.float64]
"""(N, 2): the corners of a polygon, x then y, in pixels."""
_SLIVER = 2.0
_VISIBLE = 0.25
_FINE = 0.5


def outline(shape: Shape, upright: bool) -> Outline | None:
    """Of the upright box around `shape`, or of itself: of a mask the outer line of its largest piece, half a pixel
    exact. None of what has no area."""
    if upright:
        x0, y0, x1, y1 = envelope(shape)
        return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
    if not has_area(shape):
        return None
    return _of_mask(shape) if isinstance(shape, Mask) else shape.corners()


def clipped(points: Outline, window: WindowPx) -> Outline | None:
    """The largest piece of a polygon that is inside `window`, in its pixels; None where hardly anything is seen."""
    column, row, width, height = window
    whole = shapely.make_valid(shapely.Polygon(points))
    inside = shapely.intersection(whole, shapely.box(column, row, column + width, row + height))
    pieces = [p for p in shapely.get_parts(inside) if p.geom_type == "Polygon"]
    seen = max(pieces, key=lambda piece: float(piece.area), default=None)
    if seen is None or seen.area < _VISIBLE * whole.area:
        return None
    x0, y0, x1, y1 = seen.bounds
    # A thin strip at the edge that is nearly all of a thin thing is a thing; a strip of a house is not.
    if min(x1 - x0, y1 - y0) < _SLIVER:
        return None
    found: Outline = np.asarray(seen.exterior.coords)[:-1] - (column, row)
    return found


def _of_mask(mask: Mask) -> Outline | None:
    """OpenCV traces the centres of the outermost pixels; their edges are half a pixel further out."""
    if not len(mask.runs):
        return None
    x0, y0, x1, y1 = (int(v) for v in envelope(mask))
    inside = mask.pixels()[y0:y1, x0:x1].astype(np.uint8)
    lines, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    largest = max(lines, key=lambda line: float(cv2.contourArea(line)))[:, 0].astype(np.float64)
    # (a line or a single pixel is no polygon until it has a width)
    traced = shapely.Polygon(largest) if len(largest) > 2 else shapely.MultiPoint(largest).convex_hull
    grown = shapely.buffer(shapely.make_valid(traced), _FINE, join_style="mitre", cap_style="square")
    piece = max(shapely.get_parts(grown), key=lambda part: float(part.area))
    corners = np.asarray(shapely.simplify(piece, _FINE).exterior.coords)[:-1]
    found: Outline = corners + np.array([x0 + 0.5, y0 + 0.5])
    return found
