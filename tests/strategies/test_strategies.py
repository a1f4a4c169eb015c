"""What each strategy is for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundlook.core.pool import Pool
from groundlook.core.types import RankedTask
from groundlook.core.unsure import entropy, least_confidence, margin
from groundlook.strategies.blend import Blend, UncertainKMeans, UncertainThenSpread
from groundlook.strategies.dropquery import DropQuery, Head, changes
from groundlook.strategies.herding import MaxHerding, UHerding
from groundlook.strategies.holdout import interleave
from groundlook.strategies.kmeans import cold_start
from groundlook.strategies.probcover import ProbCover
from groundlook.strategies.typiclust import TypiClust
from groundlook.strategies.uncertainty import Random, Unsure
from groundlook.strategies.vectors import Vectors, vectors_of

NONE = np.zeros((0, 3), dtype=np.float32)


def corners(sizes: list[int], score: list[float], labelled: list[int] | None = None) -> tuple[Pool, np.ndarray]:
    """Tasks of as many kinds as there are sizes, at corners far from each other; those `labelled` are done."""
    kinds = np.repeat(np.arange(len(sizes)), sizes)
    spot = np.eye(len(sizes), 8, dtype=np.float32)
    jitter = 0.02 * np.random.default_rng(0).normal(size=(len(kinds), 8)).astype(np.float32)
    vectors, ids = spot[kinds] + jitter, np.arange(len(kinds))
    return Pool(ids, np.array(score)[kinds], vectors, spot[labelled or []], counts=spot[kinds][:, : len(sizes)]), kinds


def test_measures_are_the_textbooks() -> None:
    proba = np.array([[0.5, 0.3, 0.2], [1, 0, 0], [1 / 3, 1 / 3, 1 / 3]], np.float32)
    np.testing.assert_allclose(least_confidence(proba), [0.5, 0, 2 / 3], atol=1e-6)
    np.testing.assert_allclose(margin(proba), [0.8, 0, 1], atol=1e-6)
    plain = -(0.5 * np.log(0.5) + 0.3 * np.log(0.3) + 0.2 * np.log(0.2)) / np.log(3)
    np.testing.assert_allclose(entropy(proba), [plain, 0, 1], atol=1e-6)


@pytest.mark.parametrize("name", ["least-confidence", "margin", "entropy"])
def test_the_least_sure_come_first_and_ties_go_by_id(name: str) -> None:
    proba = np.array([[0.9, 0.1], [0.6, 0.4], [0.6, 0.4], [0.5, 0.5], [np.nan, np.nan]], np.float32)
    pool = Pool(np.array([5, 9, 2, 7, 1]), np.ones(5), np.zeros((5, 2), np.float32), NONE[:, :2], proba=proba)
    ranked = Unsure(name).rank(pool, 9, np.random.default_rng(0))
    assert pool.ids[ranked.rows].tolist() == [7, 2, 9, 5, 1]
    assert ranked.chosen == 4


def test_random_is_random_and_goes_by_nothing() -> None:
    pool, _ = corners([30], [0.5])
    orders = {tuple(Random().rank(pool, 3, np.random.default_rng(s)).rows[:3]) for s in range(20)}
    assert len(orders) > 15


def test_the_unsure_come_first_and_differ_from_each_other() -> None:
    pool, kinds = corners([20, 20, 20], [0.9, 0.8, 0.1])
    ranked = UncertainThenSpread(candidates=20).rank(pool, 2, np.random.default_rng(0))
    assert set(kinds[ranked.rows[:2]]) == {0, 1}, "one of each doubtful kind"
    assert kinds[ranked.rows[-20:]].tolist() == [2] * 20, "the sure ones last"


def test_clusters_of_the_unsure() -> None:
    pool, kinds = corners([20, 20, 20], [0.9, 0.8, 0.1])
    ranked = UncertainKMeans(candidates=20).rank(pool, 2, np.random.default_rng(0))
    assert set(kinds[ranked.rows[:2]]) == {0, 1}


def test_a_start_takes_one_of_each_kind_common_kinds_first() -> None:
    pool, kinds = corners([5, 40, 15], [0.1, 0.1, 0.1])
    ranked = cold_start(pool, vectors_of(pool), 3, np.random.default_rng(0), "any")
    assert kinds[ranked.rows[:3]].tolist() == [1, 2, 0]


@pytest.mark.parametrize("strategy", [MaxHerding(), UHerding(), TypiClust(), ProbCover(), Blend()])
def test_what_is_labelled_is_not_asked_again(strategy: MaxHerding) -> None:
    pool, kinds = corners([20, 20, 20], [0.5, 0.5, 0.5], [0])
    ranked = strategy.rank(pool, 2, np.random.default_rng(0))
    assert set(kinds[ranked.rows[:2]]) == {1, 2}


def test_herding_asks_where_the_model_is_unsure() -> None:
    pool, kinds = corners([20, 20, 20], [0.01, 0.02, 0.9], [0])
    assert kinds[UHerding().rank(pool, 1, np.random.default_rng(0)).rows[0]] == 2
    assert kinds[Blend().rank(pool, 1, np.random.default_rng(0)).rows[0]] == 2


def test_the_head_separates_and_changes_its_mind_in_between() -> None:
    rng = np.random.default_rng(0)
    kinds = np.repeat([4, 7], 30)
    points = (np.where(kinds == 4, -1, 1)[:, None] + 0.3 * rng.normal(size=(60, 16))).astype(np.float32)
    for part in (slice(None), slice(25, 35)):  # more rows than numbers each, and fewer
        head = Head.fit(points[part], kinds[part])
        assert (head.classes(points) == (kinds == 7)).all()
    between = 0.2 * rng.normal(size=(60, 16)).astype(np.float32)
    sure = changes(Vectors.of(points), head, rng).mean()
    assert changes(Vectors.of(between), head, rng).mean() > sure + 0.3
    both = np.concatenate([points, between])
    pool = Pool(np.arange(120), np.zeros(120), both, points[25:35], classes=kinds[25:35])
    ranked = DropQuery().rank(pool, 10, np.random.default_rng(0))
    assert (ranked.rows[:10] >= 60).all()


# held out


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
