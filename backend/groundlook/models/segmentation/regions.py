"""Probabilities of pixels → regions, and a table of cells for scoring."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from groundlook.core.raster import masks_of
from groundlook.core.types import Region

CELLS = 32
"""Cells along each side of the grid that `cells` lays over a tile."""


def regions_of(
    proba: NDArray[np.float32], labels: Sequence[str], confidence: float, smallest: int
) -> tuple[Region, ...]:
    """One Mask for each connected piece (sides touch, corners don't count) of pixels with the same likeliest class,
    best first. `proba`: (1 + labels, H, W). Pieces of fewer than `smallest` px, or of a mean probability under
    `confidence`, are left out."""
    best = proba.argmax(axis=0)
    found: list[Region] = []
    for place, label in enumerate(labels, 1):
        count, pieces, stats, _ = cv2.connectedComponentsWithStats((best == place).astype(np.uint8), connectivity=4)
        area = stats[:, cv2.CC_STAT_AREA]
        score = np.bincount(pieces.ravel(), proba[place].ravel().astype(np.float64), count) / np.maximum(area, 1)
        kept = (area >= smallest) & (score >= confidence)
        kept[0] = False  # what is not this class
        numbers = np.where(kept, np.arange(count), 0)
        for number, mask in masks_of(numbers[pieces]).items():
            found.append(Region(mask, label, min(float(score[number]), 1.0), origin="prediction"))
    return tuple(sorted(found, key=lambda region: -(region.score or 0.0)))


def cells(proba: NDArray[np.float32], side: int = CELLS) -> NDArray[np.float32]:
    """Float32 (M, 1 + labels): of each cell of a grid of `side` × `side` (fewer on a smaller tile), row by row, the
    mean probabilities of those of its pixels that share the class most common there; rows sum to 1.

    Not of all its pixels: on the edge of a thing, half sure one and half sure the other would look like a toss-up.
    """
    classes, height, width = proba.shape
    down, across = min(side, height), min(side, width)
    cell = (np.arange(height) * down // height)[:, None] * across + np.arange(width) * across // width
    best = proba.argmax(axis=0)
    total = down * across
    counts = np.bincount((cell * classes + best).ravel(), minlength=total * classes).reshape(total, classes)
    common = counts.argmax(axis=1)
    same = best == common[cell]
    where = cell[same]
    sums = np.stack([np.bincount(where, proba[c][same].astype(np.float64), total) for c in range(classes)], axis=1)
    mean: NDArray[np.float32] = (sums / np.maximum(sums.sum(axis=1, keepdims=True), 1e-12)).astype(np.float32)
    return mean
