"""From regions to tasks: every way of it against the plain loop, and what nothing and unknown are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundlook.core.errors import InvalidInput
from groundlook.core.mask import Mask
from groundlook.core.types import ModelVersion, Prediction, Region
from groundlook.scoring.aggregate import How, empty_term, per_task
from groundlook.scoring.score import score_prediction

WAYS = {
    "max": max,
    "mean": np.mean,
    "sum": sum,
    "top": lambda v: np.mean(sorted(v, reverse=True)[:3]),
    "count-aware": lambda v: sum(v) / len(v) ** 0.5,
}
values = st.lists(
    st.tuples(st.integers(0, 4), st.one_of(st.floats(0, 1), st.just(float("nan")))), min_size=0, max_size=40
)


@pytest.mark.parametrize("how", sorted(WAYS))
@given(rows=values)
def test_it_is_the_plain_loop(how: How, rows: list[tuple[int, float]]) -> None:
    empty = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
    got = per_task(np.array([v for _, v in rows]), np.array([t for t, _ in rows], np.int64), empty, how, 3)
    for task in range(5):
        mine = [v for t, v in rows if t == task]
        known = [v for v in mine if np.isfinite(v)]
        wanted = WAYS[how](known) if known else (np.nan if mine else empty[task])
        assert got[task] == pytest.approx(wanted, nan_ok=True)


def test_an_owner_that_does_not_exist_is_named() -> None:
    with pytest.raises(InvalidInput, match="2 tasks"):
        per_task(np.ones(1), np.array([2]), np.zeros(2))


def test_surely_empty_is_near_0_and_unknown_is_unknown() -> None:
    term = empty_term(np.array([0.0, 0.001, 0.3, 0.5, np.nan]))
    assert term[0] < term[1] < 0.02 < term[2] < term[3] == pytest.approx(1)
    assert np.isnan(term[4])


@pytest.mark.parametrize("kind", ["detection", "segmentation", "classification", "classification-multiple"])
def test_nan_of_everything_is_unknown_and_not_the_least_sure(kind: str) -> None:
    proba = np.full((1, 3), np.nan, np.float32)
    version = ModelVersion("m", "aa")
    shown = (Region(Mask.of(np.ones((4, 4))), "roof", 0.5),)
    assert score_prediction(Prediction(version, shown, proba, 0.5, kind=kind)).value is None  # type: ignore[arg-type]
    assert score_prediction(Prediction(version, (), peak=float("nan"), kind=kind)).value is None  # type: ignore[arg-type]


def test_one_nan_detection_is_left_out() -> None:
    version, good = ModelVersion("m", "aa"), np.array([[0.5, 0.1], [0.9, 0.0]], np.float32)
    plain = score_prediction(Prediction(version, (), good, 0.9)).value
    assert score_prediction(Prediction(version, (), np.vstack([good, [[np.nan, 0.2]]]), 0.9)).value == plain
