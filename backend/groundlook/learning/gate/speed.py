"""Whether a challenger keeps people waiting."""

from __future__ import annotations

import numpy as np

from groundlook.core.exam import Exam
from groundlook.learning.gate.limits import Limits
from groundlook.learning.gate.verdict import Finding, Measured, State


def speed(new: Exam, old: Exam | None, limits: Limits, rng: np.random.Generator) -> Finding | None:
    """Seconds a tile: medians, and the median of the ratios tile by tile, so that neither a stall nor large tiles
    decide. None where nothing was timed."""
    if not len(new.seconds) or not (new.seconds > 0).all():
        return None
    now = Measured(float(np.median(new.seconds)))
    if old is None or not (old.seconds > 0).all():
        return Finding("speed", "", "seconds a tile", None, now, None, limits.slower, "passed", 0, 0)
    ratio = np.log(new.seconds / old.seconds)
    again = np.median(ratio[rng.integers(len(ratio), size=(500, len(ratio)))], axis=1)
    value, low, high = np.exp([np.median(ratio), *np.quantile(again, [0.025, 0.975])]).tolist()
    slow = value > limits.slower and low > 1 and now.value > limits.prompt
    state: State = "unknown" if len(ratio) < limits.blocks else "failed" if slow else "passed"
    return Finding(
        what="speed",
        name="",
        measure="seconds a tile",
        champion=Measured(float(np.median(old.seconds))),
        challenger=now,
        difference=Measured(value, low, high),
        limit=limits.slower,
        state=state,
        objects=0,
        blocks=0,
        asks="needs a person" if state == "failed" else "promoted",
    )
