"""Crumbs of a mask that nobody pointed at."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

CRUMB = 0.1
"""Pieces smaller than this share of the largest are crumbs."""


def without_crumbs(inside: NDArray[np.bool_], points: NDArray[np.float32]) -> NDArray[np.bool_]:
    """The mask without the pieces that no prompt asks for: bool (H, W) → bool (H, W).

    Where some piece (8-connected) holds one of the positive `points`, float32 (K, 2), x then y, px, only such pieces
    stay: a click means one object. Else, so for a box alone, those of a tenth of the largest or more.
    """
    count, labels, stats, _ = cv2.connectedComponentsWithStats(inside.view(np.uint8), connectivity=8)
    if count <= 2:
        return inside
    height, width = inside.shape
    columns = np.clip(points[:, 0].astype(int), 0, width - 1)
    rows = np.clip(points[:, 1].astype(int), 0, height - 1)
    keep = np.zeros(count, dtype=bool)
    keep[labels[rows, columns]] = True
    keep[0] = False
    if not keep.any():
        areas = stats[:, cv2.CC_STAT_AREA]
        keep[1:] = areas[1:] >= CRUMB * areas[1:].max()
    kept: NDArray[np.bool_] = keep[labels]
    return kept
