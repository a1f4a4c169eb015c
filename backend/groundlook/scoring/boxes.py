"""How unsure a detector is of where its boxes end, out of the distribution that it gives of each side (DFL)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from groundlook.core.geometry import Shape, envelope
from groundlook.core.types import Prediction

TOP = 5
FULL = 0.25
"""A side that is off by a quarter of the box: as unsure as it gets."""


def box_uncertainty(prediction: Prediction) -> float | None:
    """0…1: the mean, over the `TOP` vaguest of the detections shown, of the standard deviation of their sides as a
    share of the tile's median box. Shown are as many of the surest as there are regions: a region's own score may say
    more than the detector's, as that of a box cut out by another model does. None without a spread or without any
    region: a box that nobody is shown can't be off."""
    spread = prediction.spread
    sides = [_side(region.shape) for region in prediction.regions]
    sides = [side for side in sides if side > 0]
    if spread is None or not sides or len(spread) != len(prediction.proba):
        return None
    shown = np.argsort(-prediction.proba.max(axis=1, initial=0), kind="stable")[: len(sides)]
    vague: NDArray[np.float64] = np.asarray(spread, np.float64)[shown].mean(axis=1)
    vague = np.sort(vague[np.isfinite(vague)])[::-1][:TOP]
    if not len(vague):
        return None
    return float(np.clip(vague / (FULL * float(np.median(sides))), 0, 1).mean())


def _side(shape: Shape) -> float:
    x0, y0, x1, y1 = envelope(shape)
    return float(np.sqrt(max(x1 - x0, 0) * max(y1 - y0, 0)))
