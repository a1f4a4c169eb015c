"""The fast logistic regression has the answers of the plain one, brought to its end."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from groundlook.core.unsure import margin
from groundlook.models.studies.linear import learn


def made(count: int, wide: int, kinds: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points to learn from, their classes, and points to ask of."""
    rng = np.random.default_rng(seed)
    middles = 0.5 * rng.normal(size=(kinds, wide))
    classes = np.arange(count) % kinds
    points = middles[classes] + rng.normal(size=(count, wide))
    asked = middles[rng.integers(0, kinds, 500)] + rng.normal(size=(500, wide))
    return points, classes.astype(np.int64), asked


@pytest.mark.parametrize(("count", "wide"), [(40, 120), (120, 40)])
@pytest.mark.parametrize("kinds", [2, 7])
@pytest.mark.parametrize("weighed", [False, True])
def test_the_optimum_is_that_of_all_numbers(count: int, wide: int, kinds: int, weighed: bool) -> None:
    """With fewer examples than numbers, too, where it is sought among the examples only."""
    points, classes, asked = made(count, wide, kinds)
    weight = np.random.default_rng(1).uniform(0.2, 2, count) if weighed else None
    plain = LogisticRegression(C=3, tol=1e-9, max_iter=10_000).fit(points, classes, sample_weight=weight)
    found = learn(points, classes, 3, weight, tolerance=1e-9, rounds=10_000)
    assert found.classes.tolist() == plain.classes_.tolist()
    np.testing.assert_allclose(found.proba(asked), plain.predict_proba(asked), atol=1e-4)


def test_it_ends_no_farther_from_the_optimum_than_the_plain_one_and_picks_more_of_what_that_picks() -> None:
    points, classes, asked = made(100, 512, 20)
    best = LogisticRegression(tol=1e-9, max_iter=10_000).fit(points, classes).predict_proba(asked)
    plain = LogisticRegression(max_iter=1000).fit(points, classes).predict_proba(asked)
    mine = learn(points, classes).proba(asked)
    assert np.abs(mine - best).max() <= np.abs(plain - best).max()
    first, theirs, right = (set(np.argsort(-margin(p))[:50].tolist()) for p in (mine, plain, best))
    assert len(first & right) >= max(len(theirs & right), 45)


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_narrow_floats_say_the_same(kind: type) -> None:
    points, classes, asked = made(60, 100, 5)
    found = learn(points.astype(np.float32), classes)
    proba = found.proba(asked.astype(kind))
    assert proba.dtype == np.float32
    np.testing.assert_allclose(proba.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(proba, found.proba(asked), atol=1e-5 if kind is np.float32 else 2e-2)


def test_one_class_is_certain_and_nobody_asked_is_no_answer() -> None:
    points, _, asked = made(9, 4, 3)
    found = learn(points, np.full(9, 6))
    assert found.classes.tolist() == [6]
    assert (found.proba(asked) == 1).all()
    assert found.proba(asked[:0]).shape == (0, 1)


def test_many_rows_are_answered_in_pieces_as_one_by_one() -> None:
    points, classes, _ = made(50, 8, 4)
    asked = np.random.default_rng(3).normal(size=(20_000, 8)).astype(np.float32)
    found = learn(points, classes)
    whole = found.proba(asked)
    np.testing.assert_allclose(whole[[0, 8191, 8192, 19_999]], found.proba(asked[[0, 8191, 8192, 19_999]]), atol=1e-6)
