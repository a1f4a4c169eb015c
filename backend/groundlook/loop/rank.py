"""Rank: the open tasks in the order in which people will be served, each with its reason.

One path for the service and the command line: pool → strategy → batch rules → held-out tasks → random stream. Where a
strategy fails, nothing is reordered in silence: the last good order goes on, and the window says why.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import GroundlookError
from groundlook.core.pool import Pool, Ranking
from groundlook.core.types import Project, RankedTask
from groundlook.loop.parts import Loop
from groundlook.loop.pool import Open
from groundlook.strategies.catalog import DEFAULTS
from groundlook.strategies.holdout import interleave
from groundlook.strategies.stream import with_stream

log = logging.getLogger("groundlook.loop")

MARGIN = "straddles training and held-out ground, so neither can use it"
UNREADABLE = "its image can't be read; see groundlook doctor"
BARE = "its features are missing and made again; it is ranked as soon as they are there"


class MissingFeatures(GroundlookError):
    """Most of the open tasks can't be compared yet."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """The first places of the queue. `strategy`: what ordered them, or should have; `fallback`: why it did not."""

    tasks: tuple[RankedTask, ...]
    strategy: str
    fallback: str = ""


def strategy_name(loop: Loop, project: Project, kind: str, asked: str = "") -> str:
    """What is asked for, else the project's own, else the service's, else the usual one of the kind."""
    return asked or str(project.settings.get("strategy") or "") or loop.settings.strategy or DEFAULTS[kind]


def rank(loop: Loop, project: Project, found: Open, length: int, rng: np.random.Generator, asked: str = "") -> Ranked:
    """The first `length` places. `asked`: the strategy that somebody named. The same pool and rng state give the same.
    Never raises for what a strategy does."""
    pool, bare = found.pool, found.bare
    name = strategy_name(loop, project, pool.kind, asked)
    strategy_rng, mixing = rng.spawn(2)
    fallback, chosen = "", list[RankedTask]()
    try:
        if len(bare) > len(pool):
            raise MissingFeatures(f"{len(bare)} of {len(bare) + len(pool)} open tasks have no features yet")
        if len(pool):
            order = _ordered(loop, pool, name, length, strategy_rng)
            name = order.strategy or name
            loop.known.order[project.id] = pool.ids[order.rows]
            chosen = _told(pool, order, length)
    except Exception as error:  # a strategy is somebody else's code: whatever it raises, people go on labelling
        fallback = reason(error)
        log.exception("strategy %s failed on project %s: the last good order goes on", name, project.id)
        chosen = _last_good(loop, project, found, length)
    held_out = found.held_out
    if len(held_out) > length:
        held_out = mixing.permutation(held_out)[:length]
    queue = interleave(chosen, held_out.tolist(), loop.settings.held_out_every, mixing)
    everything = np.concatenate([pool.ids, bare])
    queue = with_stream(queue, everything, length, mixing, loop.settings.random_share)
    return Ranked((*queue[:length], *_tail(found, queue, length)), name, fallback)


def reason(error: Exception) -> str:
    """In a line, safe to show: our own errors say what to do, of others the kind is enough (the log has the rest)."""
    name = type(error).__name__
    return f"{name}: {error}" if isinstance(error, GroundlookError) else f"{name}, see the log"


def _ordered(loop: Loop, pool: Pool, name: str, length: int, rng: np.random.Generator) -> Ranking:
    count = min(length, len(pool))
    found = loop.strategies(name).rank(pool, count, rng)
    ruled = loop.rules.apply(found, pool, count)
    if len(ruled.rows) != len(pool) or not np.array_equal(np.sort(ruled.rows), np.arange(len(pool))):
        raise ValueError(f"strategy {name} ranked {len(ruled.rows)} rows of {len(pool)}: each once is wanted")
    return ruled


def _told(pool: Pool, order: Ranking, length: int) -> list[RankedTask]:
    rows = order.rows[:length]
    return [
        RankedTask(int(pool.ids[row]), place, _number(pool.score[row]), order.reason(place))
        for place, row in enumerate(rows)
    ]


def _last_good(loop: Loop, project: Project, found: Open, length: int) -> list[RankedTask]:
    """As they were ranked last, without what is done; new ones after them, by id."""
    ids = np.union1d(found.pool.ids, found.bare)
    scores = dict(zip(found.pool.ids.tolist(), found.pool.score.tolist(), strict=True))
    before = loop.known.order.get(project.id)
    if before is None:
        before = _published(loop, project)
    known = before[np.isin(before, ids)]
    rest = np.setdiff1d(ids, known)
    said = [(task, "last good order") for task in known[:length].tolist()]
    said += [(task, "by id, after the last good order") for task in rest[: length - len(said)].tolist()]
    return [RankedTask(t, i, _number(scores.get(t, np.nan)), why) for i, (t, why) in enumerate(said)]


def _published(loop: Loop, project: Project) -> NDArray[np.int64]:
    """The chosen tasks of the last window that a strategy made, in its order."""
    for window in reversed(loop.store.windows(project.id)):
        if not window.fallback:
            return np.array([t.task_id for t in window.tasks if t.stream in ("chosen", "random")], np.int64)
    return np.zeros(0, np.int64)


def _tail(found: Open, queue: Sequence[RankedTask], length: int) -> list[RankedTask]:
    """What is left over, where places are."""
    start, there = len(queue), {task.task_id for task in queue}
    left: list[tuple[Sequence[int], str]] = [
        (found.bare.tolist(), BARE),
        (found.margin.tolist(), MARGIN),
        (found.unreadable.tolist(), UNREADABLE),
    ]
    tasks = [RankedTask(task, 0, None, why, "left over") for ids, why in left for task in ids if task not in there]
    return [replace(task, rank=start + i) for i, task in enumerate(tasks[: max(0, length - start)])]


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
