"""Held-out tasks among the ranked ones, so that the gate has something to judge by from the first round on.

They come in random order and never by score: accuracy measured on tasks that a model chose would be biased
(Olofsson et al. 2014).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from groundlook.core.types import RankedTask

REASON = "held out: random, measures the model"


def interleave(
    ranked: Sequence[RankedTask], held_out: Sequence[int], every: int, rng: np.random.Generator
) -> tuple[RankedTask, ...]:
    """`ranked` with one of the task ids `held_out` at every `every`-th place, in random order; what is left of either
    follows. Places are numbered anew."""
    waiting = deque(int(t) for t in rng.permutation(np.array(sorted(held_out), dtype=np.int64)))
    rest = deque(ranked)
    merged: list[RankedTask] = []
    while waiting or rest:
        place = len(merged)
        if waiting and (not rest or place % every == 0):
            merged.append(RankedTask(waiting.popleft(), place, None, REASON, "held out"))
        else:
            merged.append(replace(rest.popleft(), rank=place))
    return tuple(merged)
