"""How unsure a detector is: what a user would expect to come first."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from groundlook.core.types import ModelVersion, Prediction
from groundlook.scoring.detection import entropy, margin, score_detection

V = ModelVersion("yolo", "aa")
probabilities = arrays(np.float32, st.tuples(st.integers(1, 20), st.integers(1, 6)), elements=st.floats(0, 1, width=32))


def score(*rows: list[float], peak: float = 0.9) -> float:
    value = score_detection(Prediction(V, (), np.array(rows, dtype=np.float32), peak)).value
    assert value is not None
    return value


@given(probabilities)
def test_terms_are_finite_and_in_range(proba: np.ndarray) -> None:
    for term in (entropy(proba), margin(proba)):
        assert term.shape == (len(proba),)
        assert np.isfinite(term).all()
        assert ((term >= -1e-6) & (term <= 1 + 1e-6)).all()


def test_a_toss_up_comes_before_a_sure_thing() -> None:
    assert score([0.5, 0.45]) > score([0.9, 0.05]) > score([0.99, 0.0])
    assert score([0.5]) > score([0.8]) > score([0.97])


def test_noise_is_surely_nothing_however_many_classes_there_are() -> None:
    assert margin(np.array([[0.06, 0.0], [0.5, 0.0], [0.9, 0.85]])) == pytest.approx([0.12, 1.0, 0.95])
    assert score([0.06, 0.0]) == pytest.approx(score([0.06]), abs=1e-6)


def test_one_doubtful_thing_among_sure_ones_is_not_averaged_away() -> None:
    sure = [[0.99]] * 100
    assert score(*sure, [0.5]) > 2 * score(*sure)


def test_empty_is_not_unsure_but_almost_found_something_is_more_so() -> None:
    empty, nearly = Prediction(V, (), peak=0.001), Prediction(V, (), peak=0.049)
    low, high = score_detection(empty).value, score_detection(nearly).value
    assert low is not None
    assert high is not None
    assert 0 < low < 0.02 < high < score([0.5])
    assert "empty" in score_detection(empty).terms


def test_unknown_is_none_and_never_zero() -> None:
    assert score_detection(Prediction(V, (), knows=False)).value is None
