"""When a training starts, and why."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundlook.loop import trigger
from groundlook.loop.parts import LoopSettings
from groundlook.loop.said import keep_embeddings
from groundlook.loop.sync import sync
from groundlook.loop.trigger import due, unlike
from tests.loop.house import House, quiet


def house(**settings: object) -> House:
    found = House(settings=LoopSettings(window=20, random_share=0.0, **settings))  # type: ignore[arg-type]
    found.add(80)
    return found


def done(of: House) -> int:
    return sum(not a.skipped for a in of.store.served(7))


def learned(of: House) -> None:
    of.store.put_value(7, trigger.LEARNED, done(of))
    of.store.put_value(7, trigger.LEARNED_AT, of.now)
    of.store.put_value(7, trigger.EDITED, 0)


def test_every_n_labels() -> None:
    of = house(retrain_every=5)
    for task in range(1, 5):
        of.answer(task, ["House"])
    assert not due(of.loop, of.project, done(of))
    of.answer(5, ["House"])
    assert "5 new labels" in due(of.loop, of.project, done(of))
    learned(of)
    assert not due(of.loop, of.project, done(of))


def test_the_projects_own_number_counts_more_than_the_services() -> None:
    of = house(retrain_every=50)
    of.store.put_project(replace(of.project, settings={"retrain_every": 3}))
    for task in range(1, 4):
        of.answer(task, ["House"])
    assert due(of.loop, of.project, done(of))


def test_corrected_answers_are_new_ones() -> None:
    of = house(retrain_every=3)
    for task in range(1, 4):
        of.answer(task, ["House"])
    learned(of)
    for _ in range(3):
        of.store.next_number(7, trigger.EDITED)
    assert "3 new labels" in due(of.loop, of.project, done(of))


def test_on_a_schedule_but_not_for_nothing() -> None:
    of = house(retrain_every=50, retrain_hours=24)
    of.answer(1, ["House"])
    learned(of)
    of.now += 25 * 3600
    assert not due(of.loop, of.project, done(of)), "nothing new"
    of.answer(2, ["House"])
    assert "25 hours" in due(of.loop, of.project, done(of))


def vectors(of: House, tasks: range, centre: np.ndarray) -> None:  # type: ignore[type-arg]
    rng = np.random.default_rng(tasks.start)
    rows = (centre + rng.normal(size=(len(tasks), 6)) * 0.3).astype(np.float32)
    keep_embeddings(of.features, 7, of.loop.embedder, list(tasks), rows)


@pytest.mark.parametrize("elsewhere", [False, True])
def test_labels_of_new_ground_start_one_earlier(elsewhere: bool) -> None:
    of = house(retrain_every=50)
    here, there = np.eye(6)[0] * 2, np.eye(6)[1] * 2
    vectors(of, range(1, 31), here)
    vectors(of, range(31, 41), there if elsewhere else here)
    for task in range(1, 31):
        of.answer(task, ["House"])
    learned(of)
    for task in range(31, 41):
        of.answer(task, ["House"])
    assert ("unlike" in due(of.loop, of.project, done(of))) == elsewhere


@given(st.integers(0, 2**31))
def test_more_of_the_same_is_hardly_ever_called_new(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(60, 8)).astype(np.float32)
    assert not unlike(rows[:40], np.concatenate([rows[:10], rows[5:15]])), "those are known"
    assert unlike(np.abs(rows[:40]), -np.abs(rows[40:])), "those are nowhere near"


@pytest.mark.parametrize(("quality", "expected"), [((0.1, 0.3, 0.45, 0.55), True), ((0.7, 0.7, 0.7, 0.7), False)])
def test_labels_that_promise_much_start_one_earlier(quality: tuple[float, ...], expected: bool) -> None:
    of = house(retrain_every=500, retrain_gain=0.01)
    for number, (labels, q) in enumerate(zip((10, 20, 30, 40), quality, strict=True)):
        of.promote(f"v{number}", q)
        of.store.put_value(7, f"labels of snapv{number}", labels)
    for task in range(1, 41):
        of.answer(task, ["House"])
    learned(of)
    for task in range(41, 71):
        of.answer(task, ["House"])
    assert ("promise" in due(of.loop, of.project, done(of))) == expected


def test_sync_asks_for_one_and_says_why() -> None:
    of = house(retrain_every=2)
    of.answer(1, ["House"])
    of.answer(2, ["House"], told=False)
    assert "2 new labels" in sync(of.loop, 7, quiet)
    assert of.submitted.count("learn") == 1
