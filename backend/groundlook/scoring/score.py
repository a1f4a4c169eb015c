"""Prediction → Score, whatever the model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from groundlook.core.types import Prediction, Score
from groundlook.scoring.boxes import box_uncertainty
from groundlook.scoring.classification import score_classification
from groundlook.scoring.detection import score_detection
from groundlook.scoring.segmentation import score_segmentation

BOX_SHARE = 0.25


def score_prediction(prediction: Prediction, weights: NDArray[np.floating] | None = None) -> Score:
    """How worth labelling a tile is, 0…1, by what kind of prediction it has; `terms` say how it was put together.

    Detections whose network says how sure it is of the sides of its boxes (`spread`) have a further term, `box`, a
    quarter of the score. `weights`: (C,), how much each class counts in detections (`difficulty.class_weights`). None
    for a model that has not learned: unknown is not 0.
    """
    if prediction.kind == "segmentation":
        return score_segmentation(prediction)
    if prediction.kind != "detection":
        return score_classification(prediction)
    score = score_detection(prediction, weights)
    box = box_uncertainty(prediction) if score.value is not None else None
    if score.value is None or box is None:
        return score
    return Score((1 - BOX_SHARE) * score.value + BOX_SHARE * box, {**score.terms, "box": box})
