"""Maps of a backbone → one vector: what there is in a tile, not where."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput
from groundlook.core.geo import Tile
from groundlook.models.pixels import as_rgb
from groundlook.models.weights.file import digest


def called(kind: str, what: str, weights: Path) -> str:
    """An embedder's name, "onnx-yolox_nano-d39bee73564e", with the start of the hash of its weights. Raises
    InvalidWeights where they can't be read."""
    return f"{kind}-{what}-{digest(weights)[:12]}"


def mean_and_spread(maps: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Mean and standard deviation of every channel of `maps`, each (1, C, h, w): float32 (2 · ΣC,), all the means of a
    map, then its deviations."""
    parts: list[NDArray[np.float32]] = []
    for one in maps:
        flat = np.asarray(one, np.float32).reshape(one.shape[1], -1)
        parts += [flat.mean(axis=1), flat.std(axis=1)]
    return np.concatenate(parts)


def picture(tile: Tile, size: tuple[int, int]) -> NDArray[np.uint8]:
    """RGB (height, width, 3) of the `size` (height, width) that a network takes; sides are stretched, nothing is
    padded: a border would be in every mean. Raises InvalidInput for pixels that are not uint8."""
    rgb = as_rgb(tile)
    if rgb.shape[:2] == size:
        return rgb
    smaller = rgb.shape[0] * rgb.shape[1] > size[0] * size[1]
    resized = cv2.resize(rgb, (size[1], size[0]), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8)


def finite(name: str, rows: Sequence[NDArray[np.float32]], width: int) -> NDArray[np.float32]:
    """`rows` as float32 (N, D). Raises InvalidInput that names the embedder where a number is not finite."""
    stacked = np.stack(rows).astype(np.float32) if len(rows) else np.zeros((0, width), np.float32)
    if not np.isfinite(stacked).all():
        raise InvalidInput(f"{name} gave numbers that are not finite: its weights are damaged, choose others")
    return stacked
