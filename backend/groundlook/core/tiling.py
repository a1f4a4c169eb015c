"""The grid of windows over a scene, and the map blocks that keep training and held-out ground apart."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from typing import Literal

from groundlook.core.errors import InvalidInput
from groundlook.core.geo import Points, TileRef, WindowPx

Split = Literal["train", "val", "margin"]
"""`val` is held out for the gate; `margin` straddles both kinds of ground, so neither may use it."""


def grid(width: int, height: int, size: int, overlap: int) -> Iterator[WindowPx]:
    """Windows of `size` px, `overlap` px shared by neighbours, row by row. The last column and row are shifted
    inward, so that every window is full; a scene smaller than a tile gives one window of its own size."""
    if size < 1 or not 0 <= overlap < size:
        raise InvalidInput(f"tile size {size} with overlap {overlap}: the overlap must be smaller than the tile")
    for row in _starts(height, size, overlap):
        for column in _starts(width, size, overlap):
            yield column, row, min(size, width), min(size, height)


def _starts(length: int, size: int, overlap: int) -> list[int]:
    if length <= size:
        return [0]
    starts = list(range(0, length - size, size - overlap))
    return [*starts, length - size]


def spatial_split(
    tile: TileRef, block: float, share: float, seed: str, space: tuple[str, Points] | None = None
) -> Split:
    """Assign a tile by the map blocks it lies in, so that every date of a place shares a fold.

    `block`: side of a block in units of the space. `share`: fraction of blocks held out. `space`: the name of the
    coordinate system whose blocks decide, and points (N, 2) in it whose envelope covers the tile; by default the
    tile's own CRS and corners. A tile whose blocks disagree is `margin`. An image without georeference is a block of
    its own. Raises InvalidInput for a block that is not a positive length.
    """
    if not (math.isfinite(block) and block > 0):
        raise InvalidInput(f"block {block}: the side of a held-out block must be a positive number")
    if space is None:
        if tile.georef is None:
            return _fold(seed, tile.source, 0, 0, share)
        space = (tile.georef.crs, tile.outline())
    name, outline = space
    corners = outline / block
    eps = 1e-6  # tiles that end exactly on a block's edge don't reach into the next block
    (x0, y0), (x1, y1) = corners.min(axis=0) + eps, corners.max(axis=0) - eps
    columns, rows = _blocks(x0, x1), _blocks(y0, y1)
    if not 0 < share < 1:
        return "val" if share >= 1 else "train"
    first = _fold(seed, name, columns[0], rows[0], share)
    same = all(_fold(seed, name, i, j, share) == first for i in columns for j in rows)  # ends at the first that differs
    return first if same else "margin"


def _blocks(low: float, high: float) -> range:
    # A tile thinner than the tolerance still lies in one block.
    return range(math.floor(min(low, high)), math.floor(max(low, high)) + 1)


def _fold(seed: str, space: str, i: int, j: int, share: float) -> Split:
    digest = hashlib.sha256(f"{seed}|{space}|{i}|{j}".encode()).digest()
    return "val" if int.from_bytes(digest[:8], "big") < share * 2**64 else "train"
