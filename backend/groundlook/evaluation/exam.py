"""Models sit an exam: they say what they see on labelled tiles, and what came of it is kept tile by tile."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from groundlook.core.exam import Exam
from groundlook.core.geo import Tile
from groundlook.core.ports import Model
from groundlook.core.tally import Flags, Floats
from groundlook.core.types import Region, Task
from groundlook.evaluation.boxes import Boxes
from groundlook.evaluation.evaluate import Calibrate, Marks, marks_for, metrics_of

Examples = Iterable[tuple[Task, Tile, Sequence[Region]]]

BLOCK_TILES = 4
"""Side of a map block in tiles: that of the blocks that `ingest` holds out, within which tiles are alike."""


def examine(
    model: Model,
    examples: Examples,
    labels: Sequence[str],
    calibrate: Calibrate | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Exam:
    """One model's exam; its metrics are those of `evaluate` on the same tiles. One tile in memory at a time."""
    return examine_all([model], examples, labels, calibrate, clock)[0]


def examine_all(
    models: Sequence[Model],
    examples: Examples,
    labels: Sequence[str],
    calibrate: Calibrate | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Exam]:
    """One exam per model, in order. Every tile is read once and shown to one model after the other, another one first
    each time: what else the machine has to do meanwhile slows all of them alike."""
    sheets = [_Sheet(model, labels, clock) for model in models]
    tasks: list[Task] = []
    truth: list[tuple[Region, ...]] = []
    for row, (task, tile, regions) in enumerate(examples):
        for place in range(len(sheets)):
            sheets[(row + place) % len(sheets)].answer(tile, regions)
        tasks.append(task)
        truth.append(tuple(regions))
    return [sheet.exam(tasks, tuple(truth), calibrate) for sheet in sheets]


def block_of(task: Task) -> str:
    """The map block that a task lies in, by its centre, whatever scene shows the place: the cell of a grid of
    `BLOCK_TILES` tiles, rounded up to a power of two in units of the CRS, so that tiles that differ by a pixel share a
    grid. An image without georeference is a block of its own, as in `core.tiling.spatial_split`."""
    tile = task.tile
    if tile is None:
        return f"task {task.id}"
    if tile.georef is None:
        return tile.source
    outline = tile.outline()
    side = 2.0 ** math.ceil(math.log2(BLOCK_TILES * float(np.ptp(outline, axis=0).max())))
    x, y = outline.mean(axis=0)
    return f"{tile.georef.crs}|{side:g}|{math.floor(x / side)}|{math.floor(y / side)}"


class _Sheet:
    """What one model writes during an exam."""

    def __init__(self, model: Model, labels: Sequence[str], clock: Callable[[], float]) -> None:
        self._model, self._labels, self._clock = model, tuple(labels), clock
        self._marks: Marks | None = None
        self._seconds: list[float] = []
        self._said: list[tuple[Region, ...]] = []

    def answer(self, tile: Tile, truth: Sequence[Region]) -> None:
        start = self._clock()
        prediction = self._model.predict([tile])[0]
        self._seconds.append(self._clock() - start)
        self._marks = self._marks or marks_for(self._model, prediction, self._labels)
        self._marks.add(prediction, truth, tile.size)
        self._said.append(tuple(prediction.regions))

    def exam(self, tasks: Sequence[Task], truth: tuple[tuple[Region, ...], ...], calibrate: Calibrate | None) -> Exam:
        marks = self._marks or Boxes(self._labels)
        sure, right = _sureness(marks)
        return Exam(
            version=str(self._model.version),
            labels=self._labels,
            tasks=tuple(task.id for task in tasks),
            sites=tuple(task.site for task in tasks),
            sensors=tuple(task.sensor for task in tasks),
            blocks=tuple(block_of(task) for task in tasks),
            tally=marks.tally(),
            seconds=np.array(self._seconds, np.float64),
            metrics=metrics_of(marks, calibrate),
            truth=truth,
            said=tuple(self._said),
            sure=sure,
            right=right,
        )


def _sureness(marks: Marks) -> tuple[Floats, Flags]:
    """How sure each answer was, and whether it was right: of classes that exclude each other, the likeliest."""
    answers = marks.answers()
    if answers is None:
        return np.zeros(0), np.zeros(0, bool)
    said, true = answers
    if true.dtype == np.bool_:
        return np.asarray(said[:, 0], np.float64), np.asarray(true[:, 0], bool)
    return np.asarray(said.max(axis=1), np.float64), np.asarray(said.argmax(axis=1) == true, bool)
