"""The pixels of a tile as every model here wants them: uint8 RGB."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput
from groundlook.core.geo import Tile


def as_rgb(tile: Tile) -> NDArray[np.uint8]:
    """(H, W, 3) uint8, contiguous. One band is repeated; bands after the third (alpha, near infrared) are left out.

    Raises InvalidInput for another dtype: a model can't guess how floats or 16 bits were meant to be seen.
    """
    pixels = tile.pixels
    if pixels.ndim != 3 or 0 in pixels.shape:
        raise InvalidInput(f"tile pixels of shape {pixels.shape}: expected (height, width, bands), none of them 0")
    if pixels.dtype != np.uint8:
        raise InvalidInput(f"tile pixels are {pixels.dtype}: render the tile to uint8 RGB before a model sees it")
    bands = pixels[:, :, :3] if pixels.shape[2] >= 3 else np.repeat(pixels[:, :, :1], 3, axis=2)
    return np.ascontiguousarray(bands)
