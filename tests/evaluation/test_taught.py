"""Labels that are off show in what a detector sees beside them, however well it does on held-out tiles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundlook.core.exam import Taught
from groundlook.evaluation.taught import beside
from groundlook.learning.gate import STRICT, USUAL, Limits
from groundlook.learning.gate.labels import labels

SIDE = 10.0


def boxes(*corners: tuple[float, float]) -> np.ndarray:  # type: ignore[type-arg]
    return np.array([(x, y, x + SIDE, y + SIDE) for x, y in corners], np.float64).reshape(-1, 4)


def test_a_label_is_met_seen_beside_or_not_seen() -> None:
    assert beside(boxes((0, 0)), boxes((1, 1))) == (1, 0)
    assert beside(boxes((0, 0)), boxes((7, 0))) == (0, 1), "the thing stands 7 px further"
    assert beside(boxes((0, 0)), boxes((40, 0))) == (0, 0), "that is another thing"
    assert beside(boxes((0, 0), (7, 0)), boxes((7, 0))) == (1, 0), "that is its neighbour, which is labelled too"
    assert beside(boxes((0, 0)), np.array([[7.0, 0, 60, 60]])) == (0, 0), "and that is nothing alike"
    assert beside(boxes(), boxes((0, 0))) == beside(boxes((0, 0)), boxes()) == (0, 0)


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), unique=True, max_size=12), st.randoms())
def test_neither_order_nor_place_matters_and_right_labels_are_all_met(places: list[tuple[int, int]], chance) -> None:  # type: ignore[no-untyped-def]
    truth = boxes(*((30.0 * x, 30.0 * y) for x, y in places))
    assert beside(truth, truth) == (len(truth), 0)
    said = truth + np.array([6.0, 0, 6.0, 0])
    expected = beside(truth, said)
    order = list(range(len(truth)))
    chance.shuffle(order)
    assert beside(truth[order], said[::-1]) == expected == (0, len(truth))
    assert beside(truth + 500, said + 500) == expected


@pytest.mark.parametrize("limits", [USUAL, STRICT])
def test_many_labels_that_are_off_are_refused_and_chance_is_not(limits: Limits) -> None:
    honest, poisoned = Taught(285, 17), Taught(200, 53)
    found = labels(poisoned, honest, limits)
    assert (found.asks, found.state) == ("refused", "failed")
    assert "share seen elsewhere 0.209 after 0.056" in str(found)
    assert labels(Taught(270, 20), honest, USUAL).asks == "promoted"
    assert labels(honest, poisoned, USUAL).asks == "promoted", "fewer is no fault"
    assert labels(Taught(2, 2), Taught(20, 0), USUAL).state == "passed", "four labels say little"
    assert labels(Taught(0, 0), Taught(0, 0), replace(USUAL, mislaid=0.05)).asks == "promoted", "nothing known"
