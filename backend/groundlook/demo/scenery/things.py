"""What a scene is made of. Lengths are pixels of the scene, angles degrees clockwise on screen, (x, y) centres."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from groundlook.core.geo import Points

Array = NDArray[np.float32]
Colour = tuple[float, float, float]
"""RGB, 0…255."""

Zone = Literal["homes", "works", "field", "meadow", "wood"]
Roof = Literal["gable", "hip", "flat", "metal"]


@dataclass(frozen=True, slots=True)
class Sun:
    """The one sun of a scene. `shadow`: unit vector in which shadows fall; `per_metre`: their length in px for one
    metre of height."""

    shadow: tuple[float, float]
    per_metre: float


@dataclass(frozen=True, slots=True)
class Road:
    """A gently winding road across the scene: x = at(y) if it is `upright`, else y = at(x)."""

    upright: bool
    base: float
    swing: float
    wave: float
    phase: float
    half: float

    def at(self, t: Array | float) -> Array:
        """Where its middle is at `t`."""
        return np.asarray(
            self.base + self.swing * np.sin(2 * np.pi * np.asarray(t) / self.wave + self.phase), np.float32
        )

    def slope(self, t: Array | float) -> Array:
        """Derivative of `at`."""
        k = 2 * np.pi / self.wave
        return np.asarray(self.swing * k * np.cos(k * np.asarray(t) + self.phase), np.float32)

    def spot(self, t: float, side: float) -> tuple[float, float, float]:
        """(x, y, angle along the road) of the point `side` px off its middle at `t`."""
        slope, middle = float(self.slope(t)), float(self.at(t))
        long = float(np.hypot(1.0, slope))
        if self.upright:
            return middle + side / long, t - side * slope / long, float(np.degrees(np.arctan2(1.0, slope)))
        return t - side * slope / long, middle + side / long, float(np.degrees(np.arctan2(slope, 1.0)))


@dataclass(frozen=True, slots=True)
class Slab:
    """A turned rectangle on the ground."""

    x: float
    y: float
    width: float
    height: float
    angle: float

    def corners(self, grow: float = 0.0) -> Points:
        """(4, 2), clockwise on screen, grown by `grow` px on every side."""
        t = np.radians(self.angle)
        u, v = np.array([np.cos(t), np.sin(t)]), np.array([-np.sin(t), np.cos(t)])
        a, b = u * (self.width / 2 + grow), v * (self.height / 2 + grow)
        around = np.array([-a - b, a - b, a + b, b - a])
        corners: Points = around + np.array([self.x, self.y])
        return corners

    def moved(self, along: float, across: float, width: float, height: float) -> Slab:
        """Another one in this one's own axes."""
        t = np.radians(self.angle)
        x = self.x + along * np.cos(t) - across * np.sin(t)
        y = self.y + along * np.sin(t) + across * np.cos(t)
        return Slab(float(x), float(y), width, height, self.angle)


@dataclass(frozen=True, slots=True)
class Building:
    """`outline` holds all `parts` (one, or the two wings of an L). `metres`: height of the eaves."""

    outline: Slab
    parts: tuple[Slab, ...]
    roof: Roof
    colour: Colour
    metres: float


@dataclass(frozen=True, slots=True)
class Tree:
    """A crown of `radius` px."""

    x: float
    y: float
    radius: float
    conifer: bool
    colour: Colour


@dataclass(frozen=True, slots=True)
class Vehicle:
    """A car or a lorry; `slab.width` is its length."""

    slab: Slab
    colour: Colour
    lorry: bool


@dataclass(frozen=True, slots=True)
class Patch:
    """Something flat on the ground that is not an object: a look-alike."""

    slab: Slab
    kind: Literal["parking", "ploughed", "court", "pool", "drive", "tarpaulin"]
    colour: Colour


@dataclass(slots=True)
class Plan:
    """Everything that stands in a scene of `size` × `size` px at `gsd` metres per px."""

    size: int
    gsd: float
    sun: Sun
    roads: list[Road]
    zones: NDArray[np.uint8]
    fields: NDArray[np.int32]
    patches: list[Patch] = field(default_factory=list)
    buildings: list[Building] = field(default_factory=list)
    trees: list[Tree] = field(default_factory=list)
    vehicles: list[Vehicle] = field(default_factory=list)
