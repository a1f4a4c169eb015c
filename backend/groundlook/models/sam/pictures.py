"""Tiles as Pictures."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np

from groundlook.core.geo import Tile, WindowPx
from groundlook.core.prompts import Picture


def picture_of(tile: Tile) -> Picture:
    """`tile`, known by its uid, or by its pixels where it has none: equal keys, equal pixels."""
    if tile.ref is not None:
        return Picture(tile.ref.uid, tile.size, lambda: tile)
    pixels = np.ascontiguousarray(tile.pixels)
    seen = blake2b(f"{pixels.shape}{pixels.dtype.str}".encode(), digest_size=32)
    seen.update(pixels.data)
    return Picture(seen.hexdigest(), tile.size, lambda: tile)


def part_of(picture: Picture, tile: Tile, window: WindowPx) -> Picture:
    """The `window` of a picture that was read already."""
    x, y, width, height = window
    part = Tile(tile.pixels[y : y + height, x : x + width])
    return Picture(f"{picture.key}#{x},{y},{width},{height}", (width, height), lambda: part)
