"""Sync looks at what it does not know, once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from groundlook.core.types import Annotation, Project
from groundlook.loop.publish import publish
from groundlook.loop.sync import sync
from tests.loop.house import House, quiet, trained


@dataclass
class Torn:
    """A Label Studio that counts an annotation which nobody can read."""

    labels: Any
    torn: int
    read: int = 0

    def annotations(self, project: Project) -> list[Annotation]:
        self.read += 1
        return [a for a in self.labels.annotations(project) if a.id != self.torn]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.labels, name)


@pytest.fixture
def torn() -> tuple[House, Torn]:
    """Three tasks are answered; of the second answer, which can't be read, no event told."""
    house = trained(40)
    for task in (1, 2, 3):
        house.answer(task, ["House"], told=task != 2)
    labels = Torn(house.loop.labels, torn=2)
    house.loop = house.made(labels=labels, strategies=house.loop.strategies)
    return house, labels


def test_an_annotation_that_can_t_be_read_does_not_have_all_read_again_at_every_sync(torn: tuple[House, Torn]) -> None:
    house, labels = torn
    for _ in range(3):
        sync(house.loop, 7, quiet)
    house.answer(4, ["House"])
    sync(house.loop, 7, quiet)
    assert labels.read == 1
    house.answer(5, ["House"], told=False)
    sync(house.loop, 7, quiet)
    assert labels.read == 2
    assert {a.task_id for a in house.store.served(7)} == {1, 3, 4, 5}
    sync(house.loop, 7, quiet)
    assert labels.read == 2


def test_nor_all_tasks_listed_again_at_every_window(torn: tuple[House, Torn]) -> None:
    house, _ = torn
    sync(house.loop, 7, quiet)
    publish(house.loop, house.project)
    listed = house.calls["listed"]
    house.answer(4, ["House"])
    publish(house.loop, house.project)
    assert house.calls["listed"] == listed
    assert 4 not in {t.task_id for t in house.published[-1].tasks}
