"""How unsure a segmenter is of its masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from groundlook.core.prompts import Cut

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
    names = ("predicted_iou", "stability", "disagreement")
    table = np.array([[cut.terms.get(name, np.nan) for name in names] for cut in cuts], np.float64).reshape(-1, 3)
    return mask_uncertainty(*table.T)
