"""How unsure a classifier is of a tile. A row of probabilities that is not finite is unknown: NaN."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from groundlook.core.types import Prediction, Score
from groundlook.scoring import detection
from groundlook.scoring.aggregate import least_sure


def entropy(proba: NDArray[np.floating]) -> NDArray[np.float64]:
    """Of distributions over classes that exclude each other, as a share of the highest possible: (M, C), rows sum to 1
    → (M,), 0 = sure, 1 = all alike. Of a single class 0 (Shannon)."""
    p = _rows(proba)
    if p.shape[1] < 2:
        return np.zeros(len(p))
    bits: NDArray[np.float64] = -(p * np.log2(np.maximum(p, 1e-12))).sum(axis=1) / np.log2(p.shape[1])
    return np.clip(bits, 0, 1)


def margin(proba: NDArray[np.floating]) -> NDArray[np.float64]:
    """1 − (best − second best): (M, C) → (M,), 1 = a toss-up. Of a single class 0."""
    p = _rows(proba)
    if p.shape[1] < 2:
        return np.zeros(len(p))
    ordered = np.sort(p, axis=1)
    gap: NDArray[np.float64] = 1 - (ordered[:, -1] - ordered[:, -2])
    return gap


def least_confidence(proba: NDArray[np.floating]) -> NDArray[np.float64]:
    """1 − the best, as a share of the highest possible 1 − 1/C: (M, C) → (M,), 0…1. Of a single class 0."""
    p = _rows(proba)
    if p.shape[1] < 2:
        return np.zeros(len(p))
    short: NDArray[np.float64] = (1 - p.max(axis=1)) / (1 - 1 / p.shape[1])
    return np.clip(short, 0, 1)


def score_classification(prediction: Prediction) -> Score:
    """Score of a tile from its class probabilities, half entropy, half margin; `least_confidence` is told beside them.

    Where several classes may hold, each is a question of its own: the least sure one decides. A model that has not
    learned, or says NaN, gives None: unknown is not 0.
    """
    if not prediction.knows or not prediction.proba.size:
        return Score(None)
    if prediction.kind == "classification-multiple":
        each = np.asarray(prediction.proba, np.float64).reshape(-1, 1)
        found = least_sure(detection.entropy(each), detection.margin(each), 1)
    else:
        found = least_sure(entropy(prediction.proba), margin(prediction.proba), 1)
    if found is None:
        return Score(None)
    value, terms = found
    if prediction.kind == "classification":
        terms["least_confidence"] = float(least_confidence(prediction.proba)[0])
    return Score(value, terms)


def _rows(proba: NDArray[np.floating]) -> NDArray[np.float64]:
    """Rows that sum to 1, also where rounding or an odd model left them short; one that is not finite is all NaN."""
    raw = np.asarray(proba, np.float64)
    p = np.clip(np.where(np.isfinite(raw), raw, 0), 0, None)
    total = p.sum(axis=1, keepdims=True)
    rows: NDArray[np.float64] = np.where(total > 0, p / np.where(total > 0, total, 1), 1 / max(p.shape[1], 1))
    rows[~np.isfinite(raw).all(axis=1)] = np.nan
    return rows
