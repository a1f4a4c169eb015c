"""Decorrelated and class-balance: what each is for, and what they do when they know nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundlook.core.errors import InvalidInput
from groundlook.core.pool import Ground, Pool
from groundlook.strategies.balance import ClassBalance
from groundlook.strategies.decorrelated import Decorrelated

RNG = np.random.default_rng


def ground(xy: np.ndarray, reach: float = 10.0, **codes: np.ndarray) -> Ground:
    count = len(xy)
    unknown = {n: np.full(count, -1) for n in ("scene", "block", "season", "sensor")}
    day = codes.pop("day", np.full(count, np.nan))
    return Ground(np.asarray(xy, np.float64), np.full(count, reach), day, **{**unknown, **codes})  # type: ignore[arg-type]


def pool(xy: np.ndarray, seed: int = 0, **codes: np.ndarray) -> Pool:
    rng, count = RNG(seed), len(xy)
    look = rng.normal(size=(count + 4, 5)).astype(np.float32)
    return Pool(np.arange(count), rng.random(count), look[:count], look[count:], ground=ground(xy, **codes))


def gaps(xy: np.ndarray) -> np.ndarray:
    """Between each and its nearest, along the longer axis."""
    apart = np.abs(xy[:, None] - xy[None]).max(axis=2)
    np.fill_diagonal(apart, np.inf)
    return apart.min(axis=1)


GRID = np.stack(np.meshgrid(np.arange(12) * 20.0, np.arange(12) * 20.0), -1).reshape(-1, 2)


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(0, 20), st.sampled_from(["uherding", "margin", "random"]))
def test_a_batch_lies_apart_as_long_as_there_is_room(count: int, seed: int, base: str) -> None:
    """A grid of 144 tiles of 20 m: tiles apart by one tile fill at most a quarter; here 16 always fit."""
    given_pool = replace(pool(GRID, seed), terms={"margin": RNG(seed).random(144)})
    found = Decorrelated(base).rank(given_pool, count, RNG(seed))
    assert sorted(found.rows.tolist()) == list(range(144))
    assert found.strategy == "decorrelated"
    batch = GRID[found.rows[: found.chosen]]
    assert len(batch) == count
    far = batch[: min(count, 16)]
    if count > 1 and len(far) * 10 >= 144:
        assert gaps(far).min() >= 40 - 1e-6
    assert ("near others" in found.why) == (count > 1 and gaps(batch).min() < 40)


def test_ground_that_is_done_is_not_looked_at_again_but_in_another_season_or_year() -> None:
    xy = np.array([[0.0, 0], [100, 0], [0, 0], [0, 0], [5, 5]])
    season, day = np.array([0, 0, 1, 0, 0]), np.array([0.0, 0, 0, 800, 0])
    given_pool = replace(pool(xy, season=season, day=day), score=np.array([0.9, 0.1, 0.8, 0.7, 0.6]))
    done = ground(np.array([[1.0, 1.0]]), season=np.array([0]), day=np.array([10.0]))
    found = Decorrelated("uncertain-k-center").rank(replace(given_pool, done=done), 5, RNG(0))
    assert set(found.rows[:3].tolist()) == {1, 2, 3}
    assert set(found.rows[3:].tolist()) == {0, 4}
    assert "2 overlapping others" in found.why
    sensors = replace(given_pool, done=replace(done, sensor=np.array([5])), ground=ground(xy, sensor=np.full(5, 3)))
    assert "overlapping" not in Decorrelated("uncertain-k-center").rank(sensors, 1, RNG(0)).why


def test_an_unknown_place_is_far_from_all() -> None:
    xy = np.full((6, 2), np.nan)
    alone = pool(xy)
    found = Decorrelated("margin").rank(replace(alone, terms={"margin": alone.score}), 3, RNG(0))
    assert "unknown" in found.why
    assert found.rows.tolist() == np.argsort(-alone.score).tolist()
    xy[:3] = 0
    half = replace(pool(xy), terms={"margin": np.arange(6.0)})
    assert set(Decorrelated("margin").rank(half, 4, RNG(0)).rows[:4].tolist()) == {5, 4, 3, 2}
    assert Decorrelated("margin").rank(replace(half, ground=None), 4, RNG(0)).rows[0] == 5


def counted(counts: list[list[float]], have: list[float]) -> Pool:
    look = RNG(0).normal(size=(len(counts) + 2, 4)).astype(np.float32)
    n = len(counts)
    return Pool(
        np.arange(n), np.full(n, np.nan), look[:n], look[n:], counts=np.array(counts, np.float32), have=np.array(have)
    )


def test_rare_classes_first_until_they_are_no_longer_rare() -> None:
    given_pool = counted([[9, 0], [0, 1], [0, 1], [3, 0], [0, 0]], [50, 1])
    found = ClassBalance().rank(given_pool, 5, RNG(0))
    assert set(found.rows[:2].tolist()) == {1, 2}
    assert found.rows[-1] == 4
    assert (np.diff(found.terms["balances"]) <= 1e-6).all(), "what is picked counts as labelled"
    turns = counted([[5, 0]] * 4 + [[0, 5]] * 4, [0, 0])
    assert [int(r) // 4 for r in ClassBalance().rank(turns, 4, RNG(0)).rows[:4]] == [0, 1, 0, 1]


def test_it_goes_by_probabilities_where_nothing_is_counted_and_says_what_it_lacks() -> None:
    proba = np.array([[0.9, 0.1], [0.1, 0.9], [np.nan, np.nan]], np.float32)
    look = RNG(0).normal(size=(3, 4)).astype(np.float32)
    given_pool = Pool(np.arange(3), np.full(3, np.nan), look, look, proba=proba, classes=np.array([0, 0, -1]))
    assert ClassBalance().rank(given_pool, 2, RNG(0)).rows.tolist() == [1, 0, 2]
    with pytest.raises(InvalidInput, match="class-balance needs"):
        ClassBalance().rank(replace(given_pool, proba=None), 2, RNG(0))
    cold = replace(given_pool, proba=None, labelled=look[:0], classes=None)
    assert "nothing is labelled" in ClassBalance().rank(cold, 2, RNG(0)).why


@settings(deadline=None)
@given(st.integers(1, 30), st.integers(1, 4), st.integers(0, 40), st.integers(0, 50))
def test_every_task_once_whatever_is_unknown(count: int, classes: int, wanted: int, seed: int) -> None:
    rng = RNG(seed)
    counts = rng.poisson(1.0, (count, classes)).astype(np.float32)
    counts[rng.random(count) < 0.3] = np.nan
    given_pool = replace(counted(counts.tolist(), [1.0] * classes), score=rng.random(count))
    if np.isfinite(counts).all(axis=1).any():
        found = ClassBalance().rank(given_pool, wanted, rng)
        assert sorted(found.rows.tolist()) == list(range(count))
        assert found.chosen == min(wanted, int(np.isfinite(counts).all(axis=1).sum()))
