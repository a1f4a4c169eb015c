"""How unsure a network is of the pixels of a tile.

Classes exclude each other, so the entropy is that of one distribution, as a share of the highest it can have.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from groundlook.core.types import Prediction, Score
from groundlook.scoring import detection
from groundlook.scoring.classification import entropy, margin

TOP_SHARE, LEAST = 0.05, 4
"""Of the cells, the share that is looked at, and the fewest."""
ENTROPY_SHARE = 0.5


def score_segmentation(prediction: Prediction) -> Score:
    """Score of a tile from its cells: the mean of its least sure twentieth, half entropy, half margin.

    A tile on which nothing was found has a term of its own, `empty`: the binary entropy of the highest foreground
    probability of any pixel, and 1 where that is over .5: something was seen that was too small or too unsure to be
    shown. So "surely empty" scores near 0. A model that has not learned gives None: unknown is not 0.
    """
    if not prediction.knows:
        return Score(None)
    if not prediction.regions or not len(prediction.proba):
        peak = float(np.clip(np.nan_to_num(prediction.peak), 0, 1))
        empty = 1.0 if peak > 0.5 else float(detection.entropy(np.array([[peak]]))[0])
        return Score(empty, {"empty": empty, "foreground": 0.0})
    h, m = entropy(prediction.proba), margin(prediction.proba)
    mixed = ENTROPY_SHARE * h + (1 - ENTROPY_SHARE) * m
    worst = np.argsort(-mixed, kind="stable")[: max(LEAST, round(TOP_SHARE * len(mixed)))]
    terms = {
        "entropy": float(h[worst].mean()),
        "margin": float(m[worst].mean()),
        "foreground": _foreground(prediction.proba),
    }
    return Score(float(mixed[worst].mean()), terms)


def _foreground(proba: NDArray[np.floating]) -> float:
    """The share of the tile that is likelier something than background."""
    return float((np.asarray(proba).argmax(axis=1) > 0).mean())
