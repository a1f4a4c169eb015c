"""Calibration by any ascending map: needs more labels than a temperature, and no shape of the curve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput
from groundlook.scoring.calibration import Calibrated, Floats, calibration_error, crossed


@dataclass(frozen=True, slots=True)
class Isotonic:
    """Straight lines between the points (`x`, `y`), both ascending, 0…1; flat beyond them. Without a point, as said."""

    x: tuple[float, ...] = ()
    y: tuple[float, ...] = ()

    def apply(self, said: NDArray[np.floating]) -> Floats:
        """Float64 of the shape of `said`; of classes that exclude each other, make rows sum to 1 again afterwards
        (Zadrozny & Elkan, KDD 2002)."""
        p = np.asarray(said, np.float64)
        return np.interp(p, self.x, self.y) if self.x else p.copy()


def fit_isotonic(said: NDArray[np.floating], true: NDArray[np.bool_]) -> Calibrated[Isotonic]:
    """Isotonic regression of whether it was true on what was said, both (N,), on held-out labels; no surer than their
    number allows, 1 ÷ (N + 2). Pairs that are not finite are left out; of no label, nothing changes. Raises
    InvalidInput."""
    p, y = np.asarray(said, np.float64), np.asarray(true, np.float64)
    if p.ndim != 1 or p.shape != y.shape:
        raise InvalidInput(f"{p.shape} probabilities for {y.shape} answers: give (N,) of both")
    known = np.isfinite(p) & np.isfinite(y)
    p, y = p[known], y[known]
    return crossed(
        p,
        lambda rows: _fitted(p[rows], y[rows]),
        lambda found, rows: found.apply(p[rows]),
        lambda given: calibration_error(given, y),
    )


def _fitted(p: Floats, y: Floats) -> Isotonic:
    if not len(p):
        return Isotonic()
    x, place, count = np.unique(p, return_inverse=True, return_counts=True)
    level = pooled(np.bincount(place, y) / count, count.astype(np.float64))
    least = 1 / (len(p) + 2)
    level = np.clip(level, least, 1 - least)
    # Of a flat stretch its two ends are enough.
    flat = np.zeros(len(x), bool)
    flat[1:-1] = (level[1:-1] == level[:-2]) & (level[1:-1] == level[2:])
    return Isotonic(tuple(x[~flat].tolist()), tuple(level[~flat].tolist()))


def pooled(values: Floats, weights: Floats) -> Floats:
    """The ascending numbers nearest to `values` (N,) by squares, weighted: neighbours that descend are pooled until
    none do (pool adjacent violators; Ayer et al. 1955). O(N)."""
    means: list[float] = []
    masses: list[float] = []
    sizes: list[int] = []
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        mean, mass, size = value, weight, 1
        while means and means[-1] >= mean:
            earlier = masses.pop()
            mean = (means.pop() * earlier + mean * mass) / (earlier + mass)
            mass, size = mass + earlier, size + sizes.pop()
        means.append(mean)
        masses.append(mass)
        sizes.append(size)
    return np.repeat(np.array(means, np.float64), np.array(sizes, np.int64))
