"""Prediction → Score, whatever the model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from groundlook.core.types import Prediction, Score
from groundlook.scoring.boxes import box_uncertainty
from groundlook.scoring.calibration import Temperature, fit_temperature
from groundlook.scoring.classification import score_classification
from groundlook.scoring.detection import score_detection
from groundlook.scoring.masks import masks_uncertainty
from groundlook.scoring.segmentation import score_segmentation

SHARE = 0.25


def calibrate(answers: tuple[NDArray[np.floating], NDArray[np.integer] | NDArray[np.bool_]]) -> dict[str, float]:
    """Of probabilities and what was so (`calibration.fit_temperature`): `temperature`, and the expected calibration
    error without it, `ece`, and with it, `ece_calibrated`, where there was anything to measure on."""
    found = fit_temperature(*answers)
    errors = {"ece": found.before, "ece_calibrated": found.after}
    return {"temperature": found.map.value, **{name: e for name, e in errors.items() if e is not None}}


def score_calibrated(prediction: Prediction, temperature: float = 1.0) -> Score:
    """`score_prediction`, of probabilities at the temperature that was fitted to held-out labels. Cells of
    segmentations stay as they are: nothing was fitted to them."""
    if temperature != 1 and prediction.kind != "segmentation" and prediction.proba.size:
        exclusive = prediction.kind == "classification"
        warm = Temperature(temperature, exclusive).apply(prediction.proba).astype(np.float32)
        prediction = replace(prediction, proba=warm)
    return score_prediction(prediction)


def score_prediction(prediction: Prediction, weights: NDArray[np.floating] | None = None) -> Score:
    """How worth labelling a tile is, 0…1, by what kind of prediction it has; `terms` say how it was put together.

    Detections whose network says how sure it is of the sides of its boxes (`spread`) have a further term, `box`, a
    quarter of the score; those that a segmenter cut out have one, `mask`, a quarter of what then comes. `weights`:
    (C,), how much each class counts in detections (`difficulty.class_weights`). None for a model that has not learned:
    unknown is not 0.
    """
    if prediction.kind == "segmentation":
        return score_segmentation(prediction)
    if prediction.kind != "detection":
        return score_classification(prediction)
    score = score_detection(prediction, weights)
    for name, uncertainty in (("box", box_uncertainty), ("mask", masks_uncertainty)):
        found = uncertainty(prediction) if score.value is not None else None
        if score.value is not None and found is not None:
            score = Score((1 - SHARE) * score.value + SHARE * found, {**score.terms, name: found})
    return score
