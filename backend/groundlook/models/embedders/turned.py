"""An Embedder that looks at a tile from all sides: from above there is no up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from groundlook.core.geo import Tile
from groundlook.core.ports import Embedder

PREFIX = "d4"


class Turned:
    """The mean of another embedder's vectors over the four quarter turns of a tile and of its mirror image (the group
    D4): eight times its work, and a vector that does not depend on which way the image lay."""

    def __init__(self, embedder: Embedder) -> None:
        self.name = f"{PREFIX}-{embedder.name}"
        self._embedder = embedder

    def embed(self, tiles: Sequence[Tile]) -> NDArray[np.float32]:
        """See `core.ports.Embedder`; D is that of the other."""
        views = [replace(tile, pixels=pixels) for tile in tiles for pixels in _views(tile.pixels)]
        found = self._embedder.embed(views)
        return np.asarray(found.reshape(len(tiles), 8, -1).mean(axis=1, dtype=np.float32))


def _views(pixels: NDArray[np.generic]) -> list[NDArray[np.generic]]:
    """(H, W, B) → its eight, each contiguous."""
    turned = [np.rot90(side, turns) for side in (pixels, pixels[:, ::-1]) for turns in range(4)]
    return [np.ascontiguousarray(one) for one in turned]
