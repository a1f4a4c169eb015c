"""What is measured of each kind of model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from groundlook.core.geo import Tile
from groundlook.core.geometry import Box, Ellipse, Point, Polygon, Shape, WholeTile
from groundlook.core.mask import Mask
from groundlook.core.types import ModelVersion, Prediction, Region
from groundlook.evaluation.evaluate import evaluate

V = ModelVersion("m", "aa")
LABELS = ("roof", "water")
Said = tuple[list[Region], Prediction]


class Answers:
    """A model that gives prepared answers, one after the other."""

    version = V

    def __init__(self, answers: Sequence[Prediction], labels: Sequence[str] | None = LABELS) -> None:
        self._answers = list(answers)
        if labels is not None:
            self.labels = labels

    def predict(self, tiles: Sequence[Tile]) -> list[Prediction]:
        return [self._answers.pop(0) for _ in tiles]


def run(*said: Said, size: tuple[int, int] = (20, 10)) -> dict[str, float]:
    tile = Tile(np.zeros((size[1], size[0], 3), np.uint8))
    return evaluate(Answers([p for _, p in said]), [(tile, truth) for truth, _ in said], LABELS)


def region(shape: Shape, label: str = "roof", score: float | None = None) -> Region:
    return Region(shape, label, score)


def segmented(*regions: Region) -> Prediction:
    return Prediction(V, regions, kind="segmentation")


def classified(*proba: float, several: bool = False) -> Prediction:
    kind = "classification-multiple" if several else "classification"
    return Prediction(V, (), np.array([proba], np.float32), kind=kind)  # type: ignore[arg-type]


def test_boxes() -> None:
    truth = [region(Box(0, 0, 8, 8)), region(Box(10, 0, 8, 8)), region(Box(0, 9, 8, 1))]  # the last is a cut edge
    result = run((truth, Prediction(V, (region(Box(0, 0, 8, 8), score=0.9),))))
    assert result["quality"] == result["map50"] == pytest.approx(51 / 101)
    assert (result["recall"], result["images"], result["objects"]) == (0.5, 1.0, 2.0)
    edge, stray = region(Box(0, 9, 8, 1), score=0.9), region(Box(12, 9, 8, 1), score=0.9)
    assert run((truth[1:], Prediction(V, (edge, region(Box(10, 0, 8, 8), score=0.8)))))["precision"] == 1.0
    assert run((truth[1:], Prediction(V, (stray, region(Box(10, 0, 8, 8), score=0.8)))))["precision"] == 0.5
    assert run(([], Prediction(V, ())))["objects"] == 0
    assert evaluate(Answers([]), [], LABELS)["quality"] == 0.0


def test_pixels_are_added_up_over_tiles() -> None:
    half = region(Box(0, 0, 10, 10))
    mask = region(Mask.of(np.arange(200).reshape(10, 20) % 20 < 5))
    result = run(([half], segmented(mask)), ([], segmented(region(Box(0, 0, 5, 10)))))
    assert result["iou/roof"] == result["mean_iou"] == result["quality"] == pytest.approx(50 / 150)
    assert (result["precision"], result["recall"]) == (0.5, 0.5)
    assert (result["images"], result["objects"]) == (2.0, 1.0)


def test_every_shape_has_pixels_and_labels_don_t_mix() -> None:
    triangle = Polygon(((0.0, 0.0), (10.0, 0.0), (0.0, 10.0)))
    same = [region(triangle), region(Ellipse(15, 5, 4, 4), "water"), region(Point(1, 1)), region(WholeTile(), "water")]
    result = run((same, segmented(*same)))
    assert (result["iou/roof"], result["iou/water"], result["objects"]) == (1.0, 1.0, 2.0)
    swapped = run((same[:1], segmented(region(triangle, "water"))))
    assert swapped["quality"] == 0.0
    assert "iou/water" not in swapped  # nobody drew any
    assert run(([], segmented(*same)))["objects"] == 0


def test_the_one_class_of_a_tile() -> None:
    roof, water = [region(WholeTile())], [region(WholeTile(), "water")]
    result = run(
        (roof, classified(0.8, 0.2)),
        (roof, classified(0.4, 0.6)),
        (water, classified(0.1, 0.9)),
        ([], classified(0.9, 0.1)),  # nobody said what it is
    )
    assert result["accuracy"] == pytest.approx(2 / 3)
    assert (result["f1/roof"], result["f1/water"]) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert result["quality"] == result["macro_f1"] == pytest.approx(2 / 3)
    assert (result["images"], result["objects"]) == (3.0, 3.0)


@pytest.mark.parametrize("labels", [("water", "roof"), None])
def test_a_model_may_have_its_labels_in_another_order(labels: tuple[str, ...] | None) -> None:
    tile, roof = Tile(np.zeros((4, 4, 3), np.uint8)), region(WholeTile())
    for several in (False, True):
        said = replace(classified(0.2, 0.8, several=several), regions=(region(WholeTile(), score=0.8),))
        assert evaluate(Answers([said], labels), [(tile, [roof])], LABELS)["accuracy"] == 1.0


def test_several_classes_of_a_tile() -> None:
    both = [region(WholeTile()), region(WholeTile(), "water")]
    result = run((both, classified(0.8, 0.2, several=True)), ([], classified(0.1, 0.1, several=True)))
    assert (result["accuracy"], result["f1/roof"], result["f1/water"]) == (0.5, 1.0, 0.0)
    assert result["objects"] == 2
