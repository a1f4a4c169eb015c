"""Examples → pictures and truth on disk, one file each, for the training process."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput
from groundlook.core.geo import Tile, WindowPx
from groundlook.core.tiling import grid
from groundlook.core.types import Region
from groundlook.models.pixels import as_rgb
from groundlook.models.training.aside import place_of

STRIDE = 32
"""Networks halve their input five times: sides of what they see are multiples of this."""
_OVERLAP = 64

Truth = Mapping[str, NDArray[Any]]
"""Arrays by name: what a network is to learn of one picture."""


@dataclass(frozen=True, slots=True)
class Written:
    """A set on disk. `side`: the multiple of 32 px that holds the largest picture; `classes` and `places` of each."""

    side: int
    classes: tuple[frozenset[int], ...]
    places: tuple[Hashable, ...]


def write(
    examples: Iterable[tuple[Tile, Sequence[Region]]],
    folder: Path,
    largest: int,
    describe: Callable[[Sequence[Region], int, int], Truth],
    cut: Callable[[Truth, WindowPx], Truth],
    classes: Callable[[Truth], Iterable[int]],
) -> Written:
    """Write `examples` as numbered .npz files with "picture", uint8 (H, W, 3), and their truth.

    `describe(regions, width, height)`: the truth of a tile; `cut(truth, window)`: of a window of it; `classes(truth)`:
    those that occur in a picture. Tiles with a side over `largest` are cut, not shrunk: things keep the size that they
    have when the model predicts. Holds one tile in memory at a time. Raises InvalidInput for pixels that are no uint8
    RGB.
    """
    if largest < STRIDE:
        raise InvalidInput(f"largest {largest}: cut tiles to {STRIDE} px or more")
    folder.mkdir(parents=True)
    side = STRIDE
    inside: list[frozenset[int]] = []
    places: list[Hashable] = []
    for count, (tile, regions) in enumerate(examples):
        picture = as_rgb(tile)
        height, width = picture.shape[:2]
        truth = describe(regions, width, height)
        for window in grid(width, height, largest, min(_OVERLAP, largest - 1)):
            column, row, w, h = window
            part = np.ascontiguousarray(picture[row : row + h, column : column + w])
            arrays: dict[str, Any] = {**cut(truth, window), "picture": part}
            np.savez(folder / f"{len(inside):07d}.npz", **arrays)
            side = max(side, -(-max(w, h) // STRIDE) * STRIDE)
            inside.append(frozenset(int(c) for c in classes(arrays)))
            places.append(place_of(tile, count))
    return Written(side, tuple(inside), tuple(places))


def read(path: Path) -> dict[str, NDArray[Any]]:
    """One file of `write`."""
    with np.load(path, allow_pickle=False) as kept:
        return {name: kept[name] for name in kept.files}
