"""Detections before suppression: what is common to our own networks and exported ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

LOWEST = 0.05
"""Detections below this confidence are noise: they would drown the uncertainty, and slow the suppression down."""


@dataclass(frozen=True, slots=True)
class Protos:
    """Mask prototypes of one window. `values`: float32 (P, h, w), of `scale` px each, from (`column`, `row`) on."""

    values: Floats
    scale: float
    column: int = 0
    row: int = 0


@dataclass(frozen=True, slots=True)
class Candidates:
    """M detections of `LOWEST` or more, in tile pixels.

    `boxes`: float32 (M, 4), centre x, y, width, height. `proba`: float32 (M, L), independent probabilities of each
    label. `extra`: (M, 1) angle in radians clockwise, (M, P) mask coefficients, (M, 3 K) keypoints as x, y and
    visibility 0…1, or (M, 0). `spread`: (M, 4) or None, standard deviation in px of each side, left, top, right,
    bottom. `peak`: the highest probability of any label anywhere, 0…1. `protos`: of the windows, `window` (M,) says
    which.
    """

    boxes: Floats
    proba: Floats
    extra: Floats
    spread: Floats | None
    peak: float
    protos: tuple[Protos, ...] = ()
    window: NDArray[np.intp] = field(default_factory=lambda: np.zeros(0, np.intp))

    def __len__(self) -> int:
        return len(self.boxes)

    def take(self, places: NDArray[np.intp]) -> Candidates:
        """Those at `places`, in that order."""
        spread = None if self.spread is None else self.spread[places]
        kept = self.boxes[places], self.proba[places], self.extra[places], spread
        return Candidates(*kept, self.peak, self.protos, self.window[places])

    def moved(self, column: int, row: int, points: bool) -> Candidates:
        """From a window's pixels to the tile's. `points`: `extra` holds keypoints."""
        if not column and not row:
            return self
        boxes, extra = self.boxes.copy(), self.extra
        boxes[:, :2] += np.array([column, row], np.float32)
        if points:
            extra = extra.copy()
            extra[:, 0::3] += np.float32(column)
            extra[:, 1::3] += np.float32(row)
        protos = tuple(replace(p, column=p.column + column, row=p.row + row) for p in self.protos)
        return replace(self, boxes=boxes, extra=extra, protos=protos)


def joined(parts: Sequence[Candidates]) -> Candidates:
    """Those of all windows of a tile, at least one."""
    if len(parts) == 1:
        return parts[0]
    spreads = [p.spread for p in parts if p.spread is not None]
    return Candidates(
        np.concatenate([p.boxes for p in parts]),
        np.concatenate([p.proba for p in parts]),
        np.concatenate([p.extra for p in parts]),
        np.concatenate(spreads) if len(spreads) == len(parts) else None,
        max(p.peak for p in parts),
        tuple(proto for p in parts for proto in p.protos),
        np.concatenate([p.window + i for i, p in enumerate(parts)]),
    )


def sigmoid(x: Floats) -> Floats:
    """Of logits of any size, without overflow."""
    found: Floats = 0.5 * (1 + np.tanh(0.5 * x))
    return found
