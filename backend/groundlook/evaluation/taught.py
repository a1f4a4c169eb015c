"""What a version was taught, and where it sees things beside that: whether the labels themselves are off.

A detector does not learn boxes that are moved at random: it goes on to see the things where they are. So the share of
its own training labels beside which it sees the thing is small after honest labels, and grows by what was moved. The
idea is that of confident learning (Northcutt et al., JAIR 2021) and ObjectLab (Tkachenko et al. 2023), asked of all
labels together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from groundlook.core.exam import Taught
from groundlook.core.geo import Tile
from groundlook.core.geometry import WholeTile, box_iou, envelope
from groundlook.core.ports import Model
from groundlook.core.types import Region

_MET, _APART = 0.5, 1 / 3
"""IoU from which a label is met; below which a box is elsewhere."""
_NEAR, _ALIKE = 1.2, 2.0
"""How far beside that may be, in sides of the larger of both; how much larger than the other either side may be."""

Boxes = NDArray[np.float64]


def taught(model: Model, examples: Iterable[tuple[Tile, Sequence[Region]]]) -> Taught | None:
    """Of a detector, on tiles with the labels that it learned; None of models that find no boxes. One tile in memory
    at a time."""
    met = moved = 0
    for tile, regions in examples:
        prediction = model.predict([tile])[0]
        if prediction.kind != "detection":
            return None
        of_tile = beside(_boxes(regions), _boxes(prediction.regions))
        met, moved = met + of_tile[0], moved + of_tile[1]
    return Taught(met, moved)


def beside(truth: Boxes, said: Boxes) -> tuple[int, int]:
    """How many of the labels (N, 4) are met by a box of (M, 4), left, top, right, bottom, and beside how many of the
    others there is one that is alike and meets no label."""
    if not len(truth) or not len(said):
        return 0, 0
    overlap = box_iou(said, truth)
    met: NDArray[np.bool_] = np.asarray((overlap >= _MET).any(axis=0))
    used: NDArray[np.bool_] = np.asarray((overlap >= _MET).any(axis=1))
    sides, sizes = said[:, None, 2:] - said[:, None, :2], truth[None, :, 2:] - truth[None, :, :2]
    centres = (said[:, None, :2] + said[:, None, 2:] - truth[None, :, :2] - truth[None, :, 2:]) / 2
    near = (np.abs(centres) / np.maximum(np.maximum(sides, sizes), 1e-9)).max(axis=-1) < _NEAR
    ratio = sides / np.maximum(sizes, 1e-9)
    alike = ((ratio > 1 / _ALIKE) & (ratio < _ALIKE)).all(axis=-1)
    moved = near & alike & (overlap < _APART) & ~used[:, None] & ~met[None]
    return int(np.sum(met)), int(np.sum(moved.any(axis=0)))


def _boxes(regions: Sequence[Region]) -> Boxes:
    found = [envelope(r.shape) for r in regions if not isinstance(r.shape, WholeTile)]
    return np.array(found, np.float64).reshape(-1, 4)
