"""The random stream is a fair sample of what is open, and its share is binomial."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundlook.core.errors import InvalidInput
from groundlook.core.types import RankedTask
from groundlook.strategies.holdout import interleave
from groundlook.strategies.stream import with_stream


def queue(count: int) -> list[RankedTask]:
    return [RankedTask(i, i, 0.5, "unsure") for i in range(count)]


@given(st.integers(0, 40), st.integers(0, 60), st.integers(0, 50), st.integers(0, 99), st.floats(0, 1))
def test_every_task_once_and_the_chosen_in_order(count: int, opened: int, length: int, seed: int, share: float) -> None:
    ids = list(range(opened))
    merged = with_stream(queue(count), ids, length, np.random.default_rng(seed), share)
    tasks = [t.task_id for t in merged]
    assert len(set(tasks)) == len(tasks)
    assert set(range(count)) <= set(tasks) <= set(range(max(count, opened)))
    assert [t.rank for t in merged] == list(range(len(merged)))
    chosen = [t.task_id for t in merged if t.stream == "chosen"]
    assert chosen == sorted(chosen)
    assert all(t.task_id in ids and "random" in t.reason for t in merged if t.stream == "random")
    assert merged == with_stream(queue(count), ids, length, np.random.default_rng(seed), share)


def test_places_and_tasks_are_drawn_alike() -> None:
    """Chi-square over 4,000 windows: every place and every task as often as any other."""
    rng = np.random.default_rng(5)
    places, tasks, sizes = np.zeros(20), np.zeros(50), []
    for _ in range(4000):
        merged = with_stream(queue(30), range(50), 20, rng, 0.05)
        random = [t for t in merged if t.stream == "random"]
        sizes.append(len(random))
        places[[t.rank for t in random]] += 1
        tasks[[t.task_id for t in random]] += 1
    for seen in (places, tasks):
        expected = seen.sum() / len(seen)
        statistic = ((seen - expected) ** 2 / expected).sum()
        freedom = len(seen) - 1
        assert statistic < freedom + 4 * (2 * freedom) ** 0.5
    assert np.mean(sizes) == pytest.approx(1.0, abs=0.06)
    assert np.var(sizes) == pytest.approx(20 * 0.05 * 0.95, abs=0.1)


def test_the_mean_of_the_stream_is_that_of_the_pool_and_not_that_of_the_choice() -> None:
    """Quality estimated from it is unbiased: tasks that the strategy puts first are the hard ones here."""
    hard = np.linspace(1, 0, 200)
    rng = np.random.default_rng(0)
    means = []
    for _ in range(3000):
        stream = [t.task_id for t in with_stream(queue(200), range(200), 40, rng, 0.1) if t.stream == "random"]
        if stream:
            means.append(hard[stream].mean())
    assert np.mean(means) == pytest.approx(0.5, abs=0.01)
    assert hard[:40].mean() > 0.85


def test_a_drawn_task_moves_and_keeps_its_score() -> None:
    merged = with_stream(queue(3), [2], 1, np.random.default_rng(0), 1.0)
    assert [t.task_id for t in merged] == [2, 0, 1]
    assert merged[0].score == 0.5
    assert "all 1 open tasks" in merged[0].reason


def test_nothing_open_a_share_of_none_and_one_beyond() -> None:
    assert with_stream(queue(4), [], 4, np.random.default_rng(0)) == tuple(queue(4))
    assert with_stream([], [], 9, np.random.default_rng(0)) == ()
    assert with_stream(queue(4), range(9), 4, np.random.default_rng(0), 0.0) == tuple(queue(4))
    with pytest.raises(InvalidInput, match="5"):
        with_stream(queue(4), [], 4, np.random.default_rng(0), 5)


def test_held_out_tasks_are_marked_and_the_stream_keeps_its_mark() -> None:
    merged = with_stream(queue(20), range(20), 20, np.random.default_rng(1), 0.3)
    both = interleave(merged, [100, 101, 102], 5, np.random.default_rng(1))
    assert [t.task_id for t in both if t.stream == "held out"] == [t.task_id for t in both if t.task_id >= 100]
    assert [t.stream for t in both if t.stream != "held out"] == [t.stream for t in merged]
    assert len({t.task_id for t in both}) == 23
