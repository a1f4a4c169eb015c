"""A cheap descriptor of what a tile looks like: enough to keep a ranking from picking the same ground twice.

Milliseconds a tile, no weights: it works before anything was downloaded or trained.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from groundlook.core.geo import Tile
from groundlook.models.pixels import as_rgb

_SIDE = 64
_CELLS = 4
_HUES, _TONES, _TURNS = 12, 8, 8
_SCALES = 3


class Thumbnail:
    """An Embedder of colour, tone and texture.

    Parts, each of unit length so that none outweighs the others: mean colour of a 4 × 4 grid (48), hue histogram
    weighted by saturation (12), tone histogram (8), histograms of gradient direction at three scales (24),
    contrast at three scales (3).
    """

    name = "thumbnail-1"

    def embed(self, tiles: Sequence[Tile]) -> NDArray[np.float32]:
        """Float32 (N, 95), rows of unit length; the same pixels give the same row. Raises InvalidInput."""
        rows = [_describe(as_rgb(tile)) for tile in tiles]
        return np.stack(rows) if rows else np.zeros((0, DIMENSIONS), np.float32)


DIMENSIONS = _CELLS * _CELLS * 3 + _HUES + _TONES + _SCALES * (_TURNS + 1)


def _describe(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    small = cv2.resize(rgb, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    turns, contrast = _texture(grey)
    tones = np.histogram(grey, _TONES, (0, 1))[0]
    parts = [_colours(small), _hues(small), tones, turns, contrast]
    row = np.concatenate([_unit(np.asarray(p, np.float32).ravel()) for p in parts])
    return _unit(row)


def _colours(small: NDArray[np.uint8]) -> NDArray[np.float32]:
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB)
    cells = cv2.resize(lab, (_CELLS, _CELLS), interpolation=cv2.INTER_AREA).astype(np.float32)
    # About grey, so that two tiles of different colour point different ways rather than all towards "bright".
    about: NDArray[np.float32] = (cells - 128) / 128
    return about


def _hues(small: NDArray[np.uint8]) -> NDArray[np.float64]:
    hsv = cv2.cvtColor(small, cv2.COLOR_RGB2HSV)
    return np.histogram(hsv[..., 0], _HUES, (0, 180), weights=hsv[..., 1].astype(np.float64))[0]


def _texture(grey: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gradient directions (folded to half a turn) weighted by strength, and contrast, from fine to coarse."""
    turns, contrast = [], []
    for _ in range(_SCALES):
        across, down = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
        strength = np.hypot(across, down).astype(np.float64)
        angle = np.mod(np.arctan2(down, across), np.pi)
        turns.append(np.histogram(angle, _TURNS, (0, np.pi), weights=strength)[0])
        contrast.append(float(strength.mean()))
        grey = cv2.resize(grey, (grey.shape[1] // 2, grey.shape[0] // 2), interpolation=cv2.INTER_AREA)
    return np.concatenate(turns), np.array(contrast)


def _unit(row: NDArray[np.float32]) -> NDArray[np.float32]:
    length = float(np.linalg.norm(row))
    return (row / length if length > 0 else row).astype(np.float32)
