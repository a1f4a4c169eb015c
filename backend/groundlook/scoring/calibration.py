"""What a model says, made to mean what it says: fitted to held-out labels, and how far off it was before and after.

Isotonic regression is in `isotonic`; both maps have `apply`, and are values that can be kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput

BINS, FOLDS = 15, 5
COLDEST, HOTTEST = 0.1, 10.0
Floats = NDArray[np.float64]
Fit = TypeVar("Fit")


@dataclass(frozen=True, slots=True)
class Calibrated(Generic[Fit]):
    """`map`: what was fitted, to all labels. `before`, `after`: expected calibration error without it, and with maps
    that were fitted to four fifths and applied to the fifth left out; None where there was nothing to measure on.
    `labels`: how many there were."""

    map: Fit
    before: float | None
    after: float | None
    labels: int


@dataclass(frozen=True, slots=True)
class Temperature:
    """Logits ÷ `value`: over 1 makes surer answers less sure, 1 changes nothing (Guo et al., ICML 2017, sec. 4.2).
    `exclusive`: rows sum to 1 (softmax); else every probability is one of its own (sigmoid)."""

    value: float = 1.0
    exclusive: bool = True

    def apply(self, proba: NDArray[np.floating]) -> Floats:
        """Probabilities (N, C) → (N, C): the order within a row stays, NaN rows stay."""
        return _warm(_logits(proba, self.exclusive), 1 / self.value, self.exclusive)


def fit_temperature(
    proba: NDArray[np.floating], truth: NDArray[np.integer] | NDArray[np.bool_]
) -> Calibrated[Temperature]:
    """The temperature of the least negative log-likelihood on held-out labels, within 0.1…10.

    `proba`: (N, C). `truth`: int (N,), the class of each row, of classes that exclude each other; or bool (N, C), which
    of them hold, of independent ones. Targets are smoothed by the number of labels (Platt 1999), so that ten labels
    that were all right make nobody certain. Rows that are not finite are left out; of no label, or of a single class,
    the temperature is 1. Raises InvalidInput.
    """
    p, true = np.asarray(proba, np.float64), np.asarray(truth)
    exclusive = true.ndim == 1
    if p.ndim != 2 or true.shape != ((len(p),) if exclusive else p.shape):
        raise InvalidInput(f"probabilities {p.shape}, truth {true.shape}: give (N, C) with (N,) or (N, C)")
    if exclusive and len(true) and not 0 <= true.min() <= true.max() < p.shape[1]:
        raise InvalidInput(
            f"classes {true.min()}…{true.max()} of {p.shape[1]}: give each a column of the probabilities"
        )
    known = np.isfinite(p).all(axis=1)
    p, true = p[known], true[known]
    target = np.eye(p.shape[1])[true.astype(int)] if exclusive else true.astype(np.float64)

    def fit(rows: NDArray[np.int64]) -> Temperature:
        return Temperature(_temperature(p[rows], target[rows], exclusive), exclusive)

    def error(said: Floats) -> float | None:
        return top_error(said, true) if exclusive else calibration_error(said.ravel(), target.ravel())

    return crossed(p, fit, lambda found, rows: found.apply(p[rows]), error)


def crossed(
    said: Floats,
    fit: Callable[[NDArray[np.int64]], Fit],
    apply: Callable[[Fit, NDArray[np.int64]], Floats],
    error: Callable[[Floats], float | None],
) -> Calibrated[Fit]:
    """Fit to all of `said` (N, …), and measure on fifths that were left out in turn."""
    count = len(said)
    held = np.array(said, np.float64)
    folds = np.random.default_rng(0).permutation(count) % min(FOLDS, max(count, 1))
    for fold in range(min(FOLDS, count)) if count > 1 else ():
        out = np.flatnonzero(folds == fold)
        held[out] = apply(fit(np.flatnonzero(folds != fold)), out)
    return Calibrated(fit(np.arange(count)), error(said), error(held) if count > 1 else None, count)


def calibration_error(said: NDArray[np.floating], true: NDArray[np.floating]) -> float | None:
    """Expected calibration error: the mean of |mean said − share true| over `BINS` equal bins of what was said, by
    their size (Naeini et al., AAAI 2015). `said`: (N,) 0…1; `true`: (N,), 0 or 1. None for N = 0."""
    p, y = np.asarray(said, np.float64), np.asarray(true, np.float64)
    if not len(p):
        return None
    places = np.clip((p * BINS).astype(int), 0, BINS - 1)
    gaps = np.abs(np.bincount(places, p, BINS) - np.bincount(places, y, BINS))
    return float(gaps.sum() / len(p))


def top_error(proba: NDArray[np.floating], truth: NDArray[np.integer]) -> float | None:
    """The same of the likeliest class of each row: (N, C) and its true class (N,)."""
    p = np.asarray(proba, np.float64)
    right = p.argmax(axis=1) == np.asarray(truth) if p.size else np.zeros(0)
    return calibration_error(p.max(axis=1, initial=0), right.astype(np.float64))


def _temperature(proba: Floats, target: Floats, exclusive: bool) -> float:
    """The likelihood is convex in 1 ÷ temperature, so its slope is halved to 0."""
    count, classes = proba.shape
    if not count or (exclusive and classes < 2):
        return 1.0
    smooth = 1 / (count + 2)
    target = (1 - smooth) * target + smooth * (1 / classes if exclusive else 0.5)
    logits = _logits(proba, exclusive)

    def slope(power: float) -> float:
        return float(((_warm(logits, power, exclusive) - target) * logits).sum())

    low, high = 1 / HOTTEST, 1 / COLDEST
    if abs(slope(low)) < 1e-12 and abs(slope(high)) < 1e-12:
        return 1.0  # all logits alike: any temperature says the same
    for _ in range(60):
        middle = (low * high) ** 0.5
        low, high = (low, middle) if slope(middle) > 0 else (middle, high)
    return float(1 / (low * high) ** 0.5)


def _logits(proba: NDArray[np.floating], exclusive: bool) -> Floats:
    p = np.clip(np.asarray(proba, np.float64), 1e-7, 1 - 1e-7)
    logits: Floats = np.log(p) if exclusive else np.log(p) - np.log1p(-p)
    return logits


def _warm(logits: Floats, power: float, exclusive: bool) -> Floats:
    scaled = logits * power
    if not exclusive:
        single: Floats = 1 / (1 + np.exp(-scaled))
        return single
    odds = np.exp(scaled - scaled.max(axis=1, keepdims=True, initial=-np.inf))
    rows: Floats = odds / odds.sum(axis=1, keepdims=True)
    return rows
