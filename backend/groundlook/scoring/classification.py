"""How unsure a classifier is of a tile."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from groundlook.core.types import Prediction, Score
from groundlook.scoring import detection

ENTROPY_SHARE = 0.5


def entropy(proba: NDArray[np.floating]) -> NDArray[np.float64]:
    """Of distributions over classes that exclude each other, as a share of the highest possible: (M, C), rows sum to 1
    → (M,), 0 = sure, 1 = all alike. Of a single class 0."""
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
    learned gives None: unknown is not 0.
    """
    if not prediction.knows or not prediction.proba.size:
        return Score(None)
    if prediction.kind == "classification-multiple":
        each = np.asarray(prediction.proba, np.float64).reshape(-1, 1)
        h, m = detection.entropy(each), detection.margin(each)
        worst = int((ENTROPY_SHARE * h + (1 - ENTROPY_SHARE) * m).argmax())
        terms = {"entropy": float(h[worst]), "margin": float(m[worst])}
    else:
        h, m, short = (f(prediction.proba) for f in (entropy, margin, least_confidence))
        terms = {"entropy": float(h[0]), "margin": float(m[0]), "least_confidence": float(short[0])}
    return Score(ENTROPY_SHARE * terms["entropy"] + (1 - ENTROPY_SHARE) * terms["margin"], terms)


def _rows(proba: NDArray[np.floating]) -> NDArray[np.float64]:
    """Rows that sum to 1, also where rounding or an odd model left them short."""
    p = np.clip(np.nan_to_num(np.asarray(proba, np.float64)), 0, None)
    total = p.sum(axis=1, keepdims=True)
    rows: NDArray[np.float64] = np.where(total > 0, p / np.where(total > 0, total, 1), 1 / max(p.shape[1], 1))
    return rows
