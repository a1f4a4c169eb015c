"""Learning curves: labels to a target, the area below, and bands over seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def labels_to(labels: Floats, quality: Floats, target: float) -> float:
    """The labels (or seconds) at which a curve first reaches `target`: on the straight line between two rounds; those
    of the first round where it is reached there; inf where it never is. Both float64 (R,), `labels` increasing."""
    reached = np.flatnonzero(quality >= target)
    if len(reached) == 0:
        return float("inf")
    after = int(reached[0])
    if after == 0 or not np.isfinite(quality[after - 1]):
        return float(labels[after])
    share = (target - quality[after - 1]) / (quality[after] - quality[after - 1])
    return float(labels[after - 1] + share * (labels[after] - labels[after - 1]))


def common(xs: Sequence[Floats]) -> tuple[float, float]:
    """Where all curves are known: from the last beginning to the first end."""
    return max(float(x[0]) for x in xs), min(float(x[-1]) for x in xs)


def area(labels: Floats, quality: Floats, low: float, high: float) -> float:
    """The mean height of a curve between `low` and `high`, 0…1 like the quality: the area below it, by trapezoids, over
    the width. The height at `low` where there is no width."""
    if high <= low:
        return float(np.interp(low, labels, quality))
    inside = labels[(labels > low) & (labels < high)]
    at = np.concatenate([[low], inside, [high]])
    heights = np.interp(at, labels, quality)
    return float((np.diff(at) * (heights[1:] + heights[:-1])).sum() / 2 / (high - low))


def on(grid: Floats, xs: Sequence[Floats], qualities: Sequence[Floats]) -> Floats:
    """Float64 (S, G): the heights of S curves at the points of `grid` (G,), on straight lines between rounds."""
    return np.stack([np.interp(grid, x, q) for x, q in zip(xs, qualities, strict=True)])


def band(values: Floats, draws: int = 2000, seed: int = 0) -> tuple[Floats, Floats, Floats]:
    """Mean, 2.5 % and 97.5 % of the mean of `values` (S, …) over its S seeds, by the percentile bootstrap (Efron &
    Tibshirani 1993, ch. 13): how sure the mean is, not how wide the seeds spread. No width for one seed."""
    picks = np.random.default_rng(seed).integers(len(values), size=(draws, len(values)))
    weights = np.stack([np.bincount(p, minlength=len(values)) for p in picks]) / len(values)
    means = np.tensordot(weights, values, axes=1)
    low, high = np.quantile(means, [0.025, 0.975], axis=0)
    return values.mean(axis=0), low, high
