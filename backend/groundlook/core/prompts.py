"""What an annotator points at, and the mask that answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from groundlook.core.geo import Tile
from groundlook.core.mask import Mask


def _no_points() -> NDArray[np.float32]:
    return np.zeros((0, 2), dtype=np.float32)


def _no_signs() -> NDArray[np.bool_]:
    return np.zeros(0, dtype=np.bool_)


@dataclass(frozen=True, slots=True, eq=False)
class Prompts:
    """Everything that points at *one* object of one tile, in tile pixels.

    `points`: float32 (K, 2), x then y, in the order in which they were given; `positive`: bool (K,), False means "not
    this". `box`: (x0, y0, x1, y1). `mask`: an earlier answer to make better. `text`: for models that read.
    `label`: the class that the annotator chose; the answer keeps it.
    """

    points: NDArray[np.float32] = field(default_factory=_no_points)
    positive: NDArray[np.bool_] = field(default_factory=_no_signs)
    box: tuple[float, float, float, float] | None = None
    mask: Mask | None = None
    text: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True)
class Cut:
    """One mask of a Segmenter. An empty mask means that nothing answers the prompts.

    `score`: calibrated quality, the IoU to expect, 0…1. `terms`: what it was made of: `predicted_iou`, `stability`
    (IoU of the mask at a stricter and a laxer threshold), `disagreement` (1 − mean IoU with the masks not chosen).
    """

    mask: Mask
    score: float
    terms: Mapping[str, float] = field(default_factory=dict)


def mask_terms(cuts: Sequence[Cut]) -> NDArray[np.float64]:
    """Float64 (M, 3): predicted IoU, stability and disagreement of each, NaN where it is not known."""
    names = ("predicted_iou", "stability", "disagreement")
    return np.array([[cut.terms.get(name, np.nan) for name in names] for cut in cuts], np.float64).reshape(-1, 3)


@dataclass(frozen=True, slots=True)
class Picture:
    """Pixels that need not be read where what is made of them is kept.

    `key`: equal keys, equal pixels (content, window, bands and stretch are in it). `size`: (width, height).
    `read`: the tile, uint8 RGB (H, W, 3); may raise InvalidImage, InvalidRaster, NotAllowed.
    """

    key: str
    size: tuple[int, int]
    read: Callable[[], Tile]
