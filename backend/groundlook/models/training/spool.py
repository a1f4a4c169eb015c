"""Examples → pictures and truth on disk, one file each, for the training process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput
from groundlook.core.geo import Tile
from groundlook.core.tiling import grid
from groundlook.core.types import Region
from groundlook.models.pixels import as_rgb

STRIDE = 32
"""Networks halve their input five times: sides of what they see are multiples of this."""
_OVERLAP = 64

Truth = Mapping[str, NDArray[Any]]
"""Arrays by name: what a network is to learn of one picture."""


def write(
    examples: Iterable[tuple[Tile, Sequence[Region]]],
    folder: Path,
    largest: int,
    describe: Callable[[Sequence[Region], int, int], Truth],
    cut: Callable[[Truth, tuple[int, int, int, int]], Truth],
) -> int:
    """Write `examples` as numbered .npz files with "picture", uint8 (H, W, 3), and their truth; return their side: the
    multiple of 32 px that holds the largest.

    `describe(regions, width, height)`: the truth of a tile; `cut(truth, window)`: of a window of it. Tiles with a side
    over `largest` are cut, not shrunk: things keep the size that they have when the model predicts. Holds one tile in
    memory at a time. Raises InvalidInput for pixels that are no uint8 RGB.
    """
    if largest < STRIDE:
        raise InvalidInput(f"largest {largest}: cut tiles to {STRIDE} px or more")
    folder.mkdir(parents=True)
    number, side = 0, STRIDE
    for tile, regions in examples:
        picture = as_rgb(tile)
        height, width = picture.shape[:2]
        truth = describe(regions, width, height)
        for window in grid(width, height, largest, min(_OVERLAP, largest - 1)):
            column, row, w, h = window
            part = np.ascontiguousarray(picture[row : row + h, column : column + w])
            arrays: dict[str, Any] = {**cut(truth, window), "picture": part}
            np.savez(folder / f"{number:07d}.npz", **arrays)
            side = max(side, -(-max(w, h) // STRIDE) * STRIDE)
            number += 1
    return side


def read(path: Path) -> dict[str, NDArray[Any]]:
    """One file of `write`."""
    with np.load(path, allow_pickle=False) as kept:
        return {name: kept[name] for name in kept.files}
