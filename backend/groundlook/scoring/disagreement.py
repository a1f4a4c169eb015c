"""Several Predictions of one tile: by models of a committee, or by one model that looked at it turned and scaled."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from groundlook.core.errors import InvalidInput
from groundlook.core.geometry import WholeTile, envelope
from groundlook.core.types import Prediction, Score
from groundlook.scoring.committee import mean_divergence
from groundlook.scoring.consistency import View, inconsistency
from groundlook.scoring.segmentation import TOP_SHARE

SHARE = 0.5
"""Of the score, by disagreement; the rest is that of the first prediction."""


def disagreement(predictions: Sequence[Prediction]) -> float:
    """0 = of one mind, 1 = as far apart as can be; NaN without two that know.

    Detections: `consistency.inconsistency` of the first with the others, by their regions. Pixels: the mean divergence
    of the twentieth of cells where the predictions differ most. Classes: the mean divergence; where several may hold,
    that of the class they differ most on. Raises InvalidInput for predictions of different kinds.
    """
    known = [p for p in predictions if p.knows]
    if len({p.kind for p in known}) > 1:
        raise InvalidInput(f"predictions of kinds {sorted({p.kind for p in known})} can't be compared: give one kind")
    if len(known) < 2:
        return float("nan")
    if known[0].kind == "detection":
        labels = sorted({region.label for p in known for region in p.regions})
        looks = [_view(p, labels) for p in known]
        return inconsistency(looks[0], looks[1:])
    if len({p.proba.shape for p in known}) > 1:
        raise InvalidInput(f"probabilities of shapes {[p.proba.shape for p in known]} can't be compared")
    proba = np.stack([p.proba for p in known]).astype(np.float64)
    if known[0].kind == "classification-multiple":
        each = proba.reshape(len(known), -1, 1)
        proba = np.concatenate([each, 1 - each], axis=2)
    apart = mean_divergence(proba)
    apart = np.sort(apart[np.isfinite(apart)])[::-1]
    most = max(1, round(TOP_SHARE * len(apart))) if known[0].kind == "segmentation" else 1
    return float(apart[:most].mean()) if len(apart) else float("nan")


def with_disagreement(score: Score, predictions: Sequence[Prediction]) -> Score:
    """`score` of the first prediction, and by half how far the others lie from it: the term `disagreement`. Unchanged
    where it is unknown."""
    apart = disagreement(predictions)
    if score.value is None or not np.isfinite(apart):
        return score
    return Score((1 - SHARE) * score.value + SHARE * apart, {**score.terms, "disagreement": apart})


def _view(prediction: Prediction, labels: Sequence[str]) -> View:
    """Of every region its envelope, and its score under its label: a region has no more."""
    regions = [r for r in prediction.regions if not isinstance(r.shape, WholeTile)]
    proba = np.zeros((len(regions), len(labels)))
    for row, region in enumerate(regions):
        proba[row, labels.index(region.label)] = 1.0 if region.score is None else region.score
    boxes = np.array([envelope(r.shape) for r in regions], np.float64).reshape(-1, 4)
    return boxes, proba
