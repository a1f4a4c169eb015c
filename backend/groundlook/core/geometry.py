"""Shapes in tile pixels: boxes (also turned ones), polygons, ellipses, points, whole tiles; overlap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groundlook.core.geo import Points
from groundlook.core.mask import Mask


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels. (x, y) is the corner that was its top left before it was turned by `rotation` degrees
    clockwise about that same corner, as Label Studio saves it, but in pixel space."""

    x: float
    y: float
    width: float
    height: float
    rotation: float = 0.0

    def corners(self) -> Points:
        """(4, 2): top left, top right, bottom right, bottom left before turning; clockwise on screen."""
        t = np.radians(self.rotation)
        across = np.array([np.cos(t), np.sin(t)]) * self.width
        down = np.array([-np.sin(t), np.cos(t)]) * self.height
        first = np.array([self.x, self.y])
        return np.stack([first, first + across, first + across + down, first + down])


@dataclass(frozen=True, slots=True)
class Polygon:
    """A simple ring in pixels, not closed: ((x, y), …), three points or more."""

    points: tuple[tuple[float, float], ...]

    def corners(self) -> Points:
        """(N, 2) in the order given."""
        return np.array(self.points, dtype=np.float64).reshape(-1, 2)


@dataclass(frozen=True, slots=True)
class Ellipse:
    """Centre (x, y) and radii in pixels, turned by `rotation` degrees clockwise about the centre, in pixel space."""

    x: float
    y: float
    rx: float
    ry: float
    rotation: float = 0.0

    def corners(self) -> Points:
        """(72, 2): points on the outline, clockwise on screen; the ends of both axes are among them."""
        along = np.linspace(0, 2 * np.pi, 72, endpoint=False)
        u, v = self.rx * np.cos(along), self.ry * np.sin(along)
        t = np.radians(self.rotation)
        return np.stack([self.x + u * np.cos(t) - v * np.sin(t), self.y + u * np.sin(t) + v * np.cos(t)], axis=1)


@dataclass(frozen=True, slots=True)
class Point:
    """A keypoint in pixels."""

    x: float
    y: float

    def corners(self) -> Points:
        """(1, 2)."""
        return np.array([[self.x, self.y]], dtype=np.float64)


@dataclass(frozen=True, slots=True)
class WholeTile:
    """What is said of a tile as a whole: a class, not a place in it."""

    def corners(self) -> Points:
        """(0, 2)."""
        return np.zeros((0, 2), dtype=np.float64)


Shape = Box | Polygon | Ellipse | Point | Mask | WholeTile


def has_area(shape: Shape) -> bool:
    """Whether a shape covers ground: points and classes of whole tiles don't."""
    return not isinstance(shape, Point | WholeTile)


def envelope(shape: Shape) -> tuple[float, float, float, float]:
    """The upright box around a shape: (x0, y0, x1, y1) in pixels. A WholeTile and an empty Mask have none: zeros."""
    if isinstance(shape, Box) and shape.rotation == 0:  # most of what detectors say; turning takes longer
        x, y = shape.x + shape.width, shape.y + shape.height
        return float(min(shape.x, x)), float(min(shape.y, y)), float(max(shape.x, x)), float(max(shape.y, y))
    corners = shape.corners()
    if len(corners) == 0:
        return 0.0, 0.0, 0.0, 0.0
    (x0, y0), (x1, y1) = corners.min(axis=0), corners.max(axis=0)
    return float(x0), float(y0), float(x1), float(y1)


def box_iou(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float64]:
    """Intersection over union of upright boxes: (N, 4) and (M, 4) as x0 y0 x1 y1 → (N, M). Empty boxes give 0."""
    a, b = np.asarray(a, dtype=np.float64).reshape(-1, 4), np.asarray(b, dtype=np.float64).reshape(-1, 4)
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    overlap = np.clip(high - low, 0, None).prod(axis=2)
    area_a = np.clip(a[:, 2:] - a[:, :2], 0, None).prod(axis=1)
    area_b = np.clip(b[:, 2:] - b[:, :2], 0, None).prod(axis=1)
    union = area_a[:, None] + area_b[None, :] - overlap
    iou: NDArray[np.float64] = np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)
    return iou
