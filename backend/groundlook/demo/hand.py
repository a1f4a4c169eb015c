"""What a person draws around things they see: the truth with an unsteady hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from groundlook.core.errors import InvalidInput
from groundlook.core.geometry import Box, Polygon, Shape
from groundlook.core.types import Region

Encode = Callable[[Region], Mapping[str, Any]]
"""A region in tile pixels → one entry of an annotation's `result`, in Label Studio's percent."""

_ID_LETTERS = np.array(list("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"))


def answer(
    truth: Sequence[Region],
    rng: np.random.Generator,
    jitter_px: float,
    encode: Encode,
    size: tuple[int, int],
) -> list[dict[str, Any]]:
    """The `result` of a person who saw all of `truth` on a tile of `size` (width, height) pixels.

    Every edge and corner is off by at most `jitter_px`. Boxes stay boxes (turned ones turned), polygons polygons;
    upright ones stay on the tile, as the editor keeps them. Every region gets an id of its own.
    """
    return [dict(encode(drawn(region, rng, jitter_px, size))) for region in truth]


def drawn(region: Region, rng: np.random.Generator, jitter_px: float, size: tuple[int, int]) -> Region:
    """One region as drawn by hand, with a fresh 10-letter `uid`."""
    uid = "".join(rng.choice(_ID_LETTERS, size=10))
    return replace(region, shape=_unsteady(region.shape, rng, jitter_px, size), score=None, uid=uid, origin="manual")


def _unsteady(shape: Shape, rng: np.random.Generator, jitter: float, size: tuple[int, int]) -> Shape:
    if isinstance(shape, Polygon):
        points = shape.corners() + rng.uniform(-jitter, jitter, (len(shape.points), 2)) / np.sqrt(2)
        points = np.clip(points, 0, size)
        return Polygon(tuple((float(x), float(y)) for x, y in points))
    if not isinstance(shape, Box):
        raise InvalidInput(f"the demo's people draw boxes and polygons, no {type(shape).__name__}")
    if shape.rotation:
        return _unsteady_turned(shape, rng, jitter)
    low = np.array([shape.x, shape.y]) + rng.uniform(-jitter, jitter, 2)
    high = np.array([shape.x + shape.width, shape.y + shape.height]) + rng.uniform(-jitter, jitter, 2)
    low, high = np.clip(low, 0, size), np.clip(high, 0, size)
    width, height = np.maximum(high - low, 1.0)
    return Box(float(low[0]), float(low[1]), float(width), float(height))


def _unsteady_turned(box: Box, rng: np.random.Generator, jitter: float) -> Box:
    """Anchor, sides and angle share the jitter, so that no corner moves by more than it."""
    part = jitter / 4
    dx, dy, dw, dh = rng.uniform(-part, part, 4)
    reach = float(np.hypot(box.width, box.height))
    turn = float(np.degrees(rng.uniform(-part, part) / max(reach, 1.0)))
    return Box(
        float(box.x + dx),
        float(box.y + dy),
        float(max(box.width + dw, 1.0)),
        float(max(box.height + dh, 1.0)),
        box.rotation + turn,
    )
