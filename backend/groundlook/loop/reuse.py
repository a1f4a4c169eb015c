"""Reuse: of which tasks would a new version say something else?

A version differs from the one before where it learned something, not everywhere. So it looks first at the top of the
queue and at some tasks at random; how much its answers differ there from the earlier ones says, by the nearest
neighbours in the embedder's space, where else they would. Those it looks at, most changed first; of the others the
earlier answer stands, and says whose it is. The random ones also check the guess: where it misses too much, the new
version looks at everything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from groundlook.core.geometry import WholeTile
from groundlook.core.types import Prediction, Region
from groundlook.evaluation.agreement import agreement

LEAST = 500
"""Open tasks below which everything is looked at anew: guessing would save less than it may lose."""
PROBES = 120
"""Tasks at random that check the guess."""
ENOUGH = 0.1
"""The change of a prediction, 0…1, from which it has to be made anew."""
MISSED = 0.1
"""The share of the probes that may have changed by more than that, though the guess says they did not."""
_NEIGHBOURS = 8
_CHUNK = 2048


def change(before: Prediction, after: Prediction) -> float:
    """How much two predictions of a task differ, 0…1: 1 − F1 of their regions (evaluation/agreement.py), or, where all
    of those are the same, the most that a confidence moved."""
    if before.knows != after.knows:
        return 1.0
    differ = 1 - agreement(before.regions, after.regions)
    return float(max(differ, _moved(before.regions, after.regions)))


def _moved(before: Sequence[Region], after: Sequence[Region]) -> float:
    """Of the classes of a whole tile only: what moves the confidence of a box does not move the box."""
    old = {r.label: r.score or 0.0 for r in before if isinstance(r.shape, WholeTile)}
    new = {r.label: r.score or 0.0 for r in after if isinstance(r.shape, WholeTile)}
    return max((abs(old.get(name, 0.0) - new.get(name, 0.0)) for name in old.keys() | new.keys()), default=0.0)


def guess(
    known: NDArray[np.floating], changes: NDArray[np.float64], wanted: NDArray[np.floating]
) -> NDArray[np.float64]:
    """The change to expect of `wanted` (M, D): the mean over the nearest, by cosine, of `known` (N, D), N > 0, whose
    `changes` (N,) were seen. Float64 (M,)."""
    near, count = _units(known), min(_NEIGHBOURS, len(known))
    found = np.empty(len(wanted))
    for at in range(0, len(wanted), _CHUNK):
        likeness = _units(wanted[at : at + _CHUNK]) @ near.T
        rows = np.argpartition(-likeness, count - 1, axis=1)[:, :count]
        found[at : at + _CHUNK] = changes[rows].mean(axis=1)
    return found


def trusted(seen: Mapping[int, float], guessed: Mapping[int, float]) -> bool:
    """Whether the guess holds on the probes: of those that it would have left alone, few had changed. `seen`,
    `guessed`: change by task id; the guess without the probe itself."""
    left = [task for task in seen if guessed[task] < ENOUGH]
    return not left or sum(seen[task] >= ENOUGH for task in left) / len(left) <= MISSED


def _units(rows: NDArray[np.floating]) -> NDArray[np.float32]:
    rows = np.asarray(rows, np.float32)
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), np.float32)
