"""How unsure a classifier is of a tile. A row of probabilities that is not finite is unknown: NaN."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from groundlook.core import unsure
from groundlook.core.types import Prediction, Score
from groundlook.scoring import detection
from groundlook.scoring.aggregate import least_sure


def entropy(proba: NDArray[np.floating]) -> NDArray[np.float64]:
    """`core.unsure.entropy` of rows as a model gives them: (M, C) → (M,), 0 = sure, 1 = all classes alike."""
    return unsure.entropy(_rows(proba))


def margin(proba: NDArray[np.floating]) -> NDArray[np.float64]:
    """`core.unsure.margin` of rows as a model gives them: (M, C) → (M,), 0 … 1 = a toss-up."""
    return unsure.margin(_rows(proba))


def least_confidence(proba: NDArray[np.floating]) -> NDArray[np.float64]:
    """1 − the best, as a share of the highest possible 1 − 1/C: (M, C) → (M,), 0…1. Of a single class 0."""
    p = _rows(proba)
    return np.clip(unsure.least_confidence(p) / max(1 - 1 / max(p.shape[1], 1), 1e-9), 0, 1)


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
