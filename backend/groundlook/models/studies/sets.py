"""Two layouts of labelled imagery on disk → tiles with their truth: what detection and segmentation studies run on.

Which part is held out to test on is fixed here, by ground and never by tile, before any strategy has chosen anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidImage, InvalidInput
from groundlook.core.pool import Ground

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """One tile. `pixels`: uint8 (H, W, 3), RGB. `rings`: of each object its outline (K, 2) in tile pixels, cut to the
    tile; an object that the set knows as a box has four corners. `xy`: the tile's centre in m; `reach`: half its longer
    side in m; `scene`: what it was cut from; `block`: its stretch of ground; `test`: it is held out."""

    name: str
    pixels: NDArray[np.uint8]
    rings: tuple[Floats, ...]
    xy: tuple[float, float]
    reach: float
    scene: str
    block: str
    test: bool

    def boxes(self) -> Floats:
        """(K, 4): x0 y0 x1 y1 in tile pixels."""
        found = [np.concatenate([ring.min(axis=0), ring.max(axis=0)]) for ring in self.rings]
        return np.array(found, np.float64).reshape(-1, 4)


def read(path: Path) -> list[Labelled]:
    """Every tile of `path`: SITE/labels.geojson with SITE/*-x-y-z.png (`slippy`), or FOLDER/annotations/*.xml with
    FOLDER/*.tif (`voc`). Raises InvalidInput for another layout, and where nothing is left to learn from or test on."""
    from groundlook.models.studies import slippy, voc

    layouts: dict[str, Callable[[Path], list[Labelled]]] = {
        "*/labels.geojson": slippy.read,
        "*/annotations/*.xml": voc.read,
    }
    for pattern, layout in layouts.items():
        if any(path.glob(pattern)):
            tiles = layout(path)
            break
    else:
        raise InvalidInput(f"{path} holds none of {', '.join(layouts)}: give the folder above the sites")
    if len({tile.test for tile in tiles}) < 2:
        raise InvalidInput(f"{path} has {len(tiles)} tiles on too little ground to hold some of it out; bring more")
    return tiles


def every(names: Sequence[str], of: int, held: Sequence[int]) -> set[str]:
    """Of the distinct `names` in order, those whose place modulo `of` is in `held`."""
    return {name for place, name in enumerate(sorted(set(names))) if place % of in held}


def ground(tiles: Sequence[Labelled]) -> Ground:
    """Where they lie; a block is one of its scene's site. Days, seasons and sensors are unknown."""
    count = len(tiles)
    unknown = np.full(count, -1, np.int64)
    return Ground(
        np.array([tile.xy for tile in tiles], np.float64).reshape(-1, 2),
        np.array([tile.reach for tile in tiles], np.float64),
        np.full(count, np.nan),
        _codes([tile.scene for tile in tiles]),
        _codes([tile.block for tile in tiles]),
        unknown,
        unknown,
    )


def _codes(names: Sequence[str]) -> NDArray[np.int64]:
    return np.asarray(np.unique(np.array(names, str), return_inverse=True)[1].reshape(-1), np.int64)


def rgb(file: Path) -> NDArray[np.uint8]:
    """(H, W, 3). Raises InvalidImage."""
    pixels = cv2.imread(str(file), cv2.IMREAD_COLOR)
    if pixels is None:
        raise InvalidImage(f"{file} can't be decoded as an image; remove it, or convert it to PNG")
    return np.ascontiguousarray(pixels[:, :, ::-1]).astype(np.uint8, copy=False)
