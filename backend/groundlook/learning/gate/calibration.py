"""Whether a challenger still means what it says."""

from __future__ import annotations

from groundlook.core.exam import Exam
from groundlook.learning.gate.limits import Limits
from groundlook.learning.gate.verdict import Finding, Measured, Outcome, State


def calibration(new: Exam, old: Exam | None, limits: Limits) -> Finding | None:
    """The calibration error as scores are used, with the version's temperature; None where it was not measured."""
    key = next((k for k in ("ece_calibrated", "ece") if all(k in e.metrics for e in (new, old) if e)), None)
    if key is None:
        return None
    was = None if old is None else Measured(old.metrics[key])
    now = Measured(new.metrics[key])
    change = None if was is None else Measured(now.value - was.value)
    few = min(len(exam.sure) for exam in (new, old) if exam) < limits.answers
    failed = change is not None and change.value > limits.ece
    state: State = "unknown" if few else "failed" if failed else "passed"
    asks: Outcome = "needs a person" if limits.proof and failed else "promoted"
    return Finding("calibration", "", "calibration error", was, now, change, limits.ece, state, len(new.sure), 0, asks)
