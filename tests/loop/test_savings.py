"""Savings of a project whose random stream and trainings are made up, in a real store and a real registry."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from pathlib import Path

import numpy as np
import pytest

from groundlook.core.geometry import Box
from groundlook.core.types import (
    Annotation,
    Control,
    LabelConfig,
    ModelCard,
    ModelVersion,
    Prediction,
    Project,
    RankedTask,
    Region,
    Score,
    Task,
    Window,
)
from groundlook.learning.registry import FileRegistry, file_sha256
from groundlook.learning.snapshot import make_snapshot, save_snapshot
from groundlook.loop.parts import Loop
from groundlook.loop.savings import answered, savings
from groundlook.service.cli.savings import said
from groundlook_adapters.store.sqlite import SqliteStore

CONFIG = LabelConfig(
    "label", "RectangleLabels", "image", "image", ("a",), (Control("label", "RectangleLabels", ("a",)),)
)
PROJECT = Project(7, "http://127.0.0.1:8080", "secret", CONFIG)
FIRST, SECOND = ModelVersion("yolo", "aa"), ModelVersion("yolo", "bb")
HERE, THERE = Region(Box(0, 0, 10, 10), "a"), Region(Box(50, 50, 10, 10), "a")


@dataclass
class _Labels:
    said: list[Annotation]

    def annotations(self, project: Project) -> list[Annotation]:
        return self.said


class Desk:
    """A project in memory. Tasks are answered one after another, one a second."""

    def __init__(self, home: Path) -> None:
        self.home, self.store, self.registry = home, SqliteStore(":memory:"), FileRegistry(home / "models")
        self.store.put_project(PROJECT)
        self.said: list[Annotation] = []
        self.now = 1000.0

    def window(self, version: ModelVersion, streams: list[str], knows: bool = True) -> list[int]:
        """Publish a window of new tasks, one for each of `streams`; their ids."""
        first = 1 + max([a.task_id for a in self.said], default=0)
        ids = list(range(first, first + len(streams)))
        tasks = tuple(RankedTask(t, i, None, "", s) for i, (t, s) in enumerate(zip(ids, streams, strict=True)))  # type: ignore[arg-type]
        number = self.store.next_number(7, "window")
        self.store.add_window(7, Window(number, version, tasks, self.now))
        shown = Prediction(version, (HERE,), knows=knows)
        self.store.put_predictions(7, version, dict.fromkeys(ids, (shown, Score(0.5))))
        return ids

    def answer(self, task: int, right: bool) -> None:
        """Somebody says that the model was right about `task`, or that the thing is elsewhere."""
        self.now += 1
        one = Annotation(len(self.said) + 1, task, (HERE if right else THERE,), "ann", self.now, 0.5)
        self.said.append(one)
        self.store.add_served(7, [one])

    def train(self, version: ModelVersion, quality: float) -> None:
        """A version that learned from everything said so far."""
        tasks = [Task(a.task_id, "x.png") for a in self.said]
        snapshot = make_snapshot(PROJECT, tasks, self.said)
        save_snapshot(snapshot, self.home / "snapshots" / "7")
        weights = self.home / "w.bin"
        weights.write_bytes(str(version).encode())
        metrics = {"quality": quality, "map50": quality, "objects": 9.0}
        kept = ModelCard(
            version, "yolo", "n", ("a",), file_sha256(weights), snapshot.id, created=self.now, metrics=metrics
        )
        self.registry.save(7, kept, weights)
        serving = self.registry.serving(7)
        self.registry.promote(7, version, serving.version if serving else None)

    def loop(self) -> Loop:
        given = {"store": self.store, "labels": _Labels(self.said), "registry": self.registry, "home": self.home}
        needed = {f.name for f in fields(Loop) if f.default is MISSING and f.default_factory is MISSING}
        return Loop(**{name: given.get(name) for name in needed})


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def lived(desk: Desk) -> Desk:
    """Two versions; the chosen are wrong every second time, the random every fourth."""
    for at, version in enumerate((FIRST, SECOND)):
        for task in desk.window(ModelVersion("untrained", "0" * 12), ["chosen"] * 12):
            desk.answer(task, right=False)
        desk.train(version, 0.5 + 0.1 * at)
        ids = desk.window(version, ["chosen", "chosen", "held out", "random"] * 40)
        for place, task in enumerate(ids):
            stream = place % 4
            desk.answer(task, right=stream == 2 or (place // 4) % (4 if stream == 3 else 2) > 0)
    return desk


def test_the_random_stream_tells_accuracy_and_labels_saved(desk: Desk) -> None:
    found = savings(lived(desk).loop(), 7)
    assert found.labels == 2 * (12 + 160)
    assert (found.chosen, found.random) == (160, 80)
    assert found.serving == str(SECOND)
    assert found.accuracy is not None
    assert found.ever is not None
    assert found.accuracy.value == found.ever.value == 0.75
    assert found.accuracy.high - found.accuracy.low > found.ever.high - found.ever.low, "half as many"
    assert found.random_labels is not None
    assert found.saved is not None
    assert found.random_labels.value == 320, "half wrong against a quarter: twice as many labels"
    assert found.saved.value == 160
    assert 0 < found.saved.low < 160 < found.saved.high
    assert "2 trainings on different numbers" in found.missing[-1]
    assert found.verdict == "unknown"


def test_what_a_model_had_not_looked_at_before_does_not_count(desk: Desk) -> None:
    lived(desk)
    rows = answered(desk.loop(), PROJECT)
    assert {r.version for r in rows} == {str(FIRST), str(SECOND)}, "an untrained model's silence is no answer"
    before = len(rows)
    desk.said.append(Annotation(999, 5000, (HERE,), "ann", desk.now, 0.5))
    desk.store.add_served(7, desk.said[-1:])
    assert len(answered(desk.loop(), PROJECT)) == before, "outside every window"
    desk.said.append(Annotation(1000, 20, (), "other", desk.now + 5, 0.5))
    desk.store.add_served(7, desk.said[-1:])
    assert len(answered(desk.loop(), PROJECT)) == before, "a second opinion came after the model had learned"


def test_a_project_without_anything_says_what_is_missing(desk: Desk) -> None:
    found = savings(desk.loop(), 7, target=0.8)
    assert (found.accuracy, found.saved, found.worth, found.needed) == (None, None, None, None)
    assert len(found.missing) == 3
    text = said(found)
    assert text.count("not known:") == 3
    assert "no task of the random stream was answered yet" in text


def test_trainings_tell_what_the_next_labels_are_worth(desk: Desk) -> None:
    rng = np.random.default_rng(0)
    for number in range(7):
        for task in desk.window(FIRST, ["chosen"] * 24):
            desk.answer(task, right=False)
        labels = len(desk.said)
        desk.train(ModelVersion("yolo", f"{number:02d}"), 0.8 - 2 * labels**-0.9 + rng.normal(0, 0.002))
    found = savings(desk.loop(), 7, more=500, least=0.05, target=0.75)
    assert [n for n, _ in found.points] == [24 * n for n in range(1, 8)]
    assert found.measure == "mAP50"
    assert found.worth is not None
    assert found.worth.low <= 2 * (168**-0.9 - 668**-0.9) <= found.worth.high
    assert found.verdict == "stop"
    assert savings(desk.loop(), 7, least=0.001).verdict == "go on"
    assert found.needed is not None
    assert found.needed.value == pytest.approx((2 / 0.05) ** (1 / 0.9), rel=0.25)
    text = said(found)
    assert "stop, surely less than 0.05" in text
    assert "mAP50 0.75 takes" in text
