"""What each strategy has gained, and shares that follow it where it is beyond doubt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from groundlook.core.pool import Round

LEAST = 3
"""Rounds of a strategy, before its gains say anything."""
PROVEN = 2.0
"""Standard errors by which two strategies must differ."""
_SHRINK = 3.0
"""Rounds without any gain that are added to those of each strategy."""


def gains(rounds: Sequence[Round]) -> dict[str, NDArray[np.float64]]:
    """Of each strategy, by how much quality rose in its rounds beyond what the labels alone explain: quality is taken
    to grow with the logarithm of the labels, fitted to all rounds (K,). Rounds whose quality, or that before them, is
    not finite are left out. Empty for fewer than two rounds that can be compared."""
    known = [(a, b) for a, b in pairwise(rounds) if _comparable(a, b)]
    if len(known) < 2:
        return {}
    rise = np.array([b.quality - a.quality for a, b in known])
    steps = np.array([np.log(b.labels / a.labels) for a, b in known])
    surplus = rise - steps * float(rise @ steps) / float(steps @ steps)
    found: dict[str, list[float]] = {}
    for (_, after), value in zip(known, surplus.tolist(), strict=True):
        found.setdefault(after.strategy, []).append(value)
    return {name: np.array(values) for name, values in found.items()}


def shifted(shares: Mapping[str, float], gained: Mapping[str, NDArray[np.float64]]) -> tuple[dict[str, float], str]:
    """`shares` times e^t (exponential weights; Auer et al. 2002), with t the mean gain of each in standard errors,
    shrunk by how few rounds it has had and cut to ±2, and what was learned; `shares` and "" unless two strategies of
    `LEAST` rounds differ by `PROVEN` standard errors. Shares sum to 1."""
    whole = sum(shares.values())
    plain = {name: share / whole for name, share in shares.items()}
    usable = {name: gained[name] for name in shares if len(gained.get(name, ())) >= LEAST}
    if len(usable) < 2:
        return plain, ""
    within = np.concatenate([v - v.mean() for v in usable.values()])
    spread = max(float(np.sqrt((within**2).sum() / (len(within) - len(usable)))), 1e-6)
    means = {name: float(v.mean()) for name, v in usable.items()}
    best, worst = max(means, key=means.__getitem__), min(means, key=means.__getitem__)
    error = spread * float(np.sqrt(1 / len(usable[best]) + 1 / len(usable[worst])))
    if (means[best] - means[worst]) / error < PROVEN:
        return plain, ""
    middle = float(np.mean(list(means.values())))
    odds = dict(plain)
    for name, values in usable.items():
        count = len(values)
        t = (means[name] - middle) / spread * np.sqrt(count) * count / (count + _SHRINK)
        odds[name] *= float(np.exp(np.clip(t, -2, 2)))
    total = sum(odds.values())
    told = f"measured: {best} gains {means[best] - means[worst]:.3f} a round more than {worst}"
    return {name: value / total for name, value in odds.items()}, told


def _comparable(before: Round, after: Round) -> bool:
    return bool(np.isfinite(before.quality) and np.isfinite(after.quality) and after.labels > before.labels > 0)
