"""Small tools of the painter: noise, turned frames, blending."""

from __future__ import annotations

import cv2
import numpy as np

from groundlook.demo.scenery.things import Array, Slab

Area = tuple[slice, slice]
"""(rows, columns) of the picture."""


def noise(rng: np.random.Generator, size: int, cell: float) -> Array:
    """Float32 (size, size): smooth noise of about unit deviation whose blobs are `cell` px wide."""
    coarse = max(2, int(np.ceil(size / cell)) + 3)
    small = rng.normal(0, 1, (coarse, coarse)).astype(np.float32)
    scaled = max(size, int(coarse * cell))
    return np.asarray(cv2.resize(small, (scaled, scaled), interpolation=cv2.INTER_CUBIC)[:size, :size], np.float32)


def clip_area(size: int, x0: float, y0: float, x1: float, y1: float) -> Area | None:
    """The part of the box that is on the picture, None if there is none."""
    left, top = max(int(np.floor(x0)), 0), max(int(np.floor(y0)), 0)
    right, bottom = min(int(np.ceil(x1)), size), min(int(np.ceil(y1)), size)
    return (slice(top, bottom), slice(left, right)) if right > left and bottom > top else None


def local(size: int, slab: Slab) -> tuple[Area, Array, Array, Array] | None:
    """(area, u, v, alpha): coordinates from the slab's middle along its own axes, and how much of each pixel it
    covers. None if it is off the picture."""
    corners = slab.corners(2)
    (x0, y0), (x1, y1) = corners.min(axis=0), corners.max(axis=0)
    area = clip_area(size, float(x0), float(y0), float(x1), float(y1))
    if area is None:
        return None
    ys, xs = np.mgrid[area].astype(np.float32)
    t = np.radians(slab.angle)
    dx, dy = xs + 0.5 - slab.x, ys + 0.5 - slab.y
    u = (dx * np.cos(t) + dy * np.sin(t)).astype(np.float32)
    v = (dy * np.cos(t) - dx * np.sin(t)).astype(np.float32)
    inside = np.clip(slab.width / 2 - np.abs(u) + 0.5, 0, 1) * np.clip(slab.height / 2 - np.abs(v) + 0.5, 0, 1)
    return area, u, v, inside.astype(np.float32)


def stamp(image: Array, area: Area, colour: Array, alpha: Array) -> None:
    """Blend `colour` (h, w, 3) into the picture by `alpha` (h, w), in place."""
    view = image[area]
    view += (colour - view) * alpha[..., None]
