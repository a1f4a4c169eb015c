"""How unsure a detector is of a tile.

Classes are independent sigmoids, so the entropy of a detection is the sum of its binary entropies (facts: stack).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from groundlook.core.types import Prediction, Score

TOP = 5
ENTROPY_SHARE = 0.5


def entropy(proba: NDArray[np.floating]) -> NDArray[np.float64]:
    """Summed binary entropy per detection, in bits, at most 1: (M, C) → (M,), 0 = sure.

    A detection is about as unsure as its least sure class; the sum over classes is cut at 1, so that a label config
    with many classes does not inflate it.
    """
    p = np.clip(np.asarray(proba, dtype=np.float64), 1e-9, 1 - 1e-9)
    bits = -(p * np.log2(p) + (1 - p) * np.log2(1 - p))
    total: NDArray[np.float64] = np.minimum(bits.sum(axis=1), 1.0)
    return total


def margin(proba: NDArray[np.floating]) -> NDArray[np.float64]:
    """1 − |best − rival| per detection: (M, C) → (M,), 0…1, 1 = a toss-up. The rival is the second best class or "no
    object", 1 − best, whichever is likelier: noise of .06 is surely nothing. With one class 1 − |2p − 1|."""
    ordered = np.sort(np.asarray(proba, dtype=np.float64), axis=1)
    best = ordered[:, -1]
    rival = np.maximum(ordered[:, -2], 1 - best) if ordered.shape[1] > 1 else 1 - best
    gap: NDArray[np.float64] = 1.0 - np.abs(best - rival)
    return gap


def score_detection(prediction: Prediction) -> Score:
    """Score of a tile from its detections: the mean of its `TOP` least sure ones, half entropy, half margin.

    A tile without any detection has a term of its own, `empty`: the binary entropy of the strongest response
    anywhere in the tile. So "surely empty" scores near 0, "almost found something" higher. A model that has not
    learned gives None: unknown is not 0.
    """
    if not prediction.knows:
        return Score(None)
    if len(prediction.proba) == 0:
        empty = float(entropy(np.array([[prediction.peak]]))[0])
        return Score(empty, {"empty": empty, "detections": 0.0})
    h, m = entropy(prediction.proba), margin(prediction.proba)
    mixed = ENTROPY_SHARE * h + (1 - ENTROPY_SHARE) * m
    worst = np.argsort(-mixed, kind="stable")[:TOP]
    terms = {
        "entropy": float(h[worst].mean()),
        "margin": float(m[worst].mean()),
        "detections": float(len(prediction.proba)),
    }
    return Score(float(mixed[worst].mean()), terms)
