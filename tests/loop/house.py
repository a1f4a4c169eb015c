"""A loop in memory: a project of tiles on a grid, a model that says what it is told to, and counters of every call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidImage
from groundlook.core.geo import GeoRef, Points, Tile, TileRef
from groundlook.core.geometry import Box
from groundlook.core.pool import Pool, Ranking, ranking
from groundlook.core.types import (
    Annotation,
    Control,
    LabelConfig,
    ModelCard,
    ModelVersion,
    Prediction,
    Project,
    ProjectState,
    Region,
    Score,
    Task,
    Window,
)
from groundlook.loop.parts import Loop, LoopSettings
from groundlook.loop.pool import open_tasks, task_rows
from groundlook.loop.refresh import refresh
from groundlook.loop.said import keep_truth
from groundlook.strategies.rules import Rules
from groundlook_adapters.jobs.at_home import AtHome
from groundlook_adapters.store.features import FeatureMemory
from groundlook_adapters.store.sqlite import SqliteStore

BOXES = (Control("label", "RectangleLabels", ("House", "Tree")),)
CLASSES = (Control("class", "Choices", ("field", "town", "water")),)
CONFIG = LabelConfig("label", "RectangleLabels", "image", "image", ("House", "Tree"), BOXES)
CHOICES = LabelConfig("class", "Choices", "image", "image", ("field", "town", "water"), CLASSES)


def tile_of(number: int) -> TileRef:
    """Of 100 m, in rows of ten, in UTM 31; every 25 a scene of its own, a month later."""
    place = GeoRef("EPSG:32631", (1.0, 0, 500000 + 100.0 * (number % 10), 0, -1.0, 5400000 - 100.0 * (number // 10)))
    scene = number // 25
    return TileRef(f"/s{scene}.tif", "e", (0, 0, 100, 100), place, f"s{scene}", f"2024-{1 + scene % 12:02d}-03")


def metres(crs: str, points: Points) -> Points | None:
    """Near enough: UTM 31 about 3° east, 48.7° north."""
    if crs != "EPSG:32631":
        return None
    return np.stack([3 + (points[:, 0] - 500000) / 73_600, 48.7 + (points[:, 1] - 5_400_000) / 111_195], axis=1)


@dataclass
class House:
    """`says`: what the model says of a task, by its id; `broken`: tasks whose pictures can't be read."""

    config: LabelConfig = CONFIG
    settings: LoopSettings = field(default_factory=lambda: LoopSettings(window=20, held_out_every=4))
    rules: Rules = field(default_factory=lambda: Rules(1.0, None))
    home: Path = Path("/nowhere")
    says: Callable[[ModelVersion, int], Prediction] | None = None
    tasks: dict[int, Task] = field(default_factory=dict)
    people: list[Annotation] = field(default_factory=list)
    broken: set[int] = field(default_factory=set)
    cards: list[ModelCard] = field(default_factory=list)
    calls: dict[str, int] = field(default_factory=dict)
    published: list[Window] = field(default_factory=list)
    predictions: dict[int, Prediction] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    withdrawn: set[ModelVersion] = field(default_factory=set)
    submitted: list[str] = field(default_factory=list)
    now: float = 1000.0

    def __post_init__(self) -> None:
        self.store, self.features = SqliteStore(":memory:"), FeatureMemory()
        self.store.put_project(Project(7, "http://127.0.0.1:1", "t", self.config))
        self.loop = self.made()

    @property
    def project(self) -> Project:
        return self.store.project(7)

    def made(self, **changes: Any) -> Loop:
        """The loop, as a new process would make it."""
        given: dict[str, Any] = {
            "labels": _Labels(self),
            "queue": _Queue(self),
            "images": _Images(self),
            "store": self.store,
            "features": self.features,
            "jobs": _Jobs(self),
            "exchange": AtHome(),
            "registry": _Registry(self),
            "models": _Models(self),
            "segmenters": None,
            "shapes": _Shapes(),
            "embedder": _Embedder(self),
            "score": _score,
            "calibrate": lambda _: {},
            "to_lonlat": metres,
            "home": self.home,
            "settings": self.settings,
            "rules": self.rules,
            "clock": lambda: self.now,
        }
        return Loop(**{**given, **changes})

    def count(self, what: str, by: int = 1) -> None:
        self.calls[what] = self.calls.get(what, 0) + by

    def add(self, count: int, split: str = "train") -> None:
        for i in range(len(self.tasks) + 1, len(self.tasks) + count + 1):
            self.tasks[i] = Task(i, f"http://x/{i}.jpg", tile_of(i), split)  # type: ignore[arg-type]

    def answer(
        self, task: int, labels: Sequence[str] = (), told: bool = True, skipped: bool = False, lead: float = 0.5
    ) -> None:
        """Somebody labels a task; `told`: the event arrives."""
        self.now += 1
        regions = tuple(Region(Box(1, 1, 2, 2), label) for label in labels)
        number = len(self.people) + 1
        annotation = Annotation(number, task, regions, "ann", self.now, lead, skipped)
        self.people.append(annotation)
        if not skipped:
            self.tasks[task] = replace(self.tasks[task], labelled=True)
        if told:
            self.store.add_served(7, [replace(annotation, regions=())])

    def promote(self, digest: str, quality: float = 0.5) -> ModelVersion:
        version = ModelVersion("yolo", digest)
        self.now += 1
        card = ModelCard(version, "yolo", "x", self.config.labels, "", f"snap{digest}", created=self.now)
        self.cards.append(replace(card, metrics={"quality": quality}))
        return version


def unsure(version: ModelVersion, task: int) -> Prediction:
    """Task i has a box of probability i/100, of class i % 2; every fifth is empty."""
    if task % 5 == 0:
        return Prediction(version, (), np.zeros((0, 2), np.float32), peak=0.1)
    p = np.zeros((1, 2), np.float32)
    p[0, task % 2] = min(task / 100, 0.99)
    label = ("House", "Tree")[task % 2]
    return Prediction(version, (Region(Box(1, 1, 5, 5), label, float(p.max())),), p, peak=float(p.max()))


def _score(prediction: Prediction, temperature: float) -> Score:
    if not prediction.knows:
        return Score(None)
    if not len(prediction.proba):
        return Score(0.0, {"empty": 0.0})
    return Score(float(prediction.proba.max()), {"entropy": 0.5, "margin": float(prediction.proba.max())})


@dataclass
class _Labels:
    house: House

    def tasks(self, project: Project) -> list[Task]:
        self.house.count("listed")
        return sorted(self.house.tasks.values(), key=lambda t: t.id)

    def annotations(self, project: Project) -> list[Annotation]:
        return list(self.house.people)

    def state(self, project: Project) -> ProjectState:
        served = self.house.published[-1].version if self.house.published else ""
        return ProjectState(len(self.house.tasks), len(self.house.people), served, self.house.config)


@dataclass
class _Queue:
    house: House

    def publish(self, project: Project, window: Window, predictions: Mapping[int, Prediction]) -> None:
        self.house.published.append(window)
        self.house.predictions = dict(predictions)
        self.house.held[window.version] = len(window.tasks)

    def held(self, project: Project) -> list[str]:
        return sorted(self.house.held)

    def forget(self, project: Project, version: str) -> int:
        return self.house.held.pop(version)


@dataclass
class _Images:
    house: House

    def read(self, project: Project, task: Task) -> Tile:
        if task.id in self.house.broken:
            raise InvalidImage(f"{task.image} is no image")
        return Tile(np.full((4, 4, 3), task.id % 256, np.uint8), tile_of(task.id))


@dataclass
class _Jobs:
    house: House

    def submit(self, kind: str, project: int, delay: float = 0.0, **more: Any) -> int:
        self.house.submitted.append(kind)
        return len(self.house.submitted)

    def jobs(self, project: int | None = None) -> list[Any]:
        return []


@dataclass
class _Registry:
    house: House

    def cards(self, project: int) -> list[ModelCard]:
        return list(self.house.cards)

    def serving(self, project: int) -> ModelCard | None:
        return self.house.cards[-1] if self.house.cards else None

    def withdrawn(self, project: int, version: ModelVersion) -> bool:
        return version in self.house.withdrawn


@dataclass
class _Models:
    house: House

    def serving(self, project: Project, version: ModelVersion, image: str = "") -> Any:
        return _Model(self.house, version)


@dataclass
class _Model:
    house: House
    version: ModelVersion

    def predict(self, tiles: Sequence[Tile]) -> list[Prediction]:
        self.house.count("predicted", len(tiles))
        says = self.house.says
        ids = [int(tile.pixels[0, 0, 0]) for tile in tiles]
        if says is None or self.version.name == "untrained":
            return [Prediction(self.version, (), knows=False) for _ in ids]
        return [says(self.version, i) for i in ids]


class _Shapes:
    def target(self, controls: Sequence[Control], region: Region) -> Control | None:
        return None

    def fit(self, region: Region, *_: Any) -> list[Region]:
        return [region]


@dataclass
class _Embedder:
    house: House
    name: str = "test-1"

    def embed(self, tiles: Sequence[Tile]) -> NDArray[np.float32]:
        self.house.count("embedded", len(tiles))
        seeds = [int(t.pixels[0, 0, 0]) for t in tiles]
        return np.stack([np.random.default_rng(s).normal(size=6) for s in seeds]).astype(np.float32)


def quiet(done: float, text: str) -> None:
    pass


@dataclass
class Plain:
    """By score alone."""

    name: str = "plain"

    def rank(self, pool: Pool, count: int, rng: np.random.Generator) -> Ranking:
        order = ranking(pool, np.zeros(0, np.int64), self.name).rows
        return ranking(pool, order[:count], self.name, {"unsure": pool.score[order[:count]]})


def trained(count: int = 60, split: str = "train", **more: Any) -> House:
    """A project that a model has looked at."""
    settings = LoopSettings(window=20, held_out_every=4, random_share=0.0)
    house = House(**{"settings": settings, "says": unsure, **more})
    house.loop = house.made(strategies=lambda name: Plain())
    house.add(count, split)
    house.promote("aa")
    refresh(house.loop, 7, quiet)
    return house


def window(house: House) -> Window:
    return house.published[-1]


def pool(house: House) -> Pool:
    rows = task_rows(house.loop, house.project)
    return open_tasks(house.loop, house.project, house.cards[-1].version, rows).pool


def sync_truth(house: House) -> None:
    keep_truth(house.features, house.project, house.people)
