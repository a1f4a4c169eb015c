"""A model against people's answers, tile by tile, by what kind of answers it gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

from groundlook.core.geo import Tile
from groundlook.core.ports import Model
from groundlook.core.tally import Tally
from groundlook.core.types import Prediction, Region
from groundlook.evaluation.boxes import Boxes
from groundlook.evaluation.classes import Classes
from groundlook.evaluation.pixels import Pixels

Answers = tuple[NDArray[Any], NDArray[Any]]
"""How sure a model said it was and what was so: float64 (K, C) and int64 (K,), the true class of each row, where
classes exclude each other; float64 (K, 1) and bool (K, 1) of answers that are right or wrong."""
Calibrate = Callable[[Answers], Mapping[str, float]]


class Marks(Protocol):
    """What is written down of a model's answers, a tile at a time."""

    def add(self, prediction: Prediction, truth: Sequence[Region], size: tuple[int, int]) -> None: ...
    def result(self) -> dict[str, float]: ...
    def answers(self) -> Answers | None: ...
    def tally(self) -> Tally: ...


def evaluate(
    model: Model,
    examples: Iterable[tuple[Tile, Sequence[Region]]],
    labels: Sequence[str],
    calibrate: Calibrate | None = None,
) -> dict[str, float]:
    """The metrics of the model's kind (`Prediction.kind`), one tile in memory at a time.

    Always: `quality`, 0…1, the one that versions are compared by; `images`; `objects`, what there was to be found, 0
    where nothing can be proved. Detections (boxes.py): `map50`, which is their quality, `precision`, `recall`. Pixels
    (pixels.py): `mean_iou`, which is theirs, `iou/<label>`. Classes of tiles (classes.py): `macro_f1`, which is
    theirs, `accuracy`, `f1/<label>`. A model that has not learned yet is compared as a detector that finds nothing.
    Where answers can be right or wrong, what `calibrate` makes of them is added.
    """
    marks: Marks | None = None
    for tile, regions in examples:
        prediction = model.predict([tile])[0]
        marks = marks or marks_for(model, prediction, labels)
        marks.add(prediction, regions, tile.size)
    return metrics_of(marks or Boxes(labels), calibrate)


def metrics_of(marks: Marks, calibrate: Calibrate | None) -> dict[str, float]:
    """All that `evaluate` tells."""
    answers = marks.answers()
    told = {} if calibrate is None or answers is None or not len(answers[0]) else calibrate(answers)
    return {**marks.result(), **told}


def marks_for(model: Model, prediction: Prediction, labels: Sequence[str]) -> Marks:
    """An empty sheet for the kind of answers that a model gives."""
    match prediction.kind:
        case "segmentation":
            return Pixels(labels)
        case "classification" | "classification-multiple":
            return Classes(labels, getattr(model, "labels", None))
        case _:
            return Boxes(labels)
