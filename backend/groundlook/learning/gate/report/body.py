"""The report's numbers, as JSON takes them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from groundlook.core.exam import Exam
from groundlook.learning.gate.report.differ import Differ
from groundlook.learning.gate.verdict import Verdict

BINS = 10


def body(verdict: Verdict, challenger: Exam, champion: Exam | None, found: Sequence[Differ]) -> dict[str, Any]:
    """Everything that the page shows, and the metrics of both. What is not known is null."""
    exams = {"challenger": challenger, **({} if champion is None else {"champion": champion})}
    told: dict[str, Any] = finite(
        {
            **asdict(verdict),
            "versions": {who: exam.version for who, exam in exams.items()},
            "metrics": {who: dict(exam.metrics) for who, exam in exams.items()},
            "calibration": {who: curve(exam) for who, exam in exams.items()},
            "pictures": [asdict(one) for one in found],
        }
    )
    return told


def curve(exam: Exam) -> list[dict[str, float]]:
    """Of answers as sure as each tenth: how many there are, how sure they were in the mean, and the share of them that
    was right. Bins without any are left out."""
    places = np.clip((exam.sure * BINS).astype(np.int64), 0, BINS - 1)
    count, said, right = (np.bincount(places, of, BINS) for of in (None, exam.sure, exam.right.astype(np.float64)))
    return [
        {"answers": float(count[i]), "said": float(said[i] / count[i]), "right": float(right[i] / count[i])}
        for i in np.flatnonzero(count)
    ]


def finite(value: Any) -> Any:
    """The same with None for every number that JSON has no word for."""
    if isinstance(value, Mapping):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
