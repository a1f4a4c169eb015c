"""A Model that knows the truth of a scene, and sees of it what lies in the tile: for merging and streaming."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from groundlook.core.errors import InvalidInput
from groundlook.core.geo import Tile
from groundlook.core.geometry import Box, Polygon, Shape, WholeTile
from groundlook.core.types import ModelCard, ModelVersion, Prediction, Region
from groundlook_adapters.vectors.geometry.scan import pixels_inside
from groundlook_adapters.vectors.geometry.shapes import to_shape

VERSION = ModelVersion("oracle", "0123456789ab")


class Oracle:
    """`truth`: (x0, y0, x1, y1, label) in px of the scene. `how`: what it draws: box, turned, polygon, mask, surface,
    tile. `jitter`: standard deviation in px. `breaks`: the tile, counted from 0, at which it fails."""

    def __init__(
        self, truth: Sequence[Sequence[Any]], how: str = "box", jitter: float = 0.0, breaks: int | None = None
    ) -> None:
        self.version, self.labels = VERSION, tuple(dict.fromkeys(str(t[4]) for t in truth)) or ("house",)
        self._boxes = np.array([t[:4] for t in truth], dtype=np.float64).reshape(-1, 4)
        self._names = [str(t[4]) for t in truth]
        self._how, self._jitter, self._breaks = how, jitter, breaks
        self.seen: list[tuple[int, ...]] = []

    @classmethod
    def load(
        cls, card: ModelCard, weights: Path, labels: Any, mapping: Mapping[str, str] | None, *, confidence: float
    ) -> Oracle:
        """Out of a JSON file: the arguments, and the truth."""
        return cls(**json.loads(weights.read_text()))

    def predict(self, tiles: Sequence[Tile]) -> list[Prediction]:
        return [self._look(tile) for tile in tiles]

    def _look(self, tile: Tile) -> Prediction:
        assert tile.ref is not None
        assert tile.pixels.shape == (tile.ref.window[3], tile.ref.window[2], 3)
        if len(self.seen) == self._breaks:
            raise KeyboardInterrupt
        self.seen.append(tile.ref.window)
        column, row, width, height = tile.ref.window
        if column < 0:
            raise InvalidInput("outside")
        rng = np.random.default_rng((column, row))
        low, high = np.array([column, row]), np.array([column + width, row + height])
        regions = []
        for box, label in zip(self._boxes, self._names, strict=True):
            a, b = np.clip(box[:2], low, high) - low, np.clip(box[2:], low, high) - low
            if (b - a < 4).any():
                continue
            a, b = (np.clip(p + rng.normal(0, self._jitter, 2), 0, high - low) for p in (a, b))
            shape = self._drawn(float(a[0]), float(a[1]), float(b[0]), float(b[1]), (width, height))
            regions.append(Region(shape, label, 0.5 + 0.4 * float(rng.random()), origin="prediction"))
        kind = "segmentation" if self._how == "surface" else "detection"
        return Prediction(self.version, tuple(regions), kind=kind)  # type: ignore[arg-type]

    def _drawn(self, x0: float, y0: float, x1: float, y1: float, size: tuple[int, int]) -> Shape:
        if self._how == "box":
            return Box(x0, y0, x1 - x0, y1 - y0)
        if self._how == "turned":
            return Box(x1, y0, y1 - y0, x1 - x0, 90.0)
        if self._how == "tile":
            return WholeTile()
        area = shapely.box(x0, y0, x1, y1)
        if self._how in ("mask", "surface"):
            return pixels_inside(area, size)
        (polygon,) = to_shape(area, Polygon, size)
        return polygon
