"""Several opinions of one thing: committees, and one detector's looks at a turned tile."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from groundlook.core.errors import InvalidInput
from groundlook.core.geometry import Box
from groundlook.core.types import ModelVersion, Prediction, Region, Score
from groundlook.scoring.committee import mean_divergence, vote_entropy
from groundlook.scoring.consistency import BASE, consistency, inconsistency
from groundlook.scoring.disagreement import disagreement, with_disagreement

V = ModelVersion("m", "aa")
opinions = arrays(
    np.float64,
    st.tuples(st.integers(1, 4), st.integers(0, 6), st.integers(1, 4)),
    elements=st.one_of(st.floats(0, 1), st.just(np.nan)),
)


@given(opinions)
def test_of_one_mind_is_0_and_the_range_is_0_to_1(raw: np.ndarray) -> None:
    for measure in (vote_entropy, mean_divergence):
        found = measure(raw)
        assert found.shape == (raw.shape[1],)
        assert ((np.isnan(found)) | ((found >= 0) & (found <= 1))).all()
        votes = (np.isfinite(raw).all(axis=2) & (np.nansum(raw, axis=2) > 0)).sum(axis=0)
        assert (np.isnan(found) == (votes < 2)).all()
        alike = measure(np.repeat(raw[:1], 3, axis=0))
        assert alike[np.isfinite(alike)] == pytest.approx(0, abs=1e-9)


def test_each_sure_of_another_class_is_as_divided_as_can_be() -> None:
    split = np.eye(3)[:, None, :]
    assert vote_entropy(split) == pytest.approx([1])
    assert mean_divergence(split) == pytest.approx([1])
    torn = np.array([[[0.6, 0.4]], [[0.4, 0.6]]])
    assert vote_entropy(torn) == pytest.approx([1]), "votes see the sides only"
    assert mean_divergence(torn)[0] < 0.1, "divergence sees how near they are"


def one(box: tuple[float, float, float, float], *proba: float) -> tuple[np.ndarray, np.ndarray]:
    return np.array([box]), np.array([proba])


def test_found_again_exactly_lost_and_in_between() -> None:
    sure, doubtful = one((0, 0, 10, 10), 1.0, 0.0), one((0, 0, 10, 10), 0.5, 0.4)
    assert consistency(sure, sure) == pytest.approx([1])
    assert consistency(sure, one((50, 50, 60, 60), 1.0, 0.0)) == pytest.approx([0])
    other_class = consistency(sure, one((0, 0, 10, 10), 0.0, 1.0))
    assert other_class == pytest.approx([0.5]), "the box only"
    assert consistency(sure, sure) > consistency(doubtful, doubtful) > other_class
    assert consistency(sure, one((5, 0, 15, 10), 1.0, 0.0)) == pytest.approx([(1 / 3 + 1) / 2])
    assert np.isnan(consistency(one((0, 0, 10, 10), np.nan, 0.2), sure)).all()
    assert consistency(sure, one((0, 0, np.nan, 10), 1.0, 0.0)) == pytest.approx([0])


def test_the_tile_by_its_most_telling_detection() -> None:
    nothing = (np.zeros((0, 4)), np.zeros((0, 2)))
    sure = one((0, 0, 10, 10), 1.0, 0.0)
    assert inconsistency(nothing, [nothing]) == 0
    assert inconsistency(nothing, [sure]) == inconsistency(sure, [nothing]) == 1
    assert np.isnan(inconsistency(sure, []))
    telling = one((0, 0, 10, 10 * (2 * BASE - 1) / 1.0), 1.0, 0.0)
    assert inconsistency(sure, [telling]) > inconsistency(sure, [sure])
    assert inconsistency(sure, [sure, telling]) == pytest.approx(
        (inconsistency(sure, [sure]) + inconsistency(sure, [telling])) / 2
    )


def detected(*found: tuple[Box, str, float]) -> Prediction:
    return Prediction(V, tuple(Region(box, label, score) for box, label, score in found))


def classified(*proba: float, kind: str = "classification") -> Prediction:
    return Prediction(V, (), np.array([proba], np.float32), kind=kind)  # type: ignore[arg-type]


def test_predictions_of_every_kind() -> None:
    roof = detected((Box(0, 0, 10, 10), "roof", 0.9))
    assert disagreement([roof, detected((Box(0, 0, 10, 7), "tree", 0.9))]) > disagreement([roof, roof])
    assert disagreement([classified(0.9, 0.1), classified(0.9, 0.1)]) == pytest.approx(0)
    assert disagreement([classified(1, 0), classified(0, 1)]) == pytest.approx(1)
    many = [classified(*p, kind="classification-multiple") for p in ((1, 0.5), (0, 0.5))]
    assert disagreement(many) == pytest.approx(1)
    cells = np.tile(np.array([[0.9, 0.1]], np.float32), (40, 1))
    other = cells.copy()
    other[:2] = [0.1, 0.9]
    pixels = [Prediction(V, (), c, kind="segmentation") for c in (cells, other)]
    assert disagreement(pixels) > 0.4, "two cells of forty are not averaged away"


def test_unknown_is_not_0() -> None:
    roof, unknown = detected((Box(0, 0, 10, 10), "roof", 0.9)), Prediction(V, (), knows=False)
    assert np.isnan(disagreement([roof]))
    assert np.isnan(disagreement([roof, unknown]))
    score = Score(0.4, {"entropy": 0.4})
    assert with_disagreement(score, [roof]) is score
    assert with_disagreement(Score(None), [roof, roof]) == Score(None)
    apart = [classified(1, 0), classified(0, 1)]
    assert with_disagreement(score, apart).value == pytest.approx(0.7)
    assert set(with_disagreement(score, apart).terms) == {"entropy", "disagreement"}
    with pytest.raises(InvalidInput, match="one kind"):
        disagreement([roof, classified(1, 0)])
