"""One run: a strategy chooses, simulated people label, the study learns, round after round."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput
from groundlook.core.pool import Fitted, Pool, Ranking, Round
from groundlook.core.ports import Strategy, Study
from groundlook.evaluation.replay.values import Run, Setup

_START, _RANK = 1, 2  # streams of randomness: of the start and of each round, the same for every strategy of a seed


class CannotRank(InvalidInput):
    """A strategy that raised, or whose answer is no order: it is left out, the others go on."""


def costs(study: Study) -> NDArray[np.float64]:
    """Float64 (N,): the labels that each task of a study costs. One without objects costs one: somebody looked at it
    and said so; for nothing, a strategy could buy as many empty tasks as there are."""
    return np.maximum(np.asarray(study.labels, dtype=np.float64), 1.0)


def run(study: Study, strategy: Strategy, name: str, seed: int, setup: Setup) -> Run:
    """Replay `strategy` once. Round r ends when start + r × batch labels are bought, so that what the last task of a
    batch costs too much does not add up; every round buys one task at least. A strategy sees the rounds so far with
    the `held_out` quality that a project would know (NaN where there is none), never that of the test part.
    Raises what the study raises, and CannotRank for what the strategy does."""
    cost, seconds = costs(study), np.asarray(study.seconds, dtype=np.float64)
    rows = _start(cost, seed, setup.start)
    fitted = study.fit(rows, seed)
    history: list[Round] = []
    lines = [_line(rows, cost, seconds, fitted, 0.0)] if len(rows) else []
    for number in range(1, setup.rounds + 1):
        if len(fitted.pool) == 0:
            break
        pool = replace(fitted.pool, rounds=tuple(history))
        left = max(setup.start + number * setup.batch - float(cost[rows].sum()), 1.0)
        count = _count(left, cost, rows, len(pool))
        found, took = _ranked(strategy, name, pool, count, np.random.default_rng([seed, number, _RANK]))
        rows = np.concatenate([rows, _bought(found, pool.ids, cost, left)])
        fitted = study.fit(rows, seed)
        known = float("nan") if fitted.held_out is None else fitted.held_out
        history.append(Round(found.strategy, len(rows), known))
        lines.append(_line(rows, cost, seconds, fitted, took))
    labels, spent, tasks, quality, held_out, times = np.array(lines, dtype=np.float64).reshape(-1, 6).T
    return Run(name, seed, labels, spent, tasks.astype(np.int64), quality, held_out, times, rows)


def learn_all(study: Study, name: str, seed: int) -> Run:
    """What all labels together come to: one round."""
    rows = np.arange(len(study.labels))
    fitted = study.fit(rows, seed)
    spent = np.array([study.seconds.sum()])
    known = np.array([np.nan if fitted.held_out is None else fitted.held_out])
    labels, tasks, quality = np.array([costs(study).sum()]), np.array([len(rows)]), np.array([fitted.quality])
    return Run(name, seed, labels, spent, tasks, quality, known, np.zeros(1), np.zeros(0, np.int64))


def _start(cost: NDArray[np.float64], seed: int, start: int) -> NDArray[np.int64]:
    if start == 0:
        return np.zeros(0, np.int64)
    order = np.random.default_rng([seed, _START]).permutation(len(cost)).astype(np.int64)
    return order[: _tasks(cost[order], start)]


def _tasks(cost: NDArray[np.float64], labels: float) -> int:
    """How many of the first tasks it takes to buy `labels`."""
    return int(np.searchsorted(np.cumsum(cost), labels - 1e-9)) + 1


def _count(left: float, cost: NDArray[np.float64], rows: NDArray[np.int64], most: int) -> int:
    """How many tasks to ask for, so that they hold `left` labels: by the mean of those labelled so far; before the
    first, by that of all, which whoever looked at a few tasks knows well enough."""
    mean = float(cost[rows].mean()) if len(rows) else float(cost.mean())
    return min(max(int(np.ceil(left / mean)), 1), most)


def _ranked(strategy: Strategy, name: str, pool: Pool, count: int, rng: np.random.Generator) -> tuple[Ranking, float]:
    """What it says, and the seconds that it took."""
    began = time.perf_counter()
    try:
        found = strategy.rank(pool, count, rng)
    except Exception as error:  # a stranger's code: whatever it is, it shall not cost the other runs
        raise CannotRank(f"{name}: {type(error).__name__}: {error}") from error
    took = time.perf_counter() - began
    if not np.array_equal(np.sort(found.rows), np.arange(len(pool))):
        raise CannotRank(f"{name}: ranked {len(found.rows)} rows of a pool of {len(pool)}; each goes once")
    return found, took


def _bought(found: Ranking, ids: NDArray[np.int64], cost: NDArray[np.float64], left: float) -> NDArray[np.int64]:
    order = ids[found.rows]
    return order[: _tasks(cost[order], left)]


def _line(
    rows: NDArray[np.int64], cost: NDArray[np.float64], seconds: NDArray[np.float64], fitted: Fitted, took: float
) -> tuple[float, ...]:
    held_out = float("nan") if fitted.held_out is None else fitted.held_out
    return float(cost[rows].sum()), float(seconds[rows].sum()), len(rows), fitted.quality, held_out, took
