"""How far a model's answer for a task is what people then said of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from groundlook.core.geometry import WholeTile, box_iou, envelope
from groundlook.core.types import Region

_SAME_PLACE = 0.5


def agreement(predicted: Sequence[Region], said: Sequence[Region]) -> float:
    """F1 of the regions, 0…1: one of each that have the same label and whose envelopes overlap by an IoU of 0.5 are a
    pair, nearest pairs first; classes of whole tiles pair by their label. 1 where both are empty."""
    if not predicted and not said:
        return 1.0
    pairs = 0
    for label in {r.label for r in said}:
        ours = [r for r in predicted if r.label == label]
        theirs = [r for r in said if r.label == label]
        pairs += _placed(_boxes(ours), _boxes(theirs)) + min(_whole(ours), _whole(theirs))
    return 2 * pairs / (len(predicted) + len(said))


def _whole(regions: Sequence[Region]) -> int:
    return sum(isinstance(r.shape, WholeTile) for r in regions)


def _boxes(regions: Sequence[Region]) -> NDArray[np.float64]:
    found = [envelope(r.shape) for r in regions if not isinstance(r.shape, WholeTile)]
    return np.array(found, dtype=np.float64).reshape(-1, 4)


def _placed(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> int:
    overlap = box_iou(ours, theirs)
    pairs = 0
    while overlap.size and overlap.max() >= _SAME_PLACE:
        row, column = np.unravel_index(int(overlap.argmax()), overlap.shape)
        overlap[row, :], overlap[:, column] = 0, 0
        pairs += 1
    return pairs
