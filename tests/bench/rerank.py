"""What a re-rank after one annotation takes of ours, on a project of many tasks."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from groundlook.core.geo import GeoRef, TileRef
from groundlook.core.types import (
    Annotation,
    Control,
    LabelConfig,
    ModelCard,
    ModelVersion,
    Prediction,
    Project,
    ProjectState,
    Score,
    Task,
    Window,
)
from groundlook.loop.known import scored_key
from groundlook.loop.parts import Loop, LoopSettings
from groundlook.loop.publish import publish
from groundlook.loop.said import counts_name
from groundlook_adapters.rasters.crs import to_lonlat
from groundlook_adapters.store.features import FeatureFiles
from groundlook_adapters.store.sqlite import SqliteStore

VERSION = ModelVersion("yolo", "aa")
CONFIG = LabelConfig("l", "RectangleLabels", "i", "image", ("A", "B"), (Control("l", "RectangleLabels", ("A", "B")),))
PROJECT = Project(1, "http://127.0.0.1:1", "t", CONFIG)


@dataclass
class _Studio:
    """Label Studio that takes no time. `annotations`: how many it has."""

    tasks_: list[Task]
    annotations_: int = 0

    def tasks(self, project: Project) -> list[Task]:
        return self.tasks_

    def state(self, project: Project) -> ProjectState:
        return ProjectState(len(self.tasks_), self.annotations_, "", CONFIG)

    def publish(self, project: Project, window: Window, predictions: Mapping[int, Prediction]) -> None:
        if window.fallback:
            raise RuntimeError(window.fallback)

    def submit(self, kind: str, project: int, delay: float = 0.0) -> None:
        pass

    def serving(self, project: int) -> ModelCard:
        return ModelCard(VERSION, "yolo", "x", CONFIG.labels, "")

    def cards(self, project: int) -> list[ModelCard]:
        return []


@dataclass
class _Named:
    name: str = "bench-1"


def rerank(count: int, width: int = 512, strategy: str = "margin", turns: int = 5, held_out: float = 0.2) -> float:
    """Seconds (median) from an annotation to the window that goes to Label Studio: the pool of `count` tasks with
    `width` numbers (float16, in files) put together anew, ranked by `strategy`, with batch rules and both streams."""
    with _house(count, width, held_out) as (loop, studio):
        publish(loop, PROJECT, strategy)  # the process knows its project
        took = []
        for turn in range(turns + 1):
            _annotate(loop, studio, turn + 1)
            started = time.perf_counter()
            publish(loop, PROJECT, strategy)
            took.append(time.perf_counter() - started)
        return float(np.median(took[1:]))  # after the first, Label Studio has shown what an annotation means


@contextmanager
def _house(count: int, width: int, held_out: float) -> Iterator[tuple[Loop, _Studio]]:
    random = np.random.default_rng(0)
    ids = np.arange(1, count + 1)
    with tempfile.TemporaryDirectory() as folder:
        store, features = SqliteStore(Path(folder) / "store.db"), FeatureFiles(Path(folder) / "features")
        store.put_project(PROJECT)
        for at in range(0, count, 50_000):
            part = ids[at : at + 50_000]
            features.put(1, "bench-1", part, random.normal(size=(len(part), width)).astype(np.float16))
            features.put(1, counts_name(PROJECT, VERSION), part, random.random((len(part), 3), np.float32))
        said = Prediction(VERSION, ())
        scores = random.random(count)
        rows = {int(i): (said, Score(float(s), {"margin": float(s)})) for i, s in zip(ids, scores, strict=True)}
        store.put_predictions(1, VERSION, rows)
        store.next_number(1, scored_key(VERSION))
        studio = _Studio(_tasks(count, held_out, random))
        given: dict[str, Any] = {"labels": studio, "queue": studio, "jobs": studio, "registry": studio}
        unused = ("images", "models", "segmenters", "shapes", "score", "calibrate", "exchange")
        rest: dict[str, Any] = dict.fromkeys(unused)
        loop = Loop(
            **given,
            **rest,
            store=store,
            features=features,
            embedder=_Named(),  # type: ignore[arg-type]
            to_lonlat=to_lonlat,
            home=Path(folder),
            settings=LoopSettings(window=100),
        )
        yield loop, studio
        store.close()


def _tasks(count: int, held_out: float, random: np.random.Generator) -> list[Task]:
    side, kept = int(np.ceil(np.sqrt(count))), random.random(count) < held_out
    tasks = []
    for i in range(count):
        place = GeoRef("EPSG:32631", (1.0, 0, 500000 + 100.0 * (i % side), 0, -1.0, 5400000 - 100.0 * (i // side)))
        tile = TileRef(f"/s{i // 1000}.tif", "e", (0, 0, 100, 100), place, f"s{i // 1000}", "2024-05-03")
        tasks.append(Task(i + 1, "", tile, "val" if kept[i] else "train"))
    return tasks


def _annotate(loop: Loop, studio: _Studio, number: int) -> None:
    window = loop.store.current_window(1)
    assert window is not None
    task = window.tasks[0].task_id
    loop.store.add_served(1, [Annotation(number, task, (), "ann", float(number), 1.0)])
    studio.tasks_[task - 1] = replace(studio.tasks_[task - 1], labelled=True)
    studio.annotations_ += 1


if __name__ == "__main__":
    import sys

    logging.basicConfig(level=logging.ERROR)
    for name in sys.argv[2:] or ("margin",):
        print(name, f"{rerank(int(sys.argv[1]), strategy=name) * 1000:.1f} ms")
