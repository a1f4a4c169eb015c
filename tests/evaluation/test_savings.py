"""The arithmetic of savings: intervals, curves and the stop rule, on data whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundlook.core.errors import InvalidInput
from groundlook.core.geometry import Box, Polygon, WholeTile
from groundlook.core.types import Region
from groundlook.evaluation.agreement import agreement
from groundlook.evaluation.savings import Curve, Estimate, curves, fit, mean_of, needed, random_labels, verdict, worth

SIZES = np.array([24.0, 48, 72, 96, 144, 192, 288])


def box(x: float, label: str = "a", size: float = 10) -> Region:
    return Region(Box(x, 0, size, size), label)


def test_agreement_counts_pairs_of_the_same_label_at_the_same_place() -> None:
    assert agreement([], []) == 1.0
    assert agreement([box(0)], []) == 0.0
    assert agreement([], [box(0)]) == 0.0
    assert agreement([box(0), box(50)], [box(1), box(90)]) == pytest.approx(0.5)
    assert agreement([box(0, "b")], [box(0, "a")]) == 0.0
    assert agreement([box(0), box(0)], [box(0)]) == pytest.approx(2 / 3), "one answer is right once"
    assert agreement([Region(WholeTile(), "sea")], [Region(WholeTile(), "sea")]) == 1.0
    assert agreement([Region(WholeTile(), "sea")], [Region(WholeTile(), "ice")]) == 0.0
    assert agreement([Region(Polygon(((0, 0), (10, 0), (10, 10), (0, 10))), "a")], [box(0)]) == 1.0


@given(st.lists(st.tuples(st.integers(0, 40), st.sampled_from("ab")), max_size=5), st.integers(0, 5))
def test_agreement_is_symmetric_and_perfect_with_itself(places: list[tuple[int, str]], cut: int) -> None:
    regions = [box(x, label) for x, label in places]
    assert agreement(regions, regions) == 1.0
    assert agreement(regions, regions[:cut]) == pytest.approx(agreement(regions[:cut], regions))


@pytest.mark.parametrize(("n", "p"), [(20, 0.9), (100, 0.97), (40, 0.5)])
def test_the_interval_of_a_mean_covers_the_truth(n: int, p: float) -> None:
    rng = np.random.default_rng(n)
    inside = 0
    for _ in range(500):
        found = mean_of((rng.random(n) < p).astype(float))
        inside += bool(found.low <= p <= found.high)
    assert inside / 500 >= 0.92


def test_a_perfect_sample_is_not_certain() -> None:
    found = mean_of(np.ones(10))
    assert found.value == found.high == 1.0
    assert found.low == pytest.approx(0.7225, abs=1e-3), "Wilson's interval of 10 of 10"
    with pytest.raises(InvalidInput, match="random stream"):
        mean_of(np.zeros(0))


def test_random_needs_more_where_the_chosen_hold_more_mistakes() -> None:
    rng = np.random.default_rng(0)
    chosen, random = (rng.random(400) < 0.4).astype(float), (rng.random(100) < 0.2).astype(float)
    found = random_labels(chosen, random)
    assert found.low < 800 < found.high
    assert found.value == pytest.approx(400 * chosen.mean() / random.mean())
    same = random_labels(random, random)
    assert same.value == 100
    assert same.low < 100 < same.high


def test_choosing_badly_saves_less_than_nothing() -> None:
    found = random_labels(np.full(50, 0.1), np.full(50, 0.3))
    assert found.value == pytest.approx(50 / 3)


def test_a_model_that_is_never_wrong_says_nothing_of_savings() -> None:
    assert random_labels(np.zeros(9), np.zeros(9)).value == 9
    assert random_labels(np.array([0.0, 1]), np.zeros(9)).value == float("inf")
    with pytest.raises(InvalidInput, match="0 random tasks"):
        random_labels(np.ones(9), np.zeros(0))


@given(st.floats(0.5, 0.95), st.floats(0.5, 3.0), st.floats(0.3, 1.5))
def test_a_curve_is_found_again(a: float, b: float, c: float) -> None:
    truth = Curve(a, b, c)
    found = fit(SIZES, truth.at(SIZES))
    assert found.at(SIZES) == pytest.approx(truth.at(SIZES), abs=0.01)
    assert found.gain(288, 100) == pytest.approx(truth.gain(288, 100), abs=0.01)


@given(st.lists(st.floats(0, 1), min_size=7, max_size=7))
def test_a_fitted_curve_never_falls_and_never_passes_one(quality: list[float]) -> None:
    found = fit(SIZES, np.array(quality))
    assert found.b >= 0
    assert found.at(1e6) <= 1 + 1e-9
    assert found.gain(288, 500) >= 0


def test_the_labels_to_a_target_are_where_the_curve_has_it() -> None:
    curve = Curve(0.9, 2.0, 0.7)
    assert curve.at(curve.reaches(0.8)) == pytest.approx(0.8)
    assert curve.reaches(0.95) == float("inf")
    assert Curve(0.8, 0.0, 1.0).reaches(0.7) == 0


def test_the_worth_of_the_next_labels_is_known_as_well_as_the_points_allow() -> None:
    truth = Curve(0.85, 2.0, 0.6)
    rng = np.random.default_rng(3)
    inside = 0
    for trial in range(40):
        quality = truth.at(SIZES) + rng.normal(0, 0.01, len(SIZES))
        found = worth(curves(SIZES, quality, seed=trial), 288, 500)
        inside += bool(found.low <= truth.gain(288, 500) <= found.high)
    assert inside >= 32
    quiet = worth(curves(SIZES, truth.at(SIZES) + rng.normal(0, 1e-3, len(SIZES))), 288, 500)
    loud = worth(curves(SIZES, truth.at(SIZES) + rng.normal(0, 3e-2, len(SIZES))), 288, 500)
    assert quiet.high - quiet.low < loud.high - loud.low
    to = needed(curves(SIZES, truth.at(SIZES)), 0.8)
    assert to.value == pytest.approx(truth.reaches(0.8), rel=0.1)


def test_too_few_trainings_are_no_curve() -> None:
    with pytest.raises(InvalidInput, match="3 trainings on different numbers of labels; a curve needs 4"):
        fit(np.array([10.0, 20, 30, 30]), np.array([0.1, 0.2, 0.3, 0.3]))


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(0.0, 0.005, "stop"), (0.02, 0.05, "go on"), (0.0, 0.05, "unsure"), (0.01, 0.01, "unsure")],
)
def test_the_stop_rule(low: float, high: float, said: str) -> None:
    assert verdict(Estimate((low + high) / 2, low, high), 0.01) == said
