"""The box and the ellipse that a polygon is, or is nearest to."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from groundlook.core.geometry import Box, Ellipse

UPRIGHT = 1e-6
"""Pixels by which a corner may be off for a turned shape to count as upright."""

_ON_OUTLINE = 1e-3
"""Share of its radius by which a point may be off an ellipse for the polygon to count as one drawn of points."""


_LINE = 1e-14
"""Ratio of squared radii under which a shape is a line to float64."""

_MANY = 1000
"""Corners of a hull from which on the search for its box is made on fewer."""


def fit_box(area: Any) -> Box | None:
    """The smallest turned rectangle around a geometry, its rotation in [0, 90) degrees clockwise on screen, about the
    corner that was top left, as Label Studio saves it; 0 exactly where it is upright within 1e-6 px. None where the
    geometry has no area.

    One side of it lies along a side of the convex hull (Freeman & Shapira 1975). Among rectangles of the same area
    the one along the hull's longest side wins: tiny sides have no direction to speak of.
    """
    hull = shapely.convex_hull(area)
    if hull.geom_type != "Polygon" or hull.area <= 0:
        return None
    origin = np.array(shapely.bounds(hull)[:2])
    points = shapely.get_coordinates(hull)[:-1] - origin
    angle = _narrowest(points)
    low, high = _extent(points, np.array([angle]))[0]
    if _is_upright(angle, float((high - low).max())):
        low, high, angle = points.min(axis=0), points.max(axis=0), 0.0
    x, y = origin + low @ _axes(angle)
    return Box(float(x), float(y), float(high[0] - low[0]), float(high[1] - low[1]), math.degrees(angle))


def fit_ellipse(area: Any) -> Ellipse | None:
    """The ellipse that a geometry's corners lie on; where they lie on none, the one of the same area whose axes are the
    geometry's (its second moments). Rotation in [0, 90) degrees clockwise on screen; 0 exactly where it is upright
    within 1e-6 px. None where the geometry has no area."""
    if area.area <= 0:
        return None
    centre, spread = _moments(area)
    least, most = np.linalg.eigvalsh(spread)
    if not least > most * _LINE:
        return None
    # Seen from where the geometry is a disk of radius 1, a conic can be solved for at full precision
    root = np.linalg.cholesky(spread) * 2
    corners = shapely.get_coordinates(area) - centre
    exact = _conic(np.linalg.solve(root, corners.T).T)
    if exact is None:
        scale = math.sqrt(area.area / (np.pi * np.linalg.det(root)))
        return _ellipse(centre, root @ root.T * scale**2)
    offset, shape = exact
    return _ellipse(centre + root @ offset, root @ shape @ root.T)


def _narrowest(points: NDArray[np.float64]) -> float:
    """The direction, in [0, π/2), in which the rectangle around a convex ring is smallest."""
    if len(points) > _MANY:  # an outline of thousands of corners is a curve: keep it within a millionth of its size
        ring = shapely.simplify(shapely.LinearRing(points), float(np.ptp(points, axis=0).max()) * 1e-6)
        points = shapely.get_coordinates(ring)[:-1]
    sides = np.roll(points, -1, axis=0) - points
    angles = np.arctan2(sides[:, 1], sides[:, 0])
    extents = _extent(points, angles)
    sizes = (extents[:, 1] - extents[:, 0]).prod(axis=1)
    tied = sizes <= sizes.min() * (1 + 1e-9)
    return float(angles[np.argmax(np.where(tied, np.hypot(*sides.T), 0.0))] % (np.pi / 2))


def _axes(angle: float) -> NDArray[np.float64]:
    """Rows: the unit vector along `angle`, and the one a quarter turn clockwise on screen from it."""
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, s], [-s, c]])


def _extent(points: NDArray[np.float64], angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 2, 2): for each angle the least and the greatest coordinates of points along its axes."""
    c, s = np.cos(angles), np.sin(angles)
    along = points @ np.array([[c, -s], [s, c]]).transpose(2, 0, 1)  # (N, points, 2)
    return np.stack([along.min(axis=1), along.max(axis=1)], axis=1)


def _is_upright(angle: float, reach: float) -> bool:
    off = angle % (np.pi / 2)
    return math.sin(min(off, np.pi / 2 - off)) * reach <= UPRIGHT


def _moments(area: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centroid (2,) and covariance (2, 2) of an area, exact: by Green's theorem over the edges of all rings."""
    rings, part = shapely.get_rings(shapely.get_parts(area), return_index=True)
    points, ring = shapely.get_coordinates(rings, return_index=True)
    outer = np.diff(part, prepend=-1) > 0
    centre = np.array(shapely.get_coordinates(shapely.centroid(area))[0])
    same = ring[1:] == ring[:-1]
    (x0, y0), (x1, y1) = (points[:-1][same] - centre).T, (points[1:][same] - centre).T
    cross = x0 * y1 - x1 * y0
    cross *= np.where(outer == shapely.is_ccw(rings), 1, -1)[ring[:-1][same]]  # holes count against
    xx = (cross * (x0 * x0 + x0 * x1 + x1 * x1)).sum() / 12
    yy = (cross * (y0 * y0 + y0 * y1 + y1 * y1)).sum() / 12
    xy = (cross * (2 * x0 * y0 + x0 * y1 + x1 * y0 + 2 * x1 * y1)).sum() / 24
    return centre, np.array([[xx, xy], [xy, yy]]) / (cross.sum() / 2)


def _conic(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Centre (2,) and matrix (2, 2), M = A⁻¹ of (p − c)ᵀ A (p − c) = 1, of the ellipse through all points, near the
    unit circle; None where there is none."""
    if len(points) < 7:  # five points lie on some conic always
        return None
    x, y = points.T
    terms = np.stack([x * x, x * y, y * y, x, y], axis=1)
    (a, b, c, d, e), _, rank, _ = np.linalg.lstsq(terms, np.ones(len(points)), rcond=None)
    quadratic = np.array([[a, b / 2], [b / 2, c]])
    if rank < 5 or np.linalg.eigvalsh(quadratic)[0] <= 0:
        return None
    centre = np.linalg.solve(quadratic, [-d / 2, -e / 2])
    level = 1 + centre @ quadratic @ centre
    off = np.einsum("ni,ij,nj->n", points - centre, quadratic / level, points - centre)
    if np.abs(np.sqrt(off) - 1).max() > _ON_OUTLINE:
        return None
    return centre, np.linalg.inv(quadratic / level)


def _ellipse(centre: NDArray[np.float64], shape: NDArray[np.float64]) -> Ellipse:
    """Of a matrix whose eigenvectors are the axes and whose eigenvalues the squares of the radii."""
    values, vectors = np.linalg.eigh(shape)
    radii = np.sqrt(values)
    angle = math.atan2(vectors[1, 1], vectors[0, 1])  # of the longer axis, which eigh puts last
    rx, ry = float(radii[1]), float(radii[0])
    # A turn by t moves the outline by (rx − ry) · sin t at most
    if _is_upright(angle, rx - ry):
        wide = abs(math.cos(angle)) > 0.5 or rx - ry <= UPRIGHT
        rx, ry, angle = (rx, ry, 0.0) if wide else (ry, rx, 0.0)
    elif angle % np.pi >= np.pi / 2:
        rx, ry = ry, rx
    return Ellipse(float(centre[0]), float(centre[1]), rx, ry, math.degrees(angle % (np.pi / 2)))
