"""What a user would expect to come first, whatever the model."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from groundlook.core.geometry import Box
from groundlook.core.mask import Mask
from groundlook.core.types import ModelVersion, Prediction, Region
from groundlook.scoring.boxes import box_uncertainty
from groundlook.scoring.detection import score_detection
from groundlook.scoring.score import score_prediction

V = ModelVersion("m", "aa")
ROOF = Region(Mask.of(np.ones((4, 4), dtype=bool)), "roof", 0.9)
HOUSE = Region(Box(0, 0, 40, 40), "roof", 0.9)
KINDS = ("detection", "segmentation", "classification", "classification-multiple")


def score(prediction: Prediction) -> float:
    value = score_prediction(prediction).value
    assert value is not None
    return value


def segmented(*foreground: float, peak: float = 0.99, regions: tuple[Region, ...] = (ROOF,)) -> Prediction:
    p = np.array(foreground, np.float32)
    return Prediction(V, regions, np.stack([1 - p, p], axis=1), peak, kind="segmentation")


def classified(*proba: float, several: bool = False) -> Prediction:
    kind = "classification-multiple" if several else "classification"
    return Prediction(V, (), np.array([proba], np.float32), max(proba), kind=kind)  # type: ignore[arg-type]


@given(
    st.sampled_from(KINDS),
    arrays(np.float32, st.tuples(st.integers(0, 12), st.integers(1, 5)), elements=st.floats(0, 1, width=32)),
    st.floats(0, 1),
    st.booleans(),
    st.booleans(),
)
def test_every_score_is_finite_and_from_0_to_1(
    kind: str, raw: np.ndarray, peak: float, found: bool, spread: bool
) -> None:
    exclusive = kind in ("segmentation", "classification")
    proba = raw / np.maximum(raw.sum(axis=1, keepdims=True), 1e-9) if exclusive else raw
    sides = np.full((len(raw), 4), 3.0, np.float32) if spread else None
    made = Prediction(V, (HOUSE,) if found else (), proba, peak, kind=kind, spread=sides)  # type: ignore[arg-type]
    result = score_prediction(made)
    assert result.value is None or 0 <= result.value <= 1 + 1e-9
    assert all(np.isfinite(v) for v in result.terms.values())


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_is_none_and_never_zero(kind: str) -> None:
    assert score_prediction(Prediction(V, (), knows=False, kind=kind)).value is None  # type: ignore[arg-type]


def test_unsure_pixels_come_before_sure_ones() -> None:
    sure, some, all_of_it = [0.99] * 20 + [0.01] * 80, [0.99] * 15 + [0.5] * 5 + [0.01] * 80, [0.5] * 100
    assert score(segmented(*sure)) < 0.15
    assert score(segmented(*sure)) < score(segmented(*some)) <= score(segmented(*all_of_it))
    assert score(segmented(*some)) > 0.9


def test_surely_empty_ground_comes_last_and_almost_found_before_it() -> None:
    empty = segmented(*[0.001] * 50, peak=0.01, regions=())
    nearly = segmented(*[0.05] * 50, peak=0.4, regions=())
    too_small = segmented(*[0.05] * 50, peak=0.9, regions=())
    assert score(empty) < 0.1 < score(nearly) < score(too_small) == 1.0
    assert set(score_prediction(empty).terms) == {"empty", "foreground"}


def test_toss_ups_between_classes_come_first() -> None:
    assert score(classified(0.98, 0.01, 0.01)) < score(classified(0.6, 0.3, 0.1)) < score(classified(0.34, 0.33, 0.33))
    assert score(classified(1.0)) == 0.0
    assert score(classified(0.99, 0.01, several=True)) < score(classified(0.99, 0.5, several=True))
    assert score(classified(0.5, 0.5, several=True)) == pytest.approx(1)


def test_vague_boxes_come_before_sharp_ones_of_the_same_class() -> None:
    proba = np.array([[0.9], [0.1]], np.float32)

    def detected(side: float) -> Prediction:
        return Prediction(V, (HOUSE,), proba, 0.9, spread=np.array([[side] * 4, [90.0] * 4], np.float32))

    plain = score_detection(Prediction(V, (HOUSE,), proba, 0.9)).value
    assert plain == score(Prediction(V, (HOUSE,), proba, 0.9))
    assert score(detected(0.1)) < score(detected(4.0)) < score(detected(20.0)) == pytest.approx(0.75 * plain + 0.25)
    assert box_uncertainty(detected(5.0)) == pytest.approx(0.5)  # 5 px of a quarter of 40; the unsure one is not shown
    assert "box" in score_prediction(detected(5.0)).terms
    assert box_uncertainty(Prediction(V, (), proba, 0.9, spread=np.ones((2, 4), np.float32))) is None


def test_which_boxes_are_shown_is_the_detectors_to_say() -> None:
    """A region's score may be multiplied by another model's; that shows no further boxes."""
    proba, sides = np.array([[0.9], [0.1]], np.float32), np.array([[1.0] * 4, [90.0] * 4], np.float32)
    cut_out = Region(Box(0, 0, 40, 40), "roof", 0.05)
    assert box_uncertainty(Prediction(V, (cut_out,), proba, 0.9, spread=sides)) == pytest.approx(0.1)
