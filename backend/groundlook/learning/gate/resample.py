"""The spatial block bootstrap: how far a number could have come out otherwise, had other ground been held out.

Neighbouring tiles are alike, so whole map blocks are drawn, with replacement (Künsch 1989; Lahiri 2003, ch. 12). Both
models are measured on the same draws, so what makes a block hard for both cancels out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from groundlook.core.tally import Floats, Ints
from groundlook.learning.gate.verdict import Measured

DRAWS = 2000
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """A number: its `value`, and what came of it in each draw (B,), NaN where a draw held none of it; `blocks`: how
    many map blocks it rests on."""

    value: float
    drawn: Floats
    blocks: int

    def minus(self, other: Spread) -> Spread:
        """The difference, draw by draw."""
        return Spread(self.value - other.value, self.drawn - other.drawn, self.blocks)

    def quantile(self, share: float) -> float:
        """The percentile, taken further out for few blocks: so far that a mean's interval is as wide as Student's
        (Hesterberg, The American Statistician 2015, 5.3). NaN for fewer than two blocks.

        A better answer raises every draw, so it raises every percentile: nothing gets more certainly worse by it."""
        from scipy.special import ndtr, stdtrit

        known = self.drawn[np.isfinite(self.drawn)]
        if self.blocks < 2 or not len(known):
            return float("nan")
        wide = stdtrit(self.blocks - 1, share) * np.sqrt(self.blocks / (self.blocks - 1))
        return float(np.quantile(known, float(ndtr(wide))))

    def measured(self) -> Measured:
        """With its 95 % interval, which holds the value."""
        low, high = (self.quantile(share) for share in ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
        return Measured(
            self.value, *((min(low, self.value), max(high, self.value)) if np.isfinite(low) else (low, high))
        )

    def worse(self, checks: int) -> bool:
        """Whether it is below 0 beyond noise: one-sided 95 %, Bonferroni's correction over as many `checks`."""
        return self.quantile(1 - (1 - CONFIDENCE) / max(checks, 1)) < 0


def draw(places: Ints, rng: np.random.Generator, count: int = DRAWS) -> Floats:
    """(B, N): how often each tile is in each of `count` resamples. `places`: (N,), the number of each tile's block."""
    _, row = np.unique(places, return_inverse=True)
    blocks = int(row.max(initial=-1)) + 1
    times = rng.multinomial(blocks, np.full(blocks, 1 / max(blocks, 1)), size=count)
    return np.asarray(times[:, row], np.float64)
