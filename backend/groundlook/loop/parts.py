"""What the steps of the loop share: the ports they work through, and reading tiles."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from groundlook.core.errors import GroundlookError
from groundlook.core.geo import Tile
from groundlook.core.ports import (
    Embedder,
    Exchange,
    Features,
    Images,
    Jobs,
    Labels,
    Models,
    Queue,
    Registry,
    Segmenters,
    Shapes,
    Store,
    Strategy,
    Tracker,
)
from groundlook.core.types import UNTRAINED_VERSION, ModelVersion, Prediction, Project, Region, Score, Task
from groundlook.evaluation.evaluate import Calibrate
from groundlook.loop.ground import ToLonLat
from groundlook.loop.known import Known
from groundlook.loop.route import plan_of, shaped
from groundlook.strategies.catalog import strategy_of
from groundlook.strategies.rules import Rules
from groundlook.strategies.stream import SHARE

log = logging.getLogger("groundlook.loop")

BATCH = 8
"""Tiles in memory at a time."""
UNSEEN = (0, 0)
"""The size of a prediction whose picture could not be read: a place in the queue, but no answer."""


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """`window`: how many tasks are published at once (and at least 10 per annotator). `refill_below`: the share of
    the window that may be left before it is made anew. `retrain_every`: new annotations that start a training;
    `retrain_hours`: after which one new annotation does, 0 for never; `retrain_gain`: the quality that new ones have to
    promise to start one earlier, 0 for never. `gate`: what a new version has to prove, "usual" or "strict".
    `rehearsal`: examples that a retraining shows, 0 for all. `shards`: bulk work goes to other workers in pieces.
    `held_out_every`: every n-th task of the queue is a held-out one. `debounce`: seconds that events are gathered.
    `strategy`: of projects that name none, "" for the usual one of their kind. `random_share`: of the queue, drawn from
    all open tasks alike."""

    window: int = 30
    refill_below: float = 0.5
    retrain_every: int = 24
    gate: str = "usual"
    rehearsal: int = 600
    retrain_hours: float = 0.0
    retrain_gain: float = 0.02
    shards: bool = False
    held_out_every: int = 4
    debounce: float = 1.0
    seed: int = 0
    strategy: str = ""
    random_share: float = SHARE


@dataclass(frozen=True, slots=True)
class Loop:
    """Everything the steps work through. `home` holds snapshots and training folders. `strategies`: by name. `score`:
    of a prediction at a temperature, that `calibrate` fits to held-out answers."""

    labels: Labels
    queue: Queue
    images: Images
    store: Store
    features: Features
    jobs: Jobs
    exchange: Exchange
    registry: Registry
    models: Models
    segmenters: Segmenters
    shapes: Shapes
    embedder: Embedder
    score: Callable[[Prediction, float], Score]
    calibrate: Calibrate
    to_lonlat: ToLonLat
    home: Path
    settings: LoopSettings = LoopSettings()
    rules: Rules = field(default_factory=Rules)
    strategies: Callable[[str], Strategy] = strategy_of
    tracker: Tracker | None = None
    clock: Callable[[], float] = time.time
    pause: Callable[[float], None] = time.sleep
    known: Known = field(default_factory=Known)
    publishing: threading.RLock = field(default_factory=threading.RLock)
    """Held while a window is made, so that a refill and a refresh don't overtake each other."""


def serving_version(loop: Loop, project_id: int) -> ModelVersion:
    """The promoted version, or the untrained one, as part of the project's plan."""
    card = loop.registry.serving(project_id)
    version = UNTRAINED_VERSION if card is None else card.version
    return version.under(plan_of(loop.store.project(project_id)).digest)


def is_withdrawn(loop: Loop, project_id: int, model: ModelVersion) -> bool:
    """Whether a rollback took what `model` names out of service, by itself or as part of the project's plan. Of one
    under an earlier plan nobody can tell which version that was: there any rollback counts."""
    digest = plan_of(loop.store.project(project_id)).digest
    versions = [card.version for card in loop.registry.cards(project_id)]
    for version in versions:
        if model in (version, version.under(digest)):
            return loop.registry.withdrawn(project_id, version)
    untrained = model in (UNTRAINED_VERSION, UNTRAINED_VERSION.under(digest))
    return not untrained and any(loop.registry.withdrawn(project_id, version) for version in versions)


def read_tiles(
    loop: Loop, project: Project, tasks: Mapping[int, Task]
) -> tuple[dict[int, Tile], dict[int, GroundlookError]]:
    """The pictures of `tasks` under the same keys, and why the others can't be read."""
    tiles: dict[int, Tile] = {}
    broken: dict[int, GroundlookError] = {}
    for key, task in tasks.items():
        try:
            tiles[key] = loop.images.read(project, task)
        except GroundlookError as error:
            log.warning("task %s of project %s: %s", task.id, project.id, error)
            broken[key] = error
    return tiles, broken


def known_answers(loop: Loop, project: Project, version: ModelVersion, tasks: Sequence[int]) -> dict[int, Prediction]:
    """What people see first on those of `tasks` of which that is known: regions loaded from vector data where there
    are any, for as long as the config has their labels; else what `version` predicted.

    Somebody surveyed those vectors; a model only guesses, whatever it learned. So they stand in for its answer, whole,
    and under its version, or Label Studio would not show them. The order of the queue stays the model's.
    """
    found = loop.store.predictions(project.id, version, tasks)
    labels = {label for control in project.config.controls for label in control.labels}
    for task, prediction in loop.store.loaded(project.id, tasks).items():
        regions = tuple(r for r in prediction.regions if r.label in labels)
        if regions:
            found[task] = replace(prediction, regions=regions)
    return found


def predict_tiles(
    loop: Loop, project: Project, version: ModelVersion, tiles: Mapping[int, Tile], tasks: Mapping[int, Task]
) -> dict[int, Prediction]:
    """What `version` says of each tile, and of the further pictures of its task, under the same keys."""
    if not tiles:
        return {}
    found = loop.models.serving(project, version).predict(list(tiles.values()))
    done: dict[int, Prediction] = {}
    for (key, tile), raw in zip(tiles.items(), found, strict=True):
        prediction = shaped(loop.shapes, project, project.config.controls, tile, raw)
        more = _others(loop, project, version, tasks[key])
        done[key] = replace(prediction, regions=(*prediction.regions, *more)) if more else prediction
    return done


def _others(loop: Loop, project: Project, version: ModelVersion, task: Task) -> tuple[Region, ...]:
    """The regions of a task's further pictures, each with its picture's size. One that can't be read has none."""
    found: list[Region] = []
    for image in dict.fromkeys(c.image for c in project.config.others):
        if image not in task.others:
            continue
        try:
            tile = loop.images.picture(project, task, image).read()
        except GroundlookError as error:
            log.warning("image %s of task %s of project %s: %s", image, task.id, project.id, error)
            continue
        controls = [c for c in project.config.others if c.image == image]
        raw = loop.models.serving(project, version, image).predict([tile])[0]
        regions = shaped(loop.shapes, project, controls, tile, raw).regions
        found += (replace(r, frame=tile.size) for r in regions if r.control)
    return tuple(found)
