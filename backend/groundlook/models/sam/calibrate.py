"""Fit how good masks are likely to be to masks that people drew."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput
from groundlook.core.mask import Mask
from groundlook.core.ports import Segmenter
from groundlook.core.prompts import Picture, Prompts
from groundlook.models.sam.quality import Calibration, raw_score

LEAST = 30
"""Fewer masks than this say nothing."""
_FOLDS, _BINS = 5, 10

Floats = NDArray[np.float64]


def fit(raw: Sequence[float], iou: Sequence[float]) -> Calibration:
    """Isotonic regression (Zadrozny & Elkan, KDD 2002) of true IoU on raw score, both (N,), 0…1. The error afterwards
    is measured on fifths that were left out in turn. Raises InvalidInput for fewer than 30 pairs, or other numbers."""
    x, y = np.asarray(raw, np.float64), np.asarray(iou, np.float64)
    if x.shape != y.shape or len(x) < LEAST:
        raise InvalidInput(f"{len(x)} raw scores and {len(y)} IoUs; a calibration takes {LEAST} masks or more")
    if not all(np.isfinite(v).all() and v.min() >= 0 and v.max() <= 1 for v in (x, y)):
        raise InvalidInput("raw scores and IoUs must be within 0…1")
    folds = np.random.default_rng(0).permutation(len(x)) % _FOLDS
    held = np.empty_like(y)
    for fold in range(_FOLDS):
        held[folds == fold] = np.interp(x[folds == fold], *_isotonic(x[folds != fold], y[folds != fold]))
    knots, values = _isotonic(x, y)
    return Calibration(tuple(knots.tolist()), tuple(values.tolist()), len(x), error(x, y), error(held, y))


def error(said: Floats, true: Floats) -> float:
    """Expected calibration error: the mean of |mean said − mean true| over ten bins of what was said, by their size."""
    places = np.minimum((said * _BINS).astype(int), _BINS - 1)
    sizes = np.bincount(places, minlength=_BINS)
    gaps = np.abs(np.bincount(places, said, _BINS) - np.bincount(places, true, _BINS))
    return float(gaps.sum() / sizes.sum())


def pairs(segmenter: Segmenter, people: Iterable[tuple[Picture, Sequence[Mask]]]) -> tuple[list[float], list[float]]:
    """(raw scores, true IoUs) of what `segmenter` makes of each mask when it is clicked on, and when a box is drawn."""
    raw, iou = [], []
    for picture, masks in people:
        asked = [(prompts, mask) for mask in masks if mask.area for prompts in pointed(mask)]
        cuts = segmenter.segment(picture, [prompts for prompts, _ in asked])
        for cut, (_, mask) in zip(cuts, asked, strict=True):
            raw.append(raw_score(cut.terms.get("predicted_iou", 0.0), cut.terms.get("stability", 0.0)))
            iou.append(overlap(cut.mask, mask))
    return raw, iou


def pointed(mask: Mask) -> Iterator[Prompts]:
    """How somebody would ask for `mask`: a click where it is widest, and a box."""
    padded = np.pad(mask.pixels().astype(np.uint8), 1)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    yield Prompts(np.array([[x, y]], np.float32), np.array([True]))
    (x0, y0), (x1, y1) = mask.corners()[[0, 2]]
    yield Prompts(box=(float(x0), float(y0), float(x1), float(y1)))


def overlap(a: Mask, b: Mask) -> float:
    """IoU of two masks of one size, 0 where both are empty."""
    left, right = a.pixels(), b.pixels()
    union = int(np.count_nonzero(left | right))
    return int(np.count_nonzero(left & right)) / union if union else 0.0


def _isotonic(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    from sklearn.isotonic import IsotonicRegression

    found = IsotonicRegression(y_min=0, y_max=1).fit(x, y)
    return np.asarray(found.X_thresholds_, np.float64), np.asarray(found.y_thresholds_, np.float64)
