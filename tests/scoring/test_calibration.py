"""Calibration finds what was done to honest probabilities, and does no harm where there is little to learn from."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.isotonic import isotonic_regression

from groundlook.core.errors import InvalidInput
from groundlook.scoring.calibration import Temperature, calibration_error, fit_temperature
from groundlook.scoring.isotonic import Isotonic, fit_isotonic, pooled


def honest(count: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities, and classes drawn from them."""
    rng = np.random.default_rng(seed)
    proba = rng.dirichlet(np.full(classes, 0.5), count)
    return proba, (proba.cumsum(axis=1) > rng.random((count, 1))).argmax(axis=1)


@pytest.mark.parametrize("spoiled", [0.4, 1.0, 2.5])
@pytest.mark.parametrize("exclusive", [True, False])
def test_temperature_finds_the_one_that_spoiled_it(spoiled: float, exclusive: bool) -> None:
    proba, true = honest(4000, 5)
    truth: np.ndarray = true
    if not exclusive:
        truth = np.random.default_rng(1).random(proba.shape) < proba
    said = Temperature(1 / spoiled, exclusive).apply(proba)
    found = fit_temperature(said, truth)
    assert found.map.value == pytest.approx(spoiled, rel=0.1)
    assert found.before is not None
    assert found.after is not None
    assert found.after < 0.04
    if spoiled == 2.5:
        assert found.before > 2 * found.after
    assert found.labels == 4000


@given(
    arrays(np.float64, st.tuples(st.integers(1, 20), st.integers(2, 6)), elements=st.floats(1e-3, 1)), st.floats(0.2, 5)
)
def test_a_temperature_keeps_rows_whole_and_their_order(raw: np.ndarray, value: float) -> None:
    proba = raw / raw.sum(axis=1, keepdims=True)
    warm = Temperature(value).apply(proba)
    assert warm.sum(axis=1) == pytest.approx(1)
    assert (np.take_along_axis(warm, proba.argmax(axis=1)[:, None], 1)[:, 0] >= warm.max(axis=1) - 1e-12).all()
    assert Temperature(1.0).apply(proba) == pytest.approx(proba, abs=1e-6)


def test_nothing_to_learn_from_changes_nothing() -> None:
    none = fit_temperature(np.zeros((0, 3)), np.zeros(0, np.int64))
    assert (none.map, none.before, none.after, none.labels) == (Temperature(1.0), None, None, 0)
    assert fit_temperature(np.ones((9, 1)), np.zeros(9, np.int64)).map.value == 1
    assert fit_temperature(np.full((9, 2), 0.5), np.zeros(9, np.int64)).map.value == pytest.approx(1)
    assert fit_temperature(np.array([[0.9, 0.1]]), np.array([0])).after is None
    assert fit_isotonic(np.zeros(0), np.zeros(0, bool)).map == Isotonic()
    assert Isotonic().apply(np.array([0.3])) == pytest.approx([0.3])


def test_a_few_labels_that_were_all_right_make_nobody_certain() -> None:
    said = np.tile([[0.7, 0.3]], (10, 1))
    warm = fit_temperature(said, np.zeros(10, np.int64)).map.apply(said)
    assert 0.9 < warm[0, 0] < 0.97
    assert fit_isotonic(said[:, 0], np.ones(10, bool)).map.apply(np.array([0.1, 0.9])) == pytest.approx([11 / 12] * 2)
    assert fit_isotonic(said[:, 0], np.zeros(10, bool)).map.apply(np.array([0.9])) == pytest.approx([1 / 12])


def test_what_is_not_finite_is_left_out_and_odd_shapes_are_named() -> None:
    said, true = honest(200, 3)
    with_nan = np.vstack([said, [[np.nan, 0.5, 0.5]]])
    assert fit_temperature(with_nan, np.append(true, 0)) == fit_temperature(said, true)
    assert np.isnan(Temperature(2.0).apply(with_nan)[-1]).all()
    assert fit_isotonic(np.array([0.5, np.nan]), np.array([True, False])).labels == 1
    with pytest.raises(InvalidInput, match=r"\(200, 3\)"):
        fit_temperature(said, true[:-1])
    with pytest.raises(InvalidInput, match="of 3"):
        fit_temperature(said, np.full(200, 3))
    with pytest.raises(InvalidInput, match="answers"):
        fit_isotonic(np.zeros(3), np.zeros(2, bool))


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(0.1, 9)), min_size=1, max_size=60))
def test_pooling_is_isotonic_regression(rows: list[tuple[float, float]]) -> None:
    y, w = (np.array(column) for column in zip(*rows, strict=True))
    assert pooled(y, w) == pytest.approx(isotonic_regression(y, sample_weight=w), abs=1e-9)


@settings(deadline=None)
@given(st.integers(0, 50))
def test_isotonic_is_ascending_within_what_the_labels_allow_and_helps(seed: int) -> None:
    rng = np.random.default_rng(seed)
    true_share = rng.random(800)
    found = fit_isotonic(true_share**3, rng.random(800) < true_share)
    line = found.map.apply(np.linspace(-1, 2, 50))
    assert (np.diff(line) >= 0).all()
    assert line.min() >= 1 / 802
    assert line.max() <= 801 / 802
    assert found.before is not None
    assert found.after is not None
    assert found.after < found.before / 2


def test_the_error_is_the_gap_of_each_bin() -> None:
    assert calibration_error(np.array([0.9, 0.9, 0.1, 1.0]), np.array([1.0, 0.0, 0.0, 1.0])) == pytest.approx(0.9 / 4)
    assert calibration_error(np.zeros(0), np.zeros(0)) is None
