"""Held-out tasks among the ranked ones, so that the gate has something to judge by from the first round on.

They come in random order and never by score: accuracy measured on tasks that a model chose would be biased
(Olofsson et al. 2014).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from groundlook.core.types import RankedTask


def interleave(
    ranked: Sequence[RankedTask], held_out: Sequence[int], every: int, rng: np.random.Generator
) -> tuple[RankedTask, ...]:
    """`ranked` with one of the task ids `held_out` at every `every`-th place, in random order; what is left of either
    follows. Places are numbered anew."""
    waiting = [int(t) for t in rng.permutation(np.array(sorted(held_out), dtype=np.int64))]
    rest = list(ranked)
    merged: list[RankedTask] = []
    while waiting or rest:
        turn = waiting and (not rest or len(merged) % every == 0)
        if turn:
            merged.append(RankedTask(waiting.pop(0), 0, None, "held out: random, measures the model"))
        else:
            merged.append(rest.pop(0))
    return tuple(RankedTask(t.task_id, i, t.score, t.reason) for i, t in enumerate(merged))
