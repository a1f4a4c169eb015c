"""Herding towards objects."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from groundlook.core.pool import Pool
from groundlook.strategies.dense import ObjectHerding, expected
from groundlook.strategies.herding import UHerding
from tests.conformance.pools import pool


def rows(given: Pool, strategy: ObjectHerding | UHerding) -> list[int]:
    return strategy.rank(given, 6, np.random.default_rng(0)).rows[:6].tolist()


def detector(counts: np.ndarray) -> Pool:
    return replace(pool(60), kind="detection", proba=None, classes=None, score=np.full(60, 0.5), counts=counts)


def test_of_equally_doubtful_tasks_it_takes_those_with_objects() -> None:
    counts = np.where(np.arange(60) < 12, 9.0, 0.0).astype(np.float32)[:, None]
    ranked = ObjectHerding().rank(detector(counts), 6, np.random.default_rng(0))
    assert (counts[ranked.rows[:6], 0] == 9).sum() >= 4
    assert ranked.terms["objects"].tolist() == counts[ranked.rows[:6], 0].tolist()


@pytest.mark.parametrize("counts", [None, np.full((60, 1), np.nan, np.float32)])
def test_without_counts_it_is_uherding_under_its_own_name(counts: np.ndarray | None) -> None:
    given = replace(pool(60), counts=counts)
    assert rows(given, ObjectHerding()) == rows(given, UHerding())
    assert ObjectHerding().rank(given, 3, np.random.default_rng(0)).strategy == "object-herding"


def test_an_unknown_count_is_the_median() -> None:
    counts = np.array([[1.0], [np.nan], [5.0], [3.0]], np.float32)
    given = replace(pool(4), counts=counts)
    found = expected(given)
    assert found is not None
    assert found.tolist() == [1, 3, 5, 3]
