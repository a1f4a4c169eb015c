"""A georeferenced picture of a place that does not exist, with the truth of what stands in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.transform import Affine

from groundlook.core.geo import GeoRef
from groundlook.core.geometry import Box, envelope
from groundlook.core.types import Region
from groundlook.demo.scenery.ground import paint_ground
from groundlook.demo.scenery.objects import paint_objects
from groundlook.demo.scenery.plan import Planner
from groundlook.demo.scenery.things import Plan, Slab

LABELS = ("Building", "Tree", "Vehicle")
GSD = 0.2
TILE = 256
_CRS = "EPSG:32631"
_HIDDEN = 0.6  # more of it under crowns than this, and nobody would draw it


@dataclass(frozen=True, slots=True)
class SceneTruth:
    """Where the picture is, and what is in it. `regions` in scene pixels: buildings as turned boxes, trees and
    vehicles as upright ones; what is cut by the scene's edge reaches beyond it."""

    path: Path
    georef: GeoRef
    size: tuple[int, int]
    regions: tuple[Region, ...]


def make_scene(path: Path, size: int = 2560, seed: int = 7) -> SceneTruth:
    """Write a `size` × `size` px RGB uint8 cloud-optimised GeoTIFF at 0.2 m; the same seed makes the same picture."""
    rng = np.random.default_rng(seed)
    plan = Planner(size, GSD, rng).fill()
    picture, crowns = _paint(plan, rng)
    georef = _georef()
    path.parent.mkdir(parents=True, exist_ok=True)
    # The driver takes its options under names that rasterio does not list; JPEG as aerial surveys deliver it.
    with rasterio.open(
        path,
        "w",
        driver="COG",
        width=size,
        height=size,
        count=3,
        dtype="uint8",
        crs=georef.crs,
        transform=Affine(*georef.transform),
        compress="JPEG",
        quality=92,
        blocksize=TILE,
    ) as out:
        out.write(picture.transpose(2, 0, 1))
    return SceneTruth(path, georef, (size, size), tuple(_truth(plan, crowns)))


def _georef() -> GeoRef:
    """North up, its corner on a multiple of a tile's side, so that tiles and held-out blocks share their edges."""
    side = TILE * GSD
    return GeoRef(_CRS, (GSD, 0.0, 8750 * side, 0.0, -GSD, 105900 * side))


def _paint(plan: Plan, rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    image = paint_ground(plan, rng)
    crowns = paint_objects(image, plan, rng)
    image = cv2.GaussianBlur(image, (0, 0), 0.55)  # the lens
    image += rng.normal(0, 3.0, image.shape).astype(np.float32)  # the sensor
    return np.clip(image, 1, 255).astype(np.uint8), crowns


def _truth(plan: Plan, crowns: NDArray[np.bool_]) -> list[Region]:
    buildings = [Region(_turned(b.outline), "Building") for b in plan.buildings if _shown(crowns, b.outline)]
    trees = [Region(Box(t.x - t.radius, t.y - t.radius, 2 * t.radius, 2 * t.radius), "Tree") for t in plan.trees]
    vehicles = [Region(_upright(v.slab), "Vehicle") for v in plan.vehicles if _shown(crowns, v.slab)]
    return [*buildings, *trees, *vehicles]


def _shown(crowns: NDArray[np.bool_], slab: Slab) -> bool:
    """Whether enough of it can be seen between the crowns."""
    size = crowns.shape[0]
    corners = slab.corners()
    low = np.clip(np.floor(corners.min(axis=0)).astype(int), 0, size)
    high = np.clip(np.ceil(corners.max(axis=0)).astype(int), 0, size)
    if (high <= low).any():
        return False
    mask = np.zeros((high[1] - low[1], high[0] - low[0]), np.uint8)
    cv2.fillConvexPoly(mask, np.round(corners - low).astype(np.int32), 1)
    hidden = crowns[low[1] : high[1], low[0] : high[0]][mask > 0]
    return bool(hidden.size) and float(hidden.mean()) <= _HIDDEN


def _turned(slab: Slab) -> Box:
    """As people draw it: turned by less than 45° either way."""
    quarter = round(slab.angle / 90)
    angle = slab.angle - 90 * quarter
    width, height = (slab.width, slab.height) if quarter % 2 == 0 else (slab.height, slab.width)
    x, y = Slab(slab.x, slab.y, width, height, angle).corners()[0]
    return Box(float(x), float(y), float(width), float(height), float(angle))


def _upright(slab: Slab) -> Box:
    x0, y0, x1, y1 = envelope(_turned(slab))
    return Box(x0, y0, x1 - x0, y1 - y0)
