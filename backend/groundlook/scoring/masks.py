"""How unsure a segmenter is of its masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from groundlook.core.prompts import Cut, mask_terms
from groundlook.core.types import Prediction

TOP = 5
DOUBT = 0.5
"""How much the masks not chosen count: a part and the whole differ without either being wrong."""


def mask_uncertainty(
    predicted_iou: NDArray[np.floating], stability: NDArray[np.floating], disagreement: NDArray[np.floating]
) -> NDArray[np.float64]:
    """1 − predicted IoU · stability · (1 − disagreement / 2), all (M,), 0…1 (cut to that) → (M,), 0 = sure.

    The IoU that Segment Anything expects, the IoU of its masks at thresholds one logit stricter and laxer, and 1 − the
    mean IoU with the masks of the same click that were not chosen (Kirillov et al. 2023, sec. 3 and app. B), as if the
    three erred independently. What is not known of a mask (NaN) is left out; all three unknown is NaN.
    """
    terms = np.stack([np.asarray(v, np.float64) for v in (predicted_iou, stability, disagreement)])
    sure = np.clip(terms, 0, 1)
    sure[2] = 1 - DOUBT * sure[2]
    doubt: NDArray[np.float64] = 1 - np.where(np.isnan(terms), 1.0, sure).prod(axis=0)
    return np.where(np.isnan(terms).all(axis=0), np.nan, doubt)


def cuts_uncertainty(cuts: Sequence[Cut]) -> NDArray[np.float64]:
    """The same of each Cut, (M,), by the terms it has."""
    return mask_uncertainty(*mask_terms(cuts).T)


def masks_uncertainty(prediction: Prediction) -> float | None:
    """0…1: the mean over the `TOP` least sure of the masks that a segmenter cut out; None where it cut out none."""
    if prediction.masks is None or not len(prediction.masks):
        return None
    doubt = mask_uncertainty(*prediction.masks.T)
    doubt = np.sort(doubt[np.isfinite(doubt)])[::-1][:TOP]
    return float(doubt.mean()) if len(doubt) else None
