"""What every strategy must do, and what each is for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundlook.core.errors import EmptyPool
from groundlook.core.ports import Strategy
from groundlook.core.types import Pool, RankedTask
from groundlook.strategies.blend import UncertainThenSpread
from groundlook.strategies.diversity import k_center
from groundlook.strategies.holdout import interleave

STRATEGIES: list[Strategy] = [UncertainThenSpread(), UncertainThenSpread(head=3, candidates=2)]


def pool(count: int, seed: int = 0, unknown: float = 0.0, labelled: int = 5) -> Pool:
    rng = np.random.default_rng(seed)
    score = rng.random(count)
    score[rng.random(count) < unknown] = np.nan
    draw = rng.normal(size=(count + labelled, 8)).astype(np.float32)
    return Pool(rng.permutation(count) + 100, score, draw[:count], draw[count:])


@pytest.mark.parametrize("strategy", STRATEGIES)
@given(count=st.integers(1, 60), seed=st.integers(0, 99), unknown=st.sampled_from([0.0, 0.5, 1.0]))
def test_every_task_once_in_order_with_a_reason(strategy: Strategy, count: int, seed: int, unknown: float) -> None:
    given_pool = pool(count, seed, unknown)
    ranked = strategy.rank(given_pool, np.random.default_rng(1))
    assert sorted(t.task_id for t in ranked) == sorted(given_pool.ids.tolist())
    assert [t.rank for t in ranked] == list(range(count))
    assert all(t.reason for t in ranked)
    assert ranked == strategy.rank(given_pool, np.random.default_rng(1))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_empty_pool_is_an_error(strategy: Strategy) -> None:
    with pytest.raises(EmptyPool):
        strategy.rank(pool(0), np.random.default_rng(0))


def test_k_center_is_the_full_greedy_choice() -> None:
    rng = np.random.default_rng(3)
    points, centers = rng.normal(size=(80, 6)).astype(np.float32), rng.normal(size=(4, 6)).astype(np.float32)
    picks, gaps = k_center(points, centers, 10, rng)
    covered = [*centers]
    for pick, gap in zip(picks, gaps, strict=True):
        nearest = np.min([np.linalg.norm(points - c, axis=1) for c in covered], axis=0)
        assert gap == pytest.approx(nearest[pick], rel=1e-4)
        assert nearest[pick] == pytest.approx(nearest.max(), rel=1e-4)
        covered.append(points[pick])


def test_k_center_picks_nobody_twice_even_among_equals() -> None:
    points = np.zeros((6, 3), dtype=np.float32)
    picks, _ = k_center(points, np.zeros((0, 3), dtype=np.float32), 9, np.random.default_rng(0))
    assert sorted(picks.tolist()) == [0, 1, 2, 3, 4, 5]


def test_the_unsure_come_first_and_differ_from_each_other() -> None:
    corners = np.repeat(np.eye(3, dtype=np.float32), 20, axis=0)
    score = np.concatenate([np.full(20, 0.9), np.full(20, 0.8), np.full(20, 0.1)])
    given_pool = Pool(np.arange(60), score, corners, np.zeros((0, 3), dtype=np.float32))
    ranked = UncertainThenSpread(head=10, candidates=4).rank(given_pool, np.random.default_rng(0))
    first = [t.task_id for t in ranked[:2]]
    assert {i // 20 for i in first} == {0, 1}, "one of each doubtful kind"
    assert [t.task_id // 20 for t in ranked[-20:]] == [2] * 20, "the sure ones last"


def ranking(count: int) -> list[RankedTask]:
    return [RankedTask(i, i, 0.5, "unsure") for i in range(count)]


@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 8), st.integers(0, 9))
def test_held_out_tasks_come_at_a_steady_rate(count: int, held: int, every: int, seed: int) -> None:
    held_out = list(range(1000, 1000 + held))
    merged = interleave(ranking(count), held_out, every, np.random.default_rng(seed))
    assert sorted(t.task_id for t in merged) == sorted([*range(count), *held_out])
    assert [t.rank for t in merged] == list(range(len(merged)))
    assert [t.task_id for t in merged if t.task_id < 1000] == list(range(count)), "the others keep their order"
    both = min(held, -(-count // max(every - 1, 1))) if every > 1 else held
    for turn in range(both):
        assert merged[turn * every].task_id >= 1000


def test_held_out_tasks_are_not_chosen_by_score() -> None:
    held_out = list(range(1000, 1030))
    orders = {
        tuple(t.task_id for t in interleave([], held_out, 4, np.random.default_rng(seed)))[:3] for seed in range(5)
    }
    assert len(orders) > 1
