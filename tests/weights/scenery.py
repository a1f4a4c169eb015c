"""Pictures with a known mask for every object, to train and test a small SAM on."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from groundlook.demo.scene import GSD, _paint
from groundlook.demo.scenery.plan import Planner
from groundlook.demo.scenery.things import Slab

_SUB = 4  # cv2 takes corners in quarters of a pixel


@dataclass(frozen=True, slots=True)
class Labelled:
    """`pixels`: uint8 (H, W, 3) RGB. `objects`: int32 (H, W), 0 where nothing stands, else the object's number."""

    pixels: NDArray[np.uint8]
    objects: NDArray[np.int32]

    def masks(self, least: int) -> list[NDArray[np.bool_]]:
        """Of every object that shows `least` pixels or more, in the order of their numbers."""
        counts = np.bincount(self.objects.reshape(-1))
        return [self.objects == i for i in np.flatnonzero(counts >= least) if i]


def village(size: int, seed: int) -> Labelled:
    """A painted village at 0.2 m: buildings (an L is one), vehicles, crowns, and what is flat but has an outline."""
    rng = np.random.default_rng(seed)
    plan = Planner(size, GSD, rng).fill()
    objects = np.zeros((size, size), np.int32)
    number = 0
    flat = [(p.slab,) for p in plan.patches if p.kind in ("ploughed", "court", "pool", "tarpaulin")]
    for slabs in [*flat, *(b.parts for b in plan.buildings), *((v.slab,) for v in plan.vehicles)]:
        number += 1
        for slab in slabs:
            _fill(objects, slab, number)
    for tree in plan.trees:
        number += 1
        centre = (round((tree.x - 0.5) * _SUB), round((tree.y - 0.5) * _SUB))
        cv2.circle(objects, centre, round(tree.radius * _SUB), number, -1, cv2.LINE_8, 2)
    pixels, _ = _paint(plan, rng)
    return Labelled(pixels, objects)


def _fill(objects: NDArray[np.int32], slab: Slab, number: int) -> None:
    corners = np.round((slab.corners() - 0.5) * _SUB).astype(np.int32)
    cv2.fillConvexPoly(objects, corners, number, cv2.LINE_8, 2)


def blocks(size: int, rng: np.random.Generator) -> Labelled:
    """Plain roofs on noisy ground: turned rectangles, Ls and courtyards of one colour with a shadow."""
    base = rng.uniform(50, 180, 3)
    coarse = rng.normal(0, 1, (8, 8, 3)).astype(np.float32)
    pixels = base + 12 * cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    objects, shadow = np.zeros((size, size), np.int32), rng.uniform(-5, 5, 2)
    for number in range(1, int(rng.integers(4, 12)) + 1):
        side = rng.uniform(0.06, 0.28, 2) * size
        slab = Slab(*rng.uniform(0, size, 2), *side, float(rng.uniform(0, 90)))
        if objects[_box(slab, size)].any():
            continue
        shape = np.zeros((size, size), np.int32)
        _fill(shape, slab, 1)
        cut = rng.random()
        if cut < 0.25:  # a corner is missing
            _fill(shape, slab.moved(side[0] / 4, side[1] / 4, side[0] / 2 + 1, side[1] / 2 + 1), 0)
        elif cut < 0.4:  # a courtyard
            _fill(shape, slab.moved(0, 0, side[0] / 2.5, side[1] / 2.5), 0)
        moved = np.roll(shape, np.round(shadow[::-1]).astype(int), (0, 1))
        pixels[(moved > 0) & (objects == 0)] *= 0.55
        colour = rng.uniform(20, 240, 3)
        if np.abs(colour - base).max() < 35:
            colour = (colour + 110) % 240
        pixels[shape > 0] = colour
        objects[shape > 0] = number
    noisy = cv2.GaussianBlur(pixels.astype(np.float32), (0, 0), 0.6) + rng.normal(0, rng.uniform(1, 8), pixels.shape)
    return Labelled(np.clip(noisy, 0, 255).astype(np.uint8), objects)


def _box(slab: Slab, size: int) -> tuple[slice, slice]:
    corners = np.clip(slab.corners(4), 0, size).astype(int)
    (x0, y0), (x1, y1) = corners.min(0), corners.max(0)
    return slice(y0, y1 + 1), slice(x0, x1 + 1)


def crop(scene: Labelled, side: int, out: int, rng: np.random.Generator) -> Labelled:
    """A random window of `side` px, turned and mirrored at random, scaled to `out` px."""
    height, width = scene.objects.shape
    x, y = int(rng.integers(0, width - side + 1)), int(rng.integers(0, height - side + 1))
    turns, mirror = int(rng.integers(4)), bool(rng.random() < 0.5)

    def taken(array: NDArray[np.generic], how: int) -> NDArray[np.generic]:
        part = np.rot90(array[y : y + side, x : x + side], turns)
        part = np.ascontiguousarray(part[:, ::-1] if mirror else part)
        if array.ndim == 2:
            part = part.astype(np.float32)  # cv2 scales no int32; numbers stay small enough
        return cv2.resize(part, (out, out), interpolation=how)  # type: ignore[no-any-return]

    smooth = cv2.INTER_AREA if side > out else cv2.INTER_LINEAR
    return Labelled(
        taken(scene.pixels, smooth).astype(np.uint8), taken(scene.objects, cv2.INTER_NEAREST).astype(np.int32)
    )
