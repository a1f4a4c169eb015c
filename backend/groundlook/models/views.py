"""One model's looks at a tile turned, mirrored and scaled, each mapped back to the tile.

Where the looks differ the model is not sure, whatever it says of itself: what scoring makes of them is opt-in, since
every look costs a prediction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput
from groundlook.core.geo import Points, Tile
from groundlook.core.geometry import Box, Ellipse, Point, Polygon, Shape, WholeTile
from groundlook.core.mask import Mask
from groundlook.core.ports import Model
from groundlook.core.types import Prediction


@dataclass(frozen=True, slots=True)
class View:
    """How a tile is looked at: its columns reversed where `mirrored`, then turned by `turns` quarters against the
    clock, then scaled by `scale`."""

    mirrored: bool = False
    turns: int = 0
    scale: float = 1.0

    def picture(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W, B) → what is looked at."""
        seen = np.rot90(pixels[:, ::-1] if self.mirrored else pixels, self.turns)
        if self.scale == 1.0:
            return np.ascontiguousarray(seen)
        size = self._size((pixels.shape[1], pixels.shape[0]))
        how = cv2.INTER_AREA if self.scale < 1 else cv2.INTER_LINEAR
        scaled = cv2.resize(np.ascontiguousarray(seen), size, interpolation=how)
        several: NDArray[np.uint8] = scaled.reshape(*scaled.shape[:2], -1)
        return several

    def back(self, shape: Shape, size: tuple[int, int]) -> Shape:
        """A shape found in the picture, in the pixels of the tile of `size` (width, height)."""
        if isinstance(shape, WholeTile):
            return shape
        if isinstance(shape, Mask):
            return self._mask_back(shape, size)
        points = self.points_back(shape.corners() if not isinstance(shape, Ellipse) else _axes(shape), size)
        if isinstance(shape, Point):
            return Point(float(points[0, 0]), float(points[0, 1]))
        if isinstance(shape, Polygon):
            return Polygon(tuple((float(x), float(y)) for x, y in points))
        if isinstance(shape, Ellipse):
            middle, right, below = points
            turned = _degrees(right - middle)
            x, y = middle.tolist()
            return Ellipse(x, y, _length(right - middle), _length(below - middle), turned)
        return self._box_back(points, upright=shape.rotation == 0)

    def points_back(self, points: Points, size: tuple[int, int]) -> Points:
        """(N, 2) of the picture → of the tile."""
        wide, high = self._turned(size)
        seen = self._size(size)
        p = np.asarray(points, np.float64) * (wide / seen[0], high / seen[1])
        for _ in range(self.turns % 4):  # a quarter with the clock: the picture's left side is the tile's top
            p = np.stack([high - p[:, 1], p[:, 0]], axis=1)
            wide, high = high, wide
        return np.stack([size[0] - p[:, 0], p[:, 1]], axis=1) if self.mirrored else p

    def cells_back(self, table: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
        """A table of the cells of a regular grid, row by row (M, C), in the order of the tile's cells. The picture's
        grid must have as many cells as the tile's."""
        wide, high = self._turned(size)
        side = next(s for s in range(1, len(table) + 1) if min(s, wide) * min(s, high) == len(table))
        grid = np.rot90(table.reshape(min(side, high), min(side, wide), -1), -self.turns)
        return np.ascontiguousarray(grid[:, ::-1] if self.mirrored else grid).reshape(table.shape)

    def _turned(self, size: tuple[int, int]) -> tuple[int, int]:
        return (size[1], size[0]) if self.turns % 2 else size

    def _size(self, size: tuple[int, int]) -> tuple[int, int]:
        wide, high = self._turned(size)
        return max(1, round(wide * self.scale)), max(1, round(high * self.scale))

    def _mask_back(self, mask: Mask, size: tuple[int, int]) -> Mask:
        seen = mask.pixels().astype(np.uint8)
        if self.scale != 1.0:
            seen = cv2.resize(seen, self._turned(size), interpolation=cv2.INTER_NEAREST)
        pixels = np.rot90(seen, -self.turns)
        return Mask.of(pixels[:, ::-1] if self.mirrored else pixels)

    def _box_back(self, corners: Points, upright: bool) -> Box:
        if upright:
            (x0, y0), (x1, y1) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
            return Box(x0, y0, x1 - x0, y1 - y0)
        if self.mirrored:  # a mirrored box runs against the clock: begin at its other end
            corners = corners[[1, 0, 3, 2]]
        first, across, _, down = corners
        return Box(
            float(first[0]), float(first[1]), _length(across - first), _length(down - first), _degrees(across - first)
        )


PLAIN = View()
VIEWS = (PLAIN, View(mirrored=True), View(turns=1), View(scale=0.8))
"""As it is, mirrored, turned, and smaller."""


def looks(model: Model, tiles: Sequence[Tile], views: Sequence[View] = VIEWS) -> list[tuple[Prediction, ...]]:
    """Of each tile, one prediction per view, in order, in the pixels of the tile. `spread` is kept of the plain view
    only: its sides have other names in the others. Raises InvalidInput, and what the model raises."""
    for view in views:
        if not (np.isfinite(view.scale) and view.scale > 0):
            raise InvalidInput(f"a view scaled by {view.scale}: give a number above 0")
    seen = [_seen(model, tiles, view) for view in views]
    return list(zip(*seen, strict=True)) if seen else [() for _ in tiles]


def _seen(model: Model, tiles: Sequence[Tile], view: View) -> list[Prediction]:
    if view == PLAIN:
        return model.predict(tiles)
    # Without the tile's reference: nothing that is kept for the tile as it is may answer.
    found = model.predict([Tile(view.picture(tile.pixels)) for tile in tiles])
    return [_back(view, one, tile.size) for one, tile in zip(found, tiles, strict=True)]


def _back(view: View, prediction: Prediction, size: tuple[int, int]) -> Prediction:
    regions = tuple(replace(r, shape=view.back(r.shape, size)) for r in prediction.regions)
    proba = prediction.proba
    if prediction.kind == "segmentation" and len(proba):
        proba = view.cells_back(proba, size)
    return replace(prediction, regions=regions, proba=proba, spread=None, size=size if any(prediction.size) else (0, 0))


def _axes(shape: Ellipse) -> Points:
    """Its centre and the ends of its axes, (3, 2)."""
    t = np.radians(shape.rotation)
    right, below = np.array([np.cos(t), np.sin(t)]) * shape.rx, np.array([-np.sin(t), np.cos(t)]) * shape.ry
    return np.array([shape.x, shape.y]) + np.stack([np.zeros(2), right, below])


def _length(line: NDArray[np.float64]) -> float:
    return float(np.hypot(*line))


def _degrees(line: NDArray[np.float64]) -> float:
    return float(np.degrees(np.arctan2(line[1], line[0])) % 360)
