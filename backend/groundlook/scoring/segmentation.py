"""How unsure a network is of the pixels of a tile.

Classes exclude each other, so the entropy is that of one distribution, as a share of the highest it can have.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput
from groundlook.core.mask import Mask
from groundlook.core.types import Prediction, Score
from groundlook.scoring.aggregate import empty_term, least_sure, per_task
from groundlook.scoring.classification import entropy, margin
from groundlook.scoring.pixels import cell_grid, region_means

TOP_SHARE, LEAST = 0.05, 4
"""Of the cells, the share that is looked at, and the fewest."""


def score_segmentation(prediction: Prediction) -> Score:
    """Score of a tile from its cells: the mean of its least sure twentieth, half entropy, half margin. `regions`, told
    beside it, is the mean entropy of the pixels of its least sure regions.

    A tile on which nothing was found has a term of its own, `empty`: the binary entropy of the highest foreground
    probability of any pixel, and 1 where that is over .5: something was seen that was too small or too unsure to be
    shown. So "surely empty" scores near 0. A model that has not learned, or says NaN of every cell, gives None:
    unknown is not 0.
    """
    if not prediction.knows:
        return Score(None)
    if not prediction.regions or not len(prediction.proba):
        empty = 1.0 if prediction.peak > 0.5 else float(empty_term(np.array([prediction.peak]))[0])
        return Score(empty, {"empty": empty, "foreground": 0.0}) if np.isfinite(empty) else Score(None)
    unsure = entropy(prediction.proba)
    found = least_sure(unsure, margin(prediction.proba), max(LEAST, round(TOP_SHARE * len(unsure))))
    if found is None:
        return Score(None)
    value, terms = found
    terms["foreground"] = _foreground(prediction.proba)
    of_regions = _regions(prediction, unsure)
    if np.isfinite(of_regions):
        terms["regions"] = of_regions
    return Score(value, terms)


def _regions(prediction: Prediction, unsure: NDArray[np.float64]) -> float:
    """NaN where no region is a mask of the tile, or the cells are no grid over it: brought models may differ."""
    masks = [r.shape for r in prediction.regions if isinstance(r.shape, Mask)]
    masks = [mask for mask in masks if (mask.width, mask.height) == prediction.size]
    if not masks:
        return float("nan")
    try:
        means = region_means(cell_grid(unsure, prediction.size), masks, prediction.size)
    except InvalidInput:
        return float("nan")
    return float(per_task(means, np.zeros(len(means), np.int64), np.array([np.nan]))[0])


def _foreground(proba: NDArray[np.floating]) -> float:
    """The share of the tile that is likelier something than background."""
    return float((np.nan_to_num(np.asarray(proba)).argmax(axis=1) > 0).mean())
