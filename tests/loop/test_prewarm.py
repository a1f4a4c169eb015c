"""Prewarm: what people will open next is encoded before they do."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

import numpy as np
import pytest

from groundlook.core.errors import InvalidImage, InvalidWeights
from groundlook.core.geo import Tile
from groundlook.core.ports import Progress
from groundlook.core.prompts import Cut, Picture, Prompts
from groundlook.core.types import (
    Annotation,
    Control,
    LabelConfig,
    ModelVersion,
    Project,
    RankedTask,
    Task,
    Window,
)
from groundlook.loop.parts import Loop
from groundlook.loop.prewarm import prewarm
from groundlook_adapters.store.sqlite import SqliteStore

CONFIG = LabelConfig("label", "BrushLabels", "image", "image", ("A",), (Control("label", "BrushLabels", ("A",)),))
PROJECT = Project(7, "http://127.0.0.1:8080", "secret", CONFIG)
VERSION = ModelVersion("sam", "aa")


@dataclass
class Desk:
    """The world as prewarm sees it. `during`: called before each picture is encoded, with its key."""

    store: SqliteStore
    tasks: list[Task]
    encoded: list[str] = field(default_factory=list)
    unreadable: set[str] = field(default_factory=set)
    late: set[str] = field(default_factory=set)
    during: Callable[[str], None] = lambda key: None
    without: bool = False
    broken: bool = False

    def publish(self, number: int, order: Sequence[int]) -> None:
        ranked = tuple(RankedTask(t, place, None, "because") for place, t in enumerate(order))
        self.store.add_window(7, Window(number, VERSION, ranked))

    def loop(self) -> Loop:
        given = {"store": self.store, "labels": _Labels(self), "images": _Images(self), "segmenters": _Segmenters(self)}
        needed = {f.name for f in fields(Loop) if f.default is MISSING and f.default_factory is MISSING}
        values: dict[str, Any] = {name: given.get(name) for name in needed}
        return Loop(**values)

    def run(self, progress: Progress = lambda done, text: None) -> str:
        return prewarm(self.loop(), 7, progress)


@dataclass
class _Labels:
    desk: Desk

    def tasks(self, project: Project) -> list[Task]:
        return sorted(self.desk.tasks, key=lambda t: t.id)


@dataclass
class _Images:
    desk: Desk

    def picture(self, project: Project, task: Task) -> Picture:
        if task.image in self.desk.unreadable:
            raise InvalidImage(f"{task.image} is no image")

        def read() -> Tile:
            if task.image in self.desk.late:
                raise InvalidImage(f"{task.image} ends in the middle")
            return Tile(np.zeros((8, 8, 3), dtype=np.uint8))

        return Picture(task.image, (8, 8), read)


@dataclass
class _Segmenters:
    desk: Desk

    def interactive(self, project: Project) -> _Segmenter | None:
        if self.desk.broken:
            raise InvalidWeights("sam.pth is missing; put it there")
        return None if self.desk.without else _Segmenter(self.desk)


@dataclass
class _Segmenter:
    desk: Desk
    version: ModelVersion = VERSION

    def segment(self, picture: Picture, prompts: Sequence[Prompts]) -> list[Cut]:
        raise AssertionError("whoever prewarms asks for encodings only")

    def propose(self, picture: Picture, progress: Progress) -> list[Cut]:
        raise AssertionError("whoever prewarms asks for encodings only")

    def encode(self, picture: Picture) -> bool:
        self.desk.during(picture.key)
        if picture.key in self.desk.encoded:
            return False
        picture.read()
        self.desk.encoded.append(picture.key)
        return True


@pytest.fixture
def desk() -> Iterator[Desk]:
    store = SqliteStore(":memory:")
    store.put_project(PROJECT)
    yield Desk(store, [Task(i, f"p{i}") for i in range(1, 7)])
    store.close()


def test_pictures_are_encoded_in_the_order_of_the_queue(desk: Desk) -> None:
    desk.publish(1, [4, 2, 6])
    told: list[tuple[float, str]] = []
    message = desk.run(lambda done, text: told.append((round(done, 2), text)))
    assert desk.encoded == ["p4", "p2", "p6"]
    assert told == [
        (0.33, "1 of 3 pictures encoded"),
        (0.67, "2 of 3 pictures encoded"),
        (1.0, "3 of 3 pictures encoded"),
    ]
    assert message == "3 of 3 pictures of window sam@aa+w1 encoded: 3 now"


def test_it_continues_where_it_was_cancelled(desk: Desk) -> None:
    desk.publish(1, [4, 2, 6])

    def cancel(done: float, text: str) -> None:
        if done > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        desk.run(cancel)
    assert desk.encoded == ["p4", "p2"]
    assert desk.run() == "3 of 3 pictures of window sam@aa+w1 encoded: 1 now, 2 kept before"
    assert desk.encoded == ["p4", "p2", "p6"]


def test_it_starts_over_when_the_order_changes(desk: Desk) -> None:
    desk.publish(1, [1, 2, 3])

    def republish(key: str) -> None:
        if key == "p2":
            desk.publish(2, [6, 2, 5])

    desk.during = republish
    message = desk.run()
    assert desk.encoded == ["p1", "p2", "p6", "p5"]
    assert message == "3 of 3 pictures of window sam@aa+w2 encoded: 4 now, 1 kept before"


def test_a_window_published_during_the_last_picture_is_walked_too(desk: Desk) -> None:
    desk.publish(1, [1])
    desk.during = lambda key: desk.publish(2, [1, 5])
    desk.run()
    assert desk.encoded == ["p1", "p5"]


def test_tasks_that_were_answered_meanwhile_are_passed_over(desk: Desk) -> None:
    desk.tasks[0] = Task(1, "p1", labelled=True)
    desk.publish(1, [1, 2, 3, 99])

    def answer(key: str) -> None:
        desk.store.add_served(7, [Annotation(1, 3, (), "ann", 5.0, 1.0)])

    desk.during = answer
    assert desk.run() == "1 of 4 pictures of window sam@aa+w1 encoded: 1 now, 3 answered or gone"
    assert desk.encoded == ["p2"]


def test_unreadable_pictures_are_logged_and_the_others_go_on(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.unreadable, desk.late = {"p2"}, {"p3"}
    desk.publish(1, [2, 3, 4])
    with caplog.at_level(logging.WARNING):
        assert desk.run() == "1 of 3 pictures of window sam@aa+w1 encoded: 1 now, 2 unreadable"
    assert [r.getMessage() for r in caplog.records] == [
        "task 2 of project 7 is not encoded: p2 is no image",
        "task 3 of project 7 is not encoded: p3 ends in the middle",
    ]


def test_a_project_without_smart_tools_or_window_has_nothing_to_encode(desk: Desk) -> None:
    assert desk.run() == "no window is published yet, so there is nothing to encode"
    desk.publish(1, [1])
    desk.without = True
    assert desk.run() == "no interactive model, so there is nothing to encode"
    desk.without, desk.broken = False, True
    assert desk.run() == "nothing encoded: sam.pth is missing; put it there"
    assert desk.encoded == []
