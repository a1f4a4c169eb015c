"""A small random stream inside the queue, from which savings and accuracy are estimated without bias.

What a strategy chooses says nothing of the tasks it did not choose. Tasks drawn from all that are open, each with the
same chance, do (Horvitz & Thompson 1952), and people can't tell them from the others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput
from groundlook.core.types import RankedTask

SHARE = 0.05


def with_stream(
    queue: Sequence[RankedTask],
    open_ids: Sequence[int] | NDArray[np.int64],
    length: int,
    rng: np.random.Generator,
    share: float = SHARE,
) -> tuple[RankedTask, ...]:
    """`queue` with random tasks at some of its first `length` places, those that will be published.

    Each place is random with probability `share`, whatever the others are, so that how many there are is binomial.
    What stands there is drawn from all `open_ids` (tasks for training), each with the same chance and none twice,
    before the queue is looked at; a task that is drawn moves there from where it stood. The others keep their order.
    Places are numbered anew. `queue`: tasks that each stand there once. Raises InvalidInput for a share beyond 0…1.
    """
    if not 0 <= share <= 1:
        raise InvalidInput(f"a random stream of {share}: give a share from 0 to 1, like {SHARE}")
    ids = np.unique(np.asarray(open_ids, np.int64))
    stood = {task.task_id: task for task in queue}
    total = len(ids) + int((~np.isin(np.fromiter(stood, np.int64, len(stood)), ids)).sum())
    drawn = np.flatnonzero(rng.random(min(length, total)) < share)[: len(ids)]
    stream = dict(zip(drawn.tolist(), rng.choice(ids, len(drawn), replace=False).tolist(), strict=True))
    moved = set(stream.values())
    rest = deque(task for task in queue if task.task_id not in moved)
    merged: list[RankedTask] = []
    while rest or len(merged) in stream:
        place = len(merged)
        if place in stream:
            merged.append(_random(stream[place], place, stood.get(stream[place]), share, len(ids)))
        else:
            merged.append(replace(rest.popleft(), rank=place))
    last = sorted(place for place in stream if place >= len(merged))
    merged += [_random(stream[p], len(merged) + i, stood.get(stream[p]), share, len(ids)) for i, p in enumerate(last)]
    return tuple(merged)


def _random(task: int, place: int, stood: RankedTask | None, share: float, count: int) -> RankedTask:
    why = f"random: drawn from all {count} open tasks alike, like {share:.0%} of the queue; measures what ranking saves"
    return RankedTask(task, place, None if stood is None else stood.score, why, "random")
