"""Learning curves and paired tests, against definitions and against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control, wilcoxon

from groundlook.evaluation.replay.compare import holm, paired, signed_rank, worse_at
from groundlook.evaluation.replay.curve import area, band, common, labels_to, on

heights = st.lists(st.floats(0, 1, width=32), min_size=2, max_size=12)


def steps(count: int, by: float = 10.0) -> np.ndarray:
    return by * np.arange(1, count + 1)


def test_a_target_is_reached_on_the_line_between_two_rounds() -> None:
    labels, quality = np.array([10.0, 20, 30]), np.array([0.5, 0.7, 0.6])
    assert labels_to(labels, quality, 0.6) == pytest.approx(15)
    assert labels_to(labels, quality, 0.7) == pytest.approx(20)
    assert labels_to(labels, quality, 0.4) == 10, "the first round may have been more than enough: at most this"
    assert labels_to(labels, quality, 0.8) == float("inf")
    assert labels_to(labels, np.array([np.nan, 0.7, 0.6]), 0.6) == 20


@given(heights, st.floats(0, 1), st.floats(0, 1))
def test_a_higher_target_never_costs_less(quality: list[float], one: float, other: float) -> None:
    labels, q = steps(len(quality)), np.array(quality)
    assert labels_to(labels, q, min(one, other)) <= labels_to(labels, q, max(one, other))


@given(heights, st.floats(0, 1))
def test_a_higher_curve_never_needs_more(quality: list[float], target: float) -> None:
    labels, q = steps(len(quality)), np.array(quality)
    better = np.minimum(q + 0.1, 1)
    assert labels_to(labels, better, target) <= labels_to(labels, q, target)


@given(heights, st.floats(0, 1))
def test_the_curve_has_the_height_of_the_target_there(quality: list[float], target: float) -> None:
    labels, q = steps(len(quality)), np.array(quality)
    found = labels_to(labels, q, target)
    if np.isfinite(found) and found > labels[0]:
        assert np.interp(found, labels, q) == pytest.approx(target, abs=1e-6)
    elif not np.isfinite(found):
        assert q.max() < target


@given(heights)
def test_the_area_lies_between_lowest_and_highest_and_adds_up(quality: list[float]) -> None:
    labels, q = steps(len(quality)), np.array(quality)
    low, high = labels[0], labels[-1]
    whole = area(labels, q, low, high)
    assert q.min() - 1e-9 <= whole <= q.max() + 1e-9
    middle = (low + high) / 2
    parts = (area(labels, q, low, middle) + area(labels, q, middle, high)) / 2
    assert parts == pytest.approx(whole, abs=1e-9)


def test_the_area_of_a_line_is_its_middle() -> None:
    assert area(np.array([0.0, 10]), np.array([0.0, 1.0]), 2, 6) == pytest.approx(0.4)
    assert area(np.array([0.0, 10]), np.array([0.0, 1.0]), 5, 5) == pytest.approx(0.5)


def test_curves_are_compared_where_all_are_known() -> None:
    xs = [np.array([5.0, 20]), np.array([8.0, 30])]
    assert common(xs) == (8, 20)
    assert on(np.array([10.0]), xs, [np.array([0.0, 0.3]), np.array([0.0, 1.0])]) == pytest.approx(
        np.array([[0.1], [2 / 22]])
    )


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_a_band_holds_the_mean_and_lies_within_the_seeds(values: list[float]) -> None:
    mean, low, high = band(np.array(values), draws=200)
    assert min(values) - 1e-9 <= low <= mean + 1e-9
    assert mean - 1e-9 <= high <= max(values) + 1e-9


def test_a_band_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(300):
        _, low, high = band(rng.normal(0.5, 0.1, 20), draws=400, seed=int(rng.integers(1000)))
        inside += bool(low <= 0.5 <= high)
    assert 0.87 <= inside / 300 <= 0.98, "the percentile bootstrap of 20 seeds is a little narrow"


@given(st.lists(st.integers(-50, 50).filter(bool), min_size=1, max_size=12, unique_by=abs))
def test_signed_rank_is_exact_without_ties(differences: list[int]) -> None:
    """Against all 2ⁿ signs, which is what the test is about."""
    values = np.array(differences, float)
    ranks = np.argsort(np.argsort(np.abs(values))) + 1
    signs = (np.arange(2 ** len(values))[:, None] >> np.arange(len(values))) & 1
    every = signs @ ranks
    seen = ranks[values > 0].sum()
    low, high = (every <= seen).mean(), (every >= seen).mean()
    assert signed_rank(values) == pytest.approx(min(1.0, 2 * min(low, high)))
    assert signed_rank(values, "less") == pytest.approx(low)


def test_signed_rank_of_known_values() -> None:
    assert signed_rank(np.arange(1.0, 13)) == pytest.approx(2 / 2**12)
    assert signed_rank(-np.arange(1.0, 13), "less") == pytest.approx(1 / 2**12)
    assert signed_rank(np.zeros(12)) == 1.0, "nothing differs"
    tied = np.array([0.1, 0.1, 0.1, 0.2, -0.1, 0.3, 0.2, 0.0])
    kept = np.round(tied[tied != 0], 12)
    assert signed_rank(tied) == pytest.approx(wilcoxon(kept, method="approx").pvalue)


def test_holm_of_known_values() -> None:
    found = holm(np.array([0.01, 0.04, 0.03, 0.005]))
    assert found == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([])).shape == (0,)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=10))
def test_holm_lies_between_none_and_bonferroni(p: list[float]) -> None:
    raw = np.array(p)
    found = holm(raw)
    assert (found >= raw).all()
    assert (found <= np.minimum(raw * len(raw), 1) + 1e-12).all()
    assert (found[np.argsort(raw, kind="stable")][1:] >= found[np.argsort(raw, kind="stable")][:-1]).all()
    assert (found >= false_discovery_control(raw) - 1e-12).all(), "stricter than Benjamini and Hochberg"


def test_wins_are_counted_seed_by_seed() -> None:
    reference = np.array([0.5, 0.6, 0.7, 0.8])
    found = paired({"r": reference, "better": reference + np.array([0.1, 0.2, 0.0, -0.05])}, "r")
    better = found["better"]
    assert (better.wins, better.ties, better.losses) == (2, 1, 1)
    assert better.gain == pytest.approx(0.0625)
    assert better.holm == better.p
    assert set(found) == {"better"}


def test_a_round_that_is_surely_worse_is_found_and_noise_is_not() -> None:
    rng = np.random.default_rng(1)
    reference = rng.normal(0.5, 0.02, (12, 10))
    ours = reference + rng.normal(0.01, 0.002, reference.shape)
    assert worse_at(ours[:7], reference[:7]) is None, "10 rounds of 7 seeds can't tell: 10 / 2⁷ > .05"
    never = worse_at(ours, reference)
    assert never is not None
    assert never.tolist() == []
    ours[:, 4] = reference[:, 4] - rng.uniform(0.01, 0.02, 12)
    once = worse_at(ours, reference)
    assert once is not None
    assert once.tolist() == [4]
