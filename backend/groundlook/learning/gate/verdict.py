"""What the gate found, and what it decided."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Outcome = Literal["promoted", "refused", "needs a person"]
State = Literal["passed", "failed", "unknown"]
What = Literal["overall", "class", "site", "sensor", "fit", "labels", "calibration", "speed"]


@dataclass(frozen=True, slots=True)
class Measured:
    """A number with its 95 % interval; NaN where there is too little to tell."""

    value: float
    low: float = float("nan")
    high: float = float("nan")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked. `name`: of the class, site or sensor, "" of all tiles. `measure`: what was measured.
    `champion` is None where there is none, so is `difference`: challenger − champion, of speed their ratio. `limit`:
    what the difference may not pass. `objects`, `blocks`: the evidence. `asks`: what follows where it did not pass."""

    what: What
    name: str
    measure: str
    champion: Measured | None
    challenger: Measured
    difference: Measured | None
    limit: float
    state: State
    objects: int
    blocks: int
    asks: Outcome = "promoted"

    @property
    def part(self) -> str:
        """ "site Bern"; "" for what holds for all tiles."""
        return f"{self.what} {self.name}" if self.name else ""

    def __str__(self) -> str:
        """ "mAP50 0.410 after 0.620 (−0.210, 95 % −0.300 … −0.110)"."""
        now = f"{self.measure} {self.challenger.value:.3f}"
        return now if self.champion is None else f"{now} after {self.champion.value:.3f} ({self.change()})"

    def change(self) -> str:
        """The difference with its interval, in words."""
        if self.difference is None:
            return ""
        form = "× {:.2f}" if self.what == "speed" else "{:+.3f}"
        d = self.difference
        value, low, high = (form.format(v).replace("-", "−") for v in (d.value, d.low, d.high))
        return f"{value}, 95 % {low} … {high}" if math.isfinite(d.low) else value


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate decided, the sentence that says why, and all that it looked at, the first finding overall.
    `limits`: the name of those that were asked; `tiles`, `blocks`: what both were examined on."""

    outcome: Outcome
    reason: str
    findings: tuple[Finding, ...]
    measure: str
    limits: str
    tiles: int
    blocks: int

    @property
    def promoted(self) -> bool:
        """Whether the challenger may serve without anybody being asked."""
        return self.outcome == "promoted"
