"""Shapes in tile pixels: boxes (also turned ones), polygons, overlap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groundlook.core.geo import Points


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


Shape = Box | Polygon


def envelope(shape: Shape) -> tuple[float, float, float, float]:
    """The upright box around a shape: (x0, y0, x1, y1) in pixels."""
    corners = shape.corners()
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
