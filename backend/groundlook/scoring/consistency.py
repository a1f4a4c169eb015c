"""Whether a detector says the same of a tile when it is turned or scaled (CALD: Yu et al. 2021, arXiv 2103.10374)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from groundlook.core.geometry import box_iou
from groundlook.scoring.committee import mean_divergence

BASE = 0.65
"""The paper's β = 1.3 of 2: boxes about this consistent teach the most; less so are mostly noise."""

View = tuple[NDArray[np.floating], NDArray[np.floating]]
"""What one look found, mapped back to the tile: boxes (M, 4) x0 y0 x1 y1 in px, class probabilities (M, C)."""


def consistency(first: View, other: View) -> NDArray[np.float64]:
    """How well each detection of the `first` look is found again in the `other`: (M,), 0 = lost, 1 = exactly.

    With the box of the other look that overlaps it most: half their IoU, and half 1 − the Jensen-Shannon divergence of
    their class distributions, weighted by the mean of both confidences (eq. 2 to 5, halved). Probabilities are
    independent, so that what they leave of 1 is "nothing". Boxes or rows that are not finite are NaN.
    """
    (boxes, proba), (theirs, their_proba) = _clean(first), _clean(other)
    result = np.where(np.isfinite(boxes).all(axis=1) & np.isfinite(proba).all(axis=1), 0.0, np.nan)
    theirs, their_proba = _known(theirs, their_proba)
    if not len(theirs) or not len(boxes):
        return result
    iou = box_iou(np.nan_to_num(boxes), theirs)
    match, rows = iou.argmax(axis=1), np.arange(len(boxes))
    best, found = iou[rows, match], their_proba[match]
    apart = mean_divergence(np.stack([_distribution(proba), _distribution(found)]))
    sure = (proba.max(axis=1, initial=0) + found.max(axis=1, initial=0)) / 2
    same: NDArray[np.float64] = (best + sure * (1 - apart)) / 2
    return np.where(np.isnan(result) | (best <= 0), result, np.clip(same, 0, 1))


def inconsistency(first: View, others: Sequence[View]) -> float:
    """How much a tile would teach by this measure, 0…1: of each further look, how near its most telling detection comes
    to `BASE`; the mean over the looks (eq. 6). A tile where no look finds anything is 0; one where only some do, 1. NaN
    without a further look or where nothing is known."""
    told = [_one(first, other) for other in others]
    return float(np.mean(told)) if told else float("nan")


def _one(first: View, other: View) -> float:
    if not len(first[0]) or not len(other[0]):
        return float(len(first[0]) != len(other[0]))
    found = consistency(first, other)
    found = found[np.isfinite(found)]
    return float(1 - np.abs(found - BASE).min() / max(BASE, 1 - BASE)) if len(found) else float("nan")


def _clean(view: View) -> View:
    boxes = np.asarray(view[0], np.float64).reshape(-1, 4)
    return boxes, np.clip(np.asarray(view[1], np.float64).reshape(len(boxes), -1), 0, 1)


def _known(boxes: NDArray[np.floating], proba: NDArray[np.floating]) -> View:
    known = np.isfinite(boxes).all(axis=1) & np.isfinite(proba).all(axis=1)
    return boxes[known], proba[known]


def _distribution(proba: NDArray[np.floating]) -> NDArray[np.float64]:
    """(M, C) independent → (M, C + 1), rows sum to 1, the last is "nothing"."""
    nothing = np.clip(1 - proba.sum(axis=1, keepdims=True), 0, 1)
    rows = np.concatenate([proba, nothing], axis=1)
    total: NDArray[np.float64] = rows / np.maximum(rows.sum(axis=1, keepdims=True), 1e-12)
    return total
