"""What a live project can know of the labels it saved, and of what the next ones are worth: the arithmetic.

What can be known without a second team that labels at random is less than what a replay shows, so each number says
what it assumes. Tasks of the random stream are drawn from all open tasks alike: a mean over them holds for all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput

Floats = NDArray[np.float64]
_POWERS = np.geomspace(0.05, 2.0, 60)
_DRAWS = 1000
LEAST_POINTS = 4
"""Trainings that a learning curve needs: three numbers are fitted, and something must be left to doubt them by."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Curve:
    """quality = a − b · n^−c of n labels, a ≤ 1, b ≥ 0 (Hestness et al. 2017; Viering & Loog, TPAMI 2022)."""

    a: float
    b: float
    c: float

    def at(self, labels: float | Floats) -> Floats:
        """Quality after `labels`."""
        return np.asarray(self.a - self.b * np.asarray(labels, np.float64) ** -self.c, np.float64)

    def gain(self, labels: float, more: float) -> float:
        """What `more` labels after `labels` add."""
        return float(self.at(labels + more) - self.at(labels))

    def reaches(self, target: float) -> float:
        """The labels that come to `target`; inf for one that no number does."""
        if self.b <= 0 or self.a <= target:
            return 0.0 if self.b <= 0 and self.a >= target else float("inf")
        return float((self.b / (self.a - target)) ** (1 / self.c))


def mean_of(values: Floats) -> Estimate:
    """The mean of (n,) values within 0…1 that were drawn at random, with Wilson's interval (JASA 1927). It is exact in
    spirit for 0 and 1, and too wide for what lies between: nothing within 0…1 varies more. Raises InvalidInput."""
    if len(values) == 0:
        raise InvalidInput("no task of the random stream was answered yet")
    n, p, z = len(values), float(values.mean()), 1.959964
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * float(np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))) / (1 + z * z / n)
    return Estimate(p, min(max(centre - half, 0.0), p), max(min(centre + half, 1.0), p))


def random_labels(chosen: Floats, random: Floats, seed: int = 0) -> Estimate:
    """How many tasks at random hold as many of the model's mistakes as the chosen ones did: n · mean(chosen) /
    mean(random). `chosen` (n,), `random` (m,): 1 − agreement of the model with people, of tasks that it had not learned
    from yet. The interval is the percentile bootstrap over both.

    It assumes that a label is worth what it corrects. Chosen tasks that all correct the same thing, or that are hard
    because they can't be told, make it too high: in nine of ten replays on UC Merced, five strategies and two seeds, it
    was 1.1 to 1.8 times what random really needed. So read it as at most; training on the stream (loop/prove.py) says
    more. inf where the model was never wrong at random. Raises InvalidInput where there is
    nothing to compare."""
    if len(chosen) == 0 or len(random) == 0:
        raise InvalidInput(f"{len(chosen)} chosen and {len(random)} random tasks were answered under a trained model")
    rng = np.random.default_rng(seed)
    theirs = random[rng.integers(len(random), size=(_DRAWS, len(random)))].mean(axis=1)
    ours = chosen[rng.integers(len(chosen), size=(_DRAWS, len(chosen)))].mean(axis=1)
    low, high = np.quantile(len(chosen) * _over(ours, theirs), [0.025, 0.975], method="nearest")
    return Estimate(float(len(chosen) * _over(chosen.mean(), random.mean())), float(low), float(high))


def _over(ours: Floats | np.floating, theirs: Floats | np.floating) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.asarray(ours, np.float64) / np.asarray(theirs, np.float64)
    return np.where(np.isnan(found), 1.0, found)  # neither was ever wrong: a label is a label


def fit(labels: Floats, quality: Floats) -> Curve:
    """The curve with the least squares through (n,) points. Raises InvalidInput for fewer than LEAST_POINTS different
    numbers of labels."""
    return _fits(labels, quality[None])[0]


def _fits(labels: Floats, rows: Floats) -> list[Curve]:
    """A curve through each of `rows` (S, n): for each of P powers the rest is linear; the best power of each row."""
    known = len(np.unique(labels))
    if known < LEAST_POINTS:
        raise InvalidInput(f"{known} trainings on different numbers of labels; a curve needs {LEAST_POINTS}")
    fall = labels[None] ** -_POWERS[:, None]
    spread = fall - fall.mean(axis=1, keepdims=True)
    b = np.maximum(-(spread @ rows.T) / (spread**2).sum(axis=1)[:, None], 0.0)
    a = rows.mean(axis=1)[None] + b * fall.mean(axis=1)[:, None]
    capped = np.maximum(fall @ (1 - rows).T / (fall**2).sum(axis=1)[:, None], 0.0)  # the best with a = 1
    a, b = np.where(a > 1, 1.0, a), np.where(a > 1, capped, b)
    misses = ((a[:, :, None] - b[:, :, None] * fall[:, None] - rows[None]) ** 2).sum(axis=2)
    return [Curve(float(a[p, s]), float(b[p, s]), float(_POWERS[p])) for s, p in enumerate(misses.argmin(axis=0))]


def curves(labels: Floats, quality: Floats, draws: int = 200, seed: int = 0) -> list[Curve]:
    """The curve, then `draws` more that the same points could as well have given: residuals drawn anew, widened for the
    three numbers that were fitted (Efron & Tibshirani 1993, 9.5)."""
    best = fit(labels, quality)
    left = quality - best.at(labels)
    wide = left * np.sqrt(len(labels) / max(len(labels) - 3, 1))
    rng = np.random.default_rng(seed)
    again = best.at(labels) + (wide - wide.mean())[rng.integers(len(labels), size=(draws, len(labels)))]
    return [best, *_fits(labels, again)]


def _interval(values: list[float]) -> Estimate:
    low, high = np.quantile(values, [0.025, 0.975], method="nearest")
    return Estimate(values[0], float(low), float(high))


def worth(found: list[Curve], labels: float, more: float) -> Estimate:
    """What the next `more` labels add to the quality. It assumes that the curve goes on as it went, and that what is
    still open is like what was labelled."""
    return _interval([c.gain(labels, more) for c in found])


def needed(found: list[Curve], target: float) -> Estimate:
    """The labels in all that come to `target`; inf where the curve levels off below it."""
    return _interval([c.reaches(target) for c in found])


def verdict(gain: Estimate, least: float) -> str:
    """The stop rule: "stop" where the next labels are surely worth less than `least`, "go on" where surely more,
    "unsure" between."""
    if gain.high < least:
        return "stop"
    return "go on" if gain.low > least else "unsure"
