"""Value per second, and how long a task takes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundlook.core.errors import EmptyPool, InvalidInput
from groundlook.core.pool import Pool
from groundlook.strategies.effort import Effort, fit_effort
from groundlook.strategies.value import ValuePerSecond

RNG = np.random.default_rng


def pool(count: int, seed: int = 0) -> Pool:
    rng = RNG(seed)
    look = rng.normal(size=(count + 3, 6)).astype(np.float32)
    return Pool(np.arange(count) + 7, rng.random(count), look[:count], look[count:], seconds=rng.uniform(2, 60, count))


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(1, 9), st.integers(0, 9))
def test_the_batch_is_of_the_most_gain_per_second(count: int, wanted: int, seed: int) -> None:
    given_pool = pool(count, seed)
    assert given_pool.seconds is not None
    found = ValuePerSecond().rank(given_pool, wanted, RNG(0))
    assert sorted(found.rows.tolist()) == list(range(count))
    worth = given_pool.score / given_pool.seconds
    best = set(np.argsort(-worth, kind="stable")[: 3 * wanted].tolist())
    assert set(found.rows[: found.chosen].tolist()) <= best
    assert found.terms["a minute"] == pytest.approx(60 * worth[found.rows[: found.chosen]])
    assert found.terms["seconds"] == pytest.approx(given_pool.seconds[found.rows[: found.chosen]])


def test_of_equal_gain_the_quick_one_and_of_equal_time_the_unsure_one() -> None:
    given_pool = replace(pool(9), score=np.full(9, 0.5), seconds=np.arange(9.0) + 1)
    one = ValuePerSecond().rank(given_pool, 1, RNG(0))
    assert one.rows[0] in (0, 1, 2)
    timed_alike = replace(given_pool, score=np.arange(9.0) / 9, seconds=np.full(9, 4.0))
    assert ValuePerSecond().rank(timed_alike, 1, RNG(0)).rows[0] in (6, 7, 8)


def test_unknown_times_and_gains() -> None:
    given_pool = pool(9)
    seconds = np.full(9, np.nan)
    with pytest.raises(InvalidInput, match="time"):
        ValuePerSecond().rank(replace(given_pool, seconds=seconds), 2, RNG(0))
    with pytest.raises(InvalidInput, match="time"):
        ValuePerSecond().rank(replace(given_pool, seconds=None), 2, RNG(0))
    with pytest.raises(EmptyPool):
        ValuePerSecond().rank(pool(0), 2, RNG(0))
    seconds[:2] = [10.0, 20.0]
    half = replace(given_pool, seconds=seconds, score=np.where(np.arange(9) == 4, np.nan, 0.5))
    assert ValuePerSecond().rank(half, 3, RNG(0)).rows[-1] == 4, "an unknown gain comes last"
    none = replace(given_pool, score=np.full(9, np.nan))
    assert "no uncertainty is known" in ValuePerSecond().rank(none, 2, RNG(0)).why


def timed(count: int, seed: int, effort: Effort, people: int = 3) -> tuple[np.ndarray, ...]:
    rng = RNG(seed)
    regions = rng.poisson(4, count)
    vertices = regions * rng.integers(4, 9, count)
    lead = effort.predict(regions, vertices) * rng.lognormal(0, 0.2, count)
    return lead, regions, vertices, rng.integers(people, size=count)


@settings(deadline=None)
@given(st.integers(0, 30))
def test_it_learns_how_long_people_take_whatever_lunch_does(seed: int) -> None:
    true = Effort(8.0, 12.0, 1.0)
    lead, regions, vertices, author = timed(400, seed, true)
    away = RNG(seed + 1).random(400) < 0.05
    found = fit_effort(np.where(away, 5000.0, lead), regions, vertices, author)
    asked = (np.array([0.0, 3.0, 9.0]), np.array([0.0, 18.0, 60.0]))
    assert found.predict(*asked)[1:] == pytest.approx(true.predict(*asked)[1:], rel=0.15)
    assert found.tasks == 400


def test_a_first_task_is_practice() -> None:
    lead = np.array([300.0, 10, 10, 10, 250, 10, 10, 10])
    author = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    nothing = np.zeros(8)
    fast = fit_effort(lead, nothing, nothing, author)
    assert fast == fit_effort(np.full(8, 10.0), nothing, nothing, author)
    assert 7 < fast.task < 10


@given(
    st.lists(
        st.tuples(st.one_of(st.floats(-5, 500), st.just(np.nan)), st.integers(0, 30), st.integers(0, 99)), max_size=20
    )
)
def test_few_or_odd_times_stay_near_the_usual_and_never_below_0(rows: list[tuple[float, int, int]]) -> None:
    lead, regions, vertices = (np.array([r[i] for r in rows], np.float64) for i in range(3))
    found = fit_effort(lead, regions, vertices, np.zeros(len(rows), np.int64))
    assert min(found.task, found.region, found.vertex) >= 0
    assert found.tasks == int((lead > 0).sum())
    if not found.tasks:
        assert found == Effort()
    assert np.isnan(found.predict(np.array([np.nan]), np.array([1.0]))).all()


def test_times_of_another_length_are_named() -> None:
    with pytest.raises(InvalidInput, match="2 authors"):
        fit_effort(np.ones(3), np.ones(3), np.ones(3), np.zeros(2, np.int64))
