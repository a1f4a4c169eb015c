"""What a retraining shows again of what its parent has learned already, so that it forgets nothing and costs no more.

A network that learns only what is new forgets the rest (McCloskey 1989). Showing a small, balanced part of the old
beside it helps more than most cleverer methods (GDumb, Prabhu 2020, whose greedy balancing this is).
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from groundlook.core.errors import InvalidInput
from groundlook.core.types import Example

_KEPT = 0.25
"""Share of the budget that earlier examples have whatever is new: that much new work would push out all else."""

_Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What to train on, in the order in which it came. `new`: how many of `examples` are new or changed; `earlier`: how
    many were learned before; `left`: how many earlier ones are not shown this time."""

    examples: tuple[Example, ...]
    new: int
    earlier: int
    left: int

    def __str__(self) -> str:
        of = f" of {self.earlier + self.left}" if self.left else ""
        return f"{self.new} new or changed examples, {self.earlier}{of} earlier ones"


def rehearse(
    train: Sequence[Example], learned: Mapping[int, Sequence[int]], budget: int, rng: np.random.Generator
) -> Rehearsal:
    """All of `train` that is new or changed, and of the rest as many as `budget` examples in all leave room for, at
    least a quarter of it.

    `learned`: task id → annotation ids in the snapshot that the parent version learned from; an example is earlier
    where its annotations are the same. Earlier ones are drawn so that every site, every class, and then every class of
    every site is there as often as the others, as far as there are any; empty tiles count as a class of their own.
    The same `train` in any order and the same rng state choose the same. Raises InvalidInput for a budget below 1.
    """
    if budget < 1:
        raise InvalidInput(f"budget {budget}: a training needs one example or more")
    earlier = sorted((e for e in train if _known(e, learned)), key=lambda e: e.task.id)
    new = len(train) - len(earlier)
    room = max(budget - new, round(_KEPT * budget))
    chosen = {e.task.id for e in (earlier if len(earlier) <= room else _balanced(earlier, room, rng))}
    shown = tuple(e for e in train if e.task.id in chosen or not _known(e, learned))
    return Rehearsal(shown, new, len(chosen), len(earlier) - len(chosen))


def _known(example: Example, learned: Mapping[int, Sequence[int]]) -> bool:
    ids = learned.get(example.task.id)
    return ids is not None and sorted(ids) == sorted(example.annotation_ids)


def _balanced(examples: Sequence[Example], count: int, rng: np.random.Generator) -> list[Example]:
    """`count` of `examples`: again and again one of the key that has the fewest so far. Sites and classes come before
    their pairs, so that a budget that is too small for all pairs still has each site and each class."""
    waiting: dict[_Key, list[int]] = {}
    for i in rng.permutation(len(examples)):
        for key in _keys(examples[i]):
            waiting.setdefault(key, []).append(int(i))
    taken = dict.fromkeys(waiting, 0)
    turns = [(0, len(key), place, key) for place, key in enumerate(waiting)]
    heapq.heapify(turns)
    chosen: dict[int, Example] = {}
    while turns and len(chosen) < count:
        had, level, place, key = heapq.heappop(turns)
        if had != taken[key]:  # others gave it some meanwhile
            heapq.heappush(turns, (taken[key], level, place, key))
            continue
        rest = waiting[key]
        while rest and rest[-1] in chosen:
            rest.pop()
        if rest:
            found = rest.pop()
            chosen[found] = examples[found]
            for each in _keys(examples[found]):
                taken[each] += 1
            heapq.heappush(turns, (taken[key], level, place, key))
    return list(chosen.values())


def _keys(example: Example) -> list[_Key]:
    site = example.task.site
    labels = sorted({r.label for r in example.regions}) or [""]
    # By length: what stands alone first, then pairs.
    return [("site " + site,), *(("class " + label,) for label in labels), *((site, label) for label in labels)]
