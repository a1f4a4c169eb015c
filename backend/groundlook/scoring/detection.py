"""How unsure a detector is of a tile.

Classes are independent sigmoids, so the entropy of a detection is the sum of its binary entropies (facts: stack).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from groundlook.core.types import Prediction, Score
from groundlook.scoring.aggregate import TOP, empty_term, least_sure
from groundlook.scoring.binary import binary_entropy
from groundlook.scoring.difficulty import weighted


def entropy(proba: NDArray[np.floating]) -> NDArray[np.float64]:
    """Summed binary entropy per detection, in bits, at most 1: (M, C) → (M,), 0 = sure; NaN in a row makes it NaN.

    A detection is about as unsure as its least sure class; the sum over classes is cut at 1, so that a label config
    with many classes does not inflate it.
    """
    total: NDArray[np.float64] = np.minimum(binary_entropy(proba).sum(axis=1), 1.0)
    return total


def margin(proba: NDArray[np.floating]) -> NDArray[np.float64]:
    """1 − |best − rival| per detection: (M, C) → (M,), 0…1, 1 = a toss-up; NaN in a row makes it NaN. The rival is the
    second best class or "no object", 1 − best, whichever is likelier: noise of .06 is surely nothing. With one class
    1 − |2p − 1|."""
    ordered = np.sort(np.clip(np.asarray(proba, dtype=np.float64), 0, 1), axis=1)
    best = ordered[:, -1]
    rival = np.maximum(ordered[:, -2], 1 - best) if ordered.shape[1] > 1 else 1 - best
    gap: NDArray[np.float64] = 1.0 - np.abs(best - rival)
    return gap


def score_detection(prediction: Prediction, weights: NDArray[np.floating] | None = None) -> Score:
    """Score of a tile from its detections: the mean of its `TOP` least sure ones, half entropy, half margin.

    `weights`: (C,), of each column of `proba`, how much its class counts (`difficulty.class_weights`). A tile without
    any detection has a term of its own, `empty`. A model that has not learned, or says NaN of all it found, gives
    None: unknown is not 0.
    """
    if not prediction.knows:
        return Score(None)
    proba = prediction.proba
    if len(proba) == 0:
        empty = float(empty_term(np.array([prediction.peak]))[0])
        return Score(empty, {"empty": empty, "detections": 0.0}) if np.isfinite(empty) else Score(None)
    found = least_sure(weighted(entropy(proba), proba, weights), margin(proba), TOP)
    if found is None:
        return Score(None)
    value, terms = found
    return Score(value, {**terms, "detections": float(len(proba))})
