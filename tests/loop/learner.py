"""A model that learns in no time: on each site, where houses stand in a tile. With it a whole round of learning runs in
a second, so that it can be killed, poisoned and repeated."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from groundlook.core.geo import Tile
from groundlook.core.geometry import Box
from groundlook.core.ports import Progress
from groundlook.core.types import Annotation, ModelCard, ModelVersion, Prediction, Project, Region, Said
from groundlook.learning.registry import FileRegistry
from groundlook.loop.parts import Loop, LoopSettings
from tests.loop.house import House, tile_of

SIDE = 12.0
PLACES = ((8.0, 8.0), (40.0, 20.0), (70.0, 60.0))
"""Where the three houses of every tile stand, before their site moves them."""


def truth(task: int) -> list[Region]:
    """Each site (25 tasks) has its houses elsewhere."""
    return houses(site_of(task) * 9.0)


def houses(by: float) -> list[Region]:
    return [Region(Box(x + by, y, SIDE, SIDE), "House", 0.9) for x, y in PLACES]


def site_of(task: int) -> int:
    return (task - 1) // 25


@dataclass
class Learner:
    """Implements `core.ports.Trainer`: the mean place by site, weighed by the labels seen."""

    arch: str = "toy"

    def train(
        self,
        examples: Iterable[tuple[Tile, Sequence[Region]]],
        labels: Sequence[str],
        start: Path | None,
        out: Path,
        progress: Progress,
    ) -> Path:
        seen: dict[str, list[float]] = {}
        for number, (tile, regions) in enumerate(examples):
            task = int(tile.pixels[0, 0, 0])
            for region, (x, _) in zip(regions, PLACES, strict=False):
                assert isinstance(region.shape, Box)
                seen.setdefault(str(site_of(task)), []).append(region.shape.x - x)
            progress(min(0.9, number / 100), f"example {number}")
        path = out / "weights.json"
        path.write_text(json.dumps({site: float(np.mean(found)) for site, found in sorted(seen.items())}))
        progress(1.0, "trained")
        return path


@dataclass
class Learned:
    """What it says: houses where its site has them; nothing on a site it never saw."""

    version: ModelVersion
    known: dict[str, float]

    def predict(self, tiles: Sequence[Tile]) -> list[Prediction]:
        return [self._one(tile) for tile in tiles]

    def _one(self, tile: Tile) -> Prediction:
        by = self.known.get(str(site_of(int(tile.pixels[0, 0, 0]))))
        regions = () if by is None else tuple(houses(by))
        proba = np.full((len(regions), 2), 0.5, np.float32)
        return Prediction(self.version, regions, proba, 0.9, size=(100, 100))


@dataclass
class Shelf:
    """Implements `core.ports.Models` over a registry."""

    registry: FileRegistry

    def serving(self, project: Project, version: ModelVersion, image: str = "") -> Any:
        card = next((c for c in self.registry.cards(project.id) if c.version == version), None)
        return Learned(version, {} if card is None else _read(self.registry.weights(project.id, card)))

    def candidate(self, project: Project, card: ModelCard, weights: Path) -> Any:
        return Learned(card.version, _read(weights))

    def trainer(self, project: Project, champion: ModelCard | None) -> tuple[str, Learner, Path | None]:
        return "toy", Learner(), None if champion is None else self.registry.weights(project.id, champion)


def _read(path: Path) -> dict[str, float]:
    found: dict[str, float] = json.loads(path.read_text())
    return found


@dataclass
class Told:
    """Implements `core.ports.Labels` over a house."""

    house: House

    def __getattr__(self, name: str) -> Any:
        return getattr(_plain(self.house), name)

    def marks(self, project: Project) -> dict[int, str]:
        return {t: str([a.id for a in said]) + str(hash(said)) for t, said in sorted(self._by_task().items())}

    def said(self, project: Project, tasks: Sequence[int]) -> list[Said]:
        by_task = self._by_task()
        return [Said(self.house.tasks[t], by_task[t]) for t in sorted(tasks) if t in by_task]

    def _by_task(self) -> dict[int, tuple[Annotation, ...]]:
        found: dict[int, list[Annotation]] = {}
        for annotation in self.house.people:
            found.setdefault(annotation.task_id, []).append(annotation)
        return {task: tuple(said) for task, said in found.items()}


def _plain(house: House) -> Any:
    from tests.loop.house import _Labels

    return _Labels(house)


def school(home: Path, sites: int = 3, **settings: Any) -> House:
    """A project of `sites` sites of 25 tiles, every fifth held out, that can learn."""
    found = House(settings=LoopSettings(window=20, random_share=0.0, **settings))
    found.home = home
    found.add(25 * sites)
    for task in found.tasks.values():
        split = "val" if task.id % 5 == 0 else "train"
        found.tasks[task.id] = replace(task, split=split, site=f"site {site_of(task.id)}", tile=_tile(task.id))  # type: ignore[arg-type]
    found.loop = schooled(found)
    return found


def _tile(task: int) -> Any:
    return tile_of(task)


def schooled(house: House) -> Loop:
    """The loop as a new process would make it."""
    registry = FileRegistry(house.home / "models", clock=lambda: house.now)
    return house.made(registry=registry, models=Shelf(registry), labels=Told(house), home=house.home)


def say(house: House, tasks: Iterable[int], moved: float = 0.0) -> None:
    """Somebody labels `tasks`, with every box `moved` aside."""
    for task in tasks:
        house.answer(task)
        regions = tuple(replace(r, shape=replace(r.shape, x=r.shape.x + moved), score=None) for r in truth(task))  # type: ignore[type-var,call-arg,union-attr]
        house.people[-1] = replace(house.people[-1], regions=regions)
