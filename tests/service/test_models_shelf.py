"""Models in memory: which are kept, and until when."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from groundlook.core.geo import Tile
from groundlook.core.types import Control, LabelConfig, ModelVersion, Prediction, Project, Window
from groundlook.service import shelf as shelves
from groundlook.service.kinds import KINDS, Kind
from groundlook.service.shelf import ModelShelf
from tests.learning.versions import A, B, C, registry_of

CONFIG = LabelConfig(
    "label", "RectangleLabels", "image", "image", ("x",), (Control("label", "RectangleLabels", ("x",)),)
)
PROJECT = Project(1, "http://127.0.0.1:9", "t", CONFIG)
TILE = Tile(np.zeros((4, 4, 3), np.uint8))


@dataclass(eq=False)
class Slow:
    """A model that answers when it is let."""

    version: ModelVersion
    entered: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def load(cls, card: Any, *_: Any, **__: Any) -> Slow:
        made = cls(card.version)
        made.go.set()
        LOADED.append(weakref.ref(made))
        return made

    def predict(self, tiles: list[Tile]) -> list[Prediction]:
        self.entered.set()
        assert self.go.wait(30)
        return [Prediction(self.version, ()) for _ in tiles]


LOADED: list[weakref.ref[Slow]] = []


def alive() -> list[ModelVersion]:
    gc.collect()
    return [model.version for ref in LOADED if (model := ref()) is not None]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setitem(KINDS, "yolo", Kind("tests.service.test_models_shelf:Slow"))
    LOADED.clear()
    registry = registry_of(tmp_path, "abc")
    windows: dict[int, Window] = {}
    yield Desk(registry, ModelShelf(registry, None, "", 0, windows.get), windows)  # type: ignore[arg-type]
    LOADED.clear()


@dataclass
class Desk:
    registry: Any
    shelf: ModelShelf
    windows: dict[int, Window]

    def promote(self, version: ModelVersion) -> None:
        serving = self.registry.serving(1)
        self.registry.promote(1, version, None if serving is None else serving.version)

    def ask(self, version: ModelVersion, project: Project = PROJECT) -> ModelVersion:
        return self.shelf.serving(project, version).predict([TILE])[0].version


def test_a_promoted_version_is_picked_up_and_the_old_one_goes(desk: Desk) -> None:
    for version in (A, B, C):
        desk.promote(version)
        assert desk.ask(version) == version
        assert alive() == [version]


def test_the_model_of_the_queue_stays_until_the_queue_is_of_the_new_one(desk: Desk) -> None:
    desk.promote(A)
    desk.windows[1] = Window(1, A, ())
    desk.ask(A)
    desk.promote(B)
    for _ in range(3):  # a refresh by B, while people are served by A
        desk.ask(B)
        desk.ask(A)
    assert alive() == [A, B]
    assert len(LOADED) == 2  # and neither was loaded twice
    desk.windows[1] = Window(2, B, ())
    desk.ask(B)
    assert alive() == [B]


def test_a_request_in_flight_ends_on_the_version_that_it_began_with(desk: Desk) -> None:
    desk.promote(A)
    desk.ask(A)
    old = LOADED[0]()
    assert old is not None
    old.go.clear()
    old.entered.clear()
    entered, go = old.entered, old.go
    del old
    said: list[ModelVersion] = []
    request = threading.Thread(target=lambda: said.append(desk.ask(A)))
    request.start()
    assert entered.wait(30)
    desk.promote(B)
    assert desk.ask(B) == B
    assert alive() == [A, B]  # somebody still waits for it
    go.set()
    request.join(30)
    assert said == [A]
    assert alive() == [B]  # that was its last request


def test_a_rollback_brings_the_earlier_one_back_and_drops_the_other(desk: Desk) -> None:
    desk.promote(A)
    desk.ask(A)
    desk.promote(B)
    desk.ask(B)
    desk.registry.rollback(1)
    assert desk.ask(A) == A
    assert alive() == [A]


def test_models_of_other_projects_and_labels_of_now_are_left_alone(desk: Desk) -> None:
    desk.promote(A)
    desk.ask(A)
    other = replace(PROJECT, config=replace(CONFIG, labels=("x", "y")))
    desk.ask(A, other)  # the label config was changed
    assert alive() == [A]
    assert len(LOADED) == 2
    desk.ask(A, other)
    assert len(LOADED) == 2


def test_a_hundred_promotions_leave_one_model_in_memory(desk: Desk) -> None:
    for i in range(100):
        version = (A, B, C)[i % 3]
        desk.promote(version)
        desk.ask(version)
    assert alive() == [C if i % 3 == 2 else (A, B)[i % 3]]
    shelf: Any = desk.shelf
    assert {len(d) for d in (shelf._loaded, shelf._loading, shelf._own_keys)} == {1}
    assert shelves.KEPT > 1
