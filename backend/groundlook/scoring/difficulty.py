"""Classes that a model finds hard count more (PPAL: Yang, Huang & Crowley, CVPR 2024, arXiv 2211.11612)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput

SHARE, SPEED, REACH = 0.6, 0.3, 0.2
"""The paper's ξ, α and β."""


def object_difficulty(
    confidence: NDArray[np.floating], iou: NDArray[np.floating], share: float = SHARE
) -> NDArray[np.float64]:
    """1 − confidence^ξ · iou^(1 − ξ): how hard each labelled object is. `confidence`: (R,), of its true class, of the
    detection that stands for it; `iou`: (R,), of the two boxes; both 0 where none does. → (R,), 0 = easy,
    1 = missed."""
    p, q = (np.clip(np.asarray(v, np.float64), 0, 1) for v in (confidence, iou))
    hard: NDArray[np.float64] = 1 - p**share * q ** (1 - share)
    return hard


def class_difficulty(difficulty: NDArray[np.floating], label: NDArray[np.integer], classes: int) -> NDArray[np.float64]:
    """The mean of each class's objects: (R,) and the class 0…C − 1 of each (R,) → (C,), 0…1, NaN for classes that
    nobody labelled yet. Where only the quality per class on held-out tasks is known, 1 − quality serves as well."""
    d, c = np.asarray(difficulty, np.float64), np.asarray(label, np.int64)
    known = np.isfinite(d)
    count = np.bincount(c[known], minlength=classes).astype(np.float64)
    total = np.bincount(c[known], d[known], classes)
    mean: NDArray[np.float64] = np.divide(total, count, out=np.full(classes, np.nan), where=count > 0)
    return mean


def class_weights(difficulty: NDArray[np.floating]) -> NDArray[np.float64]:
    """1 + α · β · ln(1 + (e^(1/α) − 1) · d): (C,) difficulties 0…1 → (C,), 1…1 + β, steep where classes are easy. A
    class of unknown difficulty (NaN) counts as the hardest: nothing says that the model knows it."""
    d = np.clip(np.nan_to_num(np.asarray(difficulty, np.float64), nan=1.0), 0, 1)
    weights: NDArray[np.float64] = 1 + SPEED * REACH * np.log1p(np.expm1(1 / SPEED) * d)
    return weights


def weighted(
    value: NDArray[np.float64], proba: NDArray[np.floating], weights: NDArray[np.floating] | None
) -> NDArray[np.float64]:
    """`value` (M,) of detections, each times the weight of its likeliest class as a share of the highest weight, so
    that 0…1 stays 0…1. `proba`: (M, C); `weights`: (C,), or None, which changes nothing. Raises InvalidInput."""
    if weights is None:
        return value
    w = np.asarray(weights, np.float64)
    if w.shape != (proba.shape[1],) or not np.isfinite(w).all() or (w <= 0).any():
        raise InvalidInput(f"weights {w.tolist()} for {proba.shape[1]} classes: give each one above 0")
    best = np.nan_to_num(np.asarray(proba, np.float64)).argmax(axis=1)
    counted: NDArray[np.float64] = value * w[best] / w.max()
    return counted
