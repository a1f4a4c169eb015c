"""How sure a model said it was against how often it was right, out of the same tiles that it is measured on."""

from __future__ import annotations

import numpy as np
import pytest

from groundlook.core.geometry import Box, WholeTile
from groundlook.core.types import ModelVersion, Prediction, Region
from groundlook.evaluation.boxes import Boxes
from groundlook.evaluation.classes import Classes
from groundlook.scoring.score import calibrate, score_calibrated

V = ModelVersion("made", "0" * 12)


def box(x: float, score: float | None = None, label: str = "house") -> Region:
    return Region(Box(x, 0, x + 10, 10), label, score)


def test_a_box_is_right_where_it_finds_what_nothing_surer_found() -> None:
    tally = Boxes(("house", "tree"))
    found = (box(0, 0.9), box(1, 0.8), box(50, 0.7), box(100, 0.6, "tree"))
    tally.add(Prediction(V, found), (box(0), box(100)), (200, 200))
    said, right = tally.answers()
    assert said[:, 0].tolist() == pytest.approx([0.9, 0.8, 0.7, 0.6])
    assert right[:, 0].tolist() == [True, False, False, False]


def test_a_class_is_told_with_all_its_probabilities() -> None:
    tally = Classes(("a", "b"), ("b", "a"))
    assert tally.answers() is None
    row = np.array([[0.3, 0.7]], np.float32)
    answer = (Region(WholeTile(), "a", 0.7),)
    tally.add(Prediction(V, answer, row, 0.7, kind="classification"), (Region(WholeTile(), "b"),), (9, 9))
    answers = tally.answers()
    assert answers is not None
    assert answers[0] == pytest.approx(row)
    assert answers[1].tolist() == [0], "the column of b"


def test_what_says_it_is_surer_than_it_is_is_cooled_and_scores_as_less_sure() -> None:
    rng = np.random.default_rng(0)
    right = rng.random((400, 1)) < 0.6
    told = calibrate((np.full((400, 1), 0.95), right))
    assert told["temperature"] > 2
    assert told["ece_calibrated"] < 0.1 < told["ece"]
    sure = Prediction(V, (box(0, 0.95),), np.array([[0.95]], np.float32), 0.95)
    plain, warm = score_calibrated(sure).value, score_calibrated(sure, told["temperature"]).value
    assert plain is not None
    assert warm is not None
    assert warm > plain
    assert score_calibrated(sure, 1.0).value == plain
