"""Rollback and promotion by hand: what people are served next."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from groundlook.core.errors import LabelStudioError
from groundlook.core.plan import ModelSpec, Plan
from groundlook.core.types import ModelCard, ModelVersion, Prediction
from groundlook.learning.registry import FileRegistry, file_sha256
from groundlook.loop.answer import answer, served_version
from groundlook.loop.publish import publish
from groundlook.loop.refresh import refresh
from groundlook.loop.rollback import promote, rollback
from groundlook.loop.sync import sync
from tests.loop.house import House, Plain, quiet, unsure, window

A, B, C = (ModelVersion("yolo", c * 12) for c in "abc")


class Away:
    """A Label Studio that is down."""

    def publish(self, *_: Any) -> None:
        raise LabelStudioError("Label Studio does not answer; start it")


class Told:
    def track(self, *_: Any) -> int:
        return 0


@pytest.fixture
def house(tmp_path: Path) -> House:
    """B serves, after A; both have looked at everything."""
    house = House(says=unsure)
    registry = FileRegistry(tmp_path / "models")
    house.loop = house.made(strategies=lambda name: Plain(), registry=registry, tracker=Told())
    house.add(40)
    for at, version in enumerate((A, B, C)):
        weights = tmp_path / f"{at}.bin"
        weights.write_bytes(str(version).encode())
        card = ModelCard(version, "yolo", "n", house.config.labels, file_sha256(weights), created=float(at))
        registry.save(7, card, weights)
    for version, over in ((A, None), (B, A)):
        registry.promote(7, version, over)
        refresh(house.loop, 7, quiet)
    assert window(house).model == B
    house.submitted.clear()
    return house


def test_the_queue_is_of_the_earlier_version_when_the_command_ends(house: House) -> None:
    said = rollback(house.loop, 7)
    assert said.startswith(f"{A} serves project 7 again; window {A}+w3 of ")
    assert served_version(house.loop, 7) == (f"{A}+w3", A)
    assert {p.version for p in house.predictions.values()} == {A}
    assert [t for t in house.submitted if t in ("refresh", "track")] == ["track", "refresh"]
    seen = house.calls["predicted"]
    refresh(house.loop, 7, quiet)
    assert house.calls["predicted"] == seen  # it had looked at everything in its time
    assert served_version(house.loop, 7)[1] == A


def test_without_label_studio_the_next_request_is_answered_by_it_all_the_same(house: House) -> None:
    loop = house.made(strategies=lambda name: Plain(), registry=house.loop.registry, queue=Away())
    assert "the queue follows by itself (Label Studio does not answer; start it)" in rollback(loop, 7)
    for process in (loop, house.loop):
        assert served_version(process, 7) == (str(A), A)
    (found,) = answer(house.loop, house.project, A, [house.tasks[3]])
    assert isinstance(found, Prediction)
    assert found.version == A
    sync(house.loop, 7, quiet)  # Label Studio is back: the withdrawn window is replaced, though it is as full as it was
    assert window(house).model == A
    assert served_version(house.loop, 7) == (window(house).version, A)


def test_a_window_that_was_being_made_while_somebody_rolled_back_is_made_again(house: House) -> None:
    queue = house.loop.queue

    class Late:
        def publish(self, project: Any, window: Any, predictions: Any) -> None:
            queue.publish(project, window, predictions)
            if window.model == B:
                house.loop.registry.rollback(7)

    publish(house.made(strategies=lambda name: Plain(), registry=house.loop.registry, queue=Late()), house.project)
    assert [w.model for w in house.published[-2:]] == [B, A]
    assert served_version(house.loop, 7) == (window(house).version, A)


def test_tasks_that_came_after_its_time_are_looked_at_in_the_background(house: House) -> None:
    house.add(10)
    refresh(house.loop, 7, quiet)  # by B only
    rollback(house.loop, 7)
    assert {t.task_id for t in window(house).tasks} <= set(range(1, 41))
    refresh(house.loop, 7, quiet)
    assert served_version(house.loop, 7)[1] == A
    assert set(house.loop.store.scores(7, A)) == set(range(1, 51))


def test_what_was_passed_over_is_not_shown_though_the_queue_was_slow(house: House) -> None:
    promote(house.loop, 7, C, B)
    assert served_version(house.loop, 7)[1] == B  # until C has looked at the open tasks
    assert house.submitted[-1] == "refresh"
    rollback(house.loop, 7, A)
    assert served_version(house.loop, 7)[1] == A
    assert {p.version for p in house.predictions.values()} == {A}


def test_a_plan_changes_the_name_of_a_version_and_nothing_else(house: House) -> None:
    first = planned(house, "m")
    refresh(house.loop, 7, quiet)
    assert served_version(house.loop, 7)[1] == B.under(first)
    second = planned(house, "n")
    assert served_version(house.loop, 7)[1] == B.under(first)  # until a window under the new plan is there
    house.loop.registry.rollback(7)
    assert served_version(house.loop, 7)[1] == A.under(second)
    refresh(house.loop, 7, quiet)
    assert served_version(house.loop, 7) == (window(house).version, A.under(second))


def planned(house: House, name: str) -> str:
    """Give the project a plan with one model; the plan's digest."""
    plan = Plan({name: ModelSpec(name, "yolo")})
    house.store.put_project(replace(house.project, settings={"plan": plan.body()}))
    return plan.digest
