"""A proof by training, with the classifier that we ship, on pictures of which we know what they teach."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

if importlib.util.find_spec("torch") is None:
    pytest.skip("torch is not installed", allow_module_level=True)

from groundlook.core.errors import InvalidInput
from groundlook.core.geo import Tile
from groundlook.core.geometry import WholeTile
from groundlook.core.types import (
    Annotation,
    Control,
    LabelConfig,
    ModelCard,
    ModelVersion,
    Project,
    RankedTask,
    Region,
    Stream,
    Task,
    Window,
)
from groundlook.loop.parts import Loop
from groundlook.loop.prove import prove
from groundlook.models.classifier.predict import ClassifierModel
from groundlook.models.classifier.train import ClassifierTrainer
from groundlook.service.cli.savings import proved
from groundlook_adapters.store.sqlite import SqliteStore

LABELS = ("grass", "sand", "water", "roof")
COLOURS = np.array([(60, 120, 50), (200, 180, 120), (30, 60, 150), (180, 70, 60)], float)
CONFIG = LabelConfig("what", "Choices", "image", "image", LABELS, (Control("what", "Choices", LABELS),))
PROJECT = Project(7, "http://127.0.0.1:8080", "secret", CONFIG)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Trainings this small only wait for each other's threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class _World:
    """Labels, images and models of a project whose task number says its class."""

    def __init__(self, streams: list[tuple[Stream, int]]) -> None:
        self.streams = streams

    def tasks(self, project: Project) -> list[Task]:
        return [Task(i, str(i)) for i in range(1, len(self.streams) + 1)]

    def annotations(self, project: Project) -> list[Annotation]:
        return [
            Annotation(i, i, (Region(WholeTile(), LABELS[kind]),), "ann", 1000.0 + i, 0.5)
            for i, (_, kind) in enumerate(self.streams, 1)
        ]

    def read(self, project: Project, task: Task) -> Tile:
        kind = self.streams[task.id - 1][1]
        rng = np.random.default_rng(task.id)
        shade = COLOURS[kind] + rng.normal(0, 25, 3)
        return Tile(np.clip(rng.normal(shade, 30, (32, 32, 3)), 0, 255).astype(np.uint8))

    def trainer(self, project: Project, champion: ModelCard | None) -> tuple[str, ClassifierTrainer, None]:
        assert champion is None, "every training starts as the first one does"
        return "classifier", ClassifierTrainer(), None

    def candidate(self, project: Project, card: ModelCard, weights: Path) -> ClassifierModel:
        return ClassifierModel.load(card, weights, project.config.labels, confidence=0.05)


@dataclass
class Desk:
    home: Path
    streams: list[tuple[Stream, int]]

    def loop(self) -> Loop:
        world, store = _World(self.streams), SqliteStore(":memory:")
        store.put_project(PROJECT)
        places = tuple(RankedTask(i, i, None, "", stream) for i, (stream, _) in enumerate(self.streams, 1))
        store.add_window(7, Window(1, ModelVersion("untrained", "0"), places, 500.0))
        store.add_served(7, world.annotations(PROJECT))
        given: dict[str, Any] = {"store": store, "labels": world, "images": world, "models": world, "home": self.home}
        needed = {f.name for f in fields(Loop) if f.default is MISSING and f.default_factory is MISSING}
        return Loop(**{name: given.get(name) for name in needed})


def project(home: Path, chosen: list[int]) -> Desk:
    """40 tasks at random, most of them grass; `chosen`: the classes of the chosen ones, in order."""
    drawn = np.random.default_rng(0).permutation([0] * 34 + [1] * 2 + [2] * 2 + [3] * 2)
    held_out: list[Stream] = ["random", "held out"]
    return Desk(home, [*((held_out[i % 2], int(k)) for i, k in enumerate(drawn)), *(("chosen", k) for k in chosen)])


def test_chosen_tasks_that_teach_more_are_proved_to(tmp_path: Path) -> None:
    found = prove(project(tmp_path, [0, 1, 2, 3] * 8).loop(), 7, lambda share, text: None, seed=1)
    assert [h.labels for h in found.halves] == [20, 20]
    assert all(h.sizes == (2, 5, 10, 20) for h in found.halves)
    assert all(h.chosen[-1] >= h.random for h in found.halves)
    assert found.random_labels is not None
    assert found.random_labels.value > 32
    assert found.random_labels.low <= found.random_labels.value <= found.random_labels.high
    assert "random would have needed" in proved(found)
    split = replace(found, halves=(replace(found.halves[0], ratio=float("inf")), found.halves[1]), random_labels=None)
    assert "the halves disagree" in proved(split)
    assert not (tmp_path / "training" / "7-proof").exists()


def test_chosen_tasks_that_teach_nothing_are_proved_to(tmp_path: Path) -> None:
    found = prove(project(tmp_path, [0] * 32).loop(), 7, lambda share, text: None)
    assert found.random_labels is None
    assert all(h.ratio == float("inf") for h in found.halves)
    assert "nothing was saved" in proved(found)


def test_the_same_seed_proves_the_same_and_progress_is_told(tmp_path: Path) -> None:
    desk = project(tmp_path, [0, 1, 2, 3] * 8)
    told: list[float] = []
    one = prove(desk.loop(), 7, lambda share, text: told.append(share))
    assert one == prove(desk.loop(), 7, lambda share, text: None)
    assert told == sorted(told)
    assert told[-1] < 1


def test_too_few_are_refused(tmp_path: Path) -> None:
    desk = Desk(tmp_path, [("random", 0)] * 12 + [("chosen", 1)] * 50)
    with pytest.raises(InvalidInput, match=r"12 tasks at random and 50 chosen ones .* needs 40"):
        prove(desk.loop(), 7, lambda share, text: None)
