"""Two homes that publish for one project."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any

import pytest

from groundlook.core.types import Project, ProjectState, Task
from groundlook.loop.publish import NUMBER
from groundlook.loop.refresh import refresh
from groundlook.loop.sync import sync
from groundlook.service.metrics import LoopCollector
from tests.loop.house import House, quiet, trained, unsure, window


def taken(house: House) -> float:
    """As /metrics tells it."""
    (found,) = (f for f in LoopCollector(house.loop).collect() if f.name == "groundlook_windows_taken")
    return found.samples[0].value


@dataclass
class Chosen:
    """A Label Studio in which somebody chose a model version by hand."""

    labels: Any
    name: str

    def state(self, project: Project) -> ProjectState:
        return replace(self.labels.state(project), version=self.name)

    def tasks(self, project: Project) -> list[Task]:
        found: list[Task] = self.labels.tasks(project)
        return found


@pytest.fixture
def service() -> House:
    return trained(40)


def test_the_queue_is_not_taken_from_another_home_in_silence(service: House, caplog: pytest.LogCaptureFixture) -> None:
    """CI retrains in a home of its own, while a service serves the project."""
    ours = window(service).version
    ci = House(says=unsure, published=service.published)
    ci.add(40)
    ci.promote("bb")
    with caplog.at_level(logging.WARNING, "groundlook.loop"):
        assert f"in the place of another home's {ours}" in refresh(ci.loop, 7, quiet)
        theirs = service.published[-1].version
        said = sync(service.loop, 7, quiet)
    assert service.published[-1].model == window(service).model
    assert said.endswith(f"in the place of another home's {theirs}")
    assert (taken(ci), taken(service)) == (1, 1)
    assert f"takes the place of {theirs}, which another Groundlook published: give both the same" in caplog.text
    assert "nothing to refill" in sync(service.loop, 7, quiet)
    assert taken(service) == 1


def test_a_window_of_ours_that_was_not_written_down_is_no_stranger(
    service: House, caplog: pytest.LogCaptureFixture
) -> None:
    """Killed between Label Studio's answer and our store."""
    number = service.store.next_number(7, NUMBER)
    service.published.append(replace(window(service), number=number))
    assert "another home" not in sync(service.loop, 7, quiet)
    assert window(service).number == number + 1
    assert taken(service) == 0
    assert not caplog.text


@pytest.mark.parametrize("name", ["", "yolov8-other", "mine+west"])
def test_what_is_no_window_of_anybody_is_no_stranger(service: House, name: str) -> None:
    service.loop = service.made(labels=Chosen(service.loop.labels, name))
    assert "another home" not in sync(service.loop, 7, quiet)
    assert taken(service) == 0
