"""Exams: the fast way to a quality, on any part or resample of the tiles, is the plain one."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundlook.core.errors import InvalidInput
from groundlook.core.exam import Exam
from groundlook.core.geo import GeoRef, Tile, TileRef
from groundlook.core.geometry import Box, WholeTile
from groundlook.core.tally import BoxTally
from groundlook.core.types import ModelVersion, Prediction, Region, Task
from groundlook.evaluation.evaluate import evaluate
from groundlook.evaluation.exam import block_of, examine, examine_all
from groundlook.evaluation.metrics import average_precision50

Kind = Literal["detection", "segmentation", "classification", "classification-multiple"]
KINDS: tuple[Kind, ...] = ("detection", "segmentation", "classification", "classification-multiple")
LABELS = ("roof", "tree", "water")
SIDE = 40
Example = tuple[Task, Tile, tuple[Region, ...]]
SEEDS = st.integers(0, 2**32 - 1)


class Prepared:
    """A model that has an answer for each picture, by the number in its first pixel."""

    def __init__(self, answers: Sequence[Prediction], name: str = "m") -> None:
        self.version = ModelVersion(name, "aa")
        self.labels = LABELS
        self.asked: list[int] = []
        self._answers = answers

    def predict(self, tiles: Sequence[Tile]) -> list[Prediction]:
        self.asked += [int(t.pixels[0, 0, 0]) for t in tiles]
        return [self._answers[int(t.pixels[0, 0, 0])] for t in tiles]


def scene(seed: int, kind: Kind, tiles: int = 6) -> tuple[list[Example], Prepared]:
    """Labelled tiles, and a model that is right about half of what is there."""
    rng = np.random.default_rng(seed)
    examples, answers = [], []
    for number in range(tiles):
        truth = tuple(region(rng, kind) for _ in range(rng.integers(0, 5)))
        told = [moved(rng, r) for r in truth if rng.random() < 0.8] + [region(rng, kind) for _ in range(2)]
        said = tuple(Region(r.shape, r.label, float(rng.uniform(0.05, 1))) for r in told)
        proba = rng.random((1, len(LABELS))).astype(np.float32)
        if kind == "classification":
            truth, proba = truth[:1], proba / proba.sum()
        answers.append(Prediction(ModelVersion("m", "aa"), said, proba, kind=kind))
        pixels = np.full((SIDE, SIDE, 3), number, np.uint8)
        examples.append((Task(number + 1, "u", site="ab"[number % 2]), Tile(pixels), truth))
    return examples, Prepared(answers)


def region(rng: np.random.Generator, kind: Kind) -> Region:
    label = LABELS[rng.integers(len(LABELS))]
    if kind.startswith("classification"):
        return Region(WholeTile(), label)
    x, y, width, height = rng.uniform((0, 0, 4, 4), (25, 25, 15, 15)).tolist()
    return Region(Box(x, y, width, height), label)


def moved(rng: np.random.Generator, found: Region) -> Region:
    if not isinstance(found.shape, Box):
        return found
    x, y = rng.normal(0, 1.5, 2).tolist()
    return Region(Box(found.shape.x + x, found.shape.y + y, found.shape.width, found.shape.height), found.label)


def plain(examples: Sequence[Example], model: Prepared) -> dict[str, float]:
    return evaluate(model, [(tile, truth) for _, tile, truth in examples], LABELS)


def of_labels(metrics: dict[str, float]) -> dict[str, float]:
    """Of those measures that are told by label."""
    return {key.partition("/")[2]: value for key, value in metrics.items() if "/" in key}


@pytest.mark.parametrize("kind", KINDS)
@given(seed=SEEDS)
@settings(max_examples=25)
def test_the_tally_s_quality_is_the_plain_metric(kind: Kind, seed: int) -> None:
    examples, model = scene(seed, kind)
    exam = examine(model, examples, LABELS)
    metrics = plain(examples, model)
    assert dict(exam.metrics) == metrics
    quality = exam.quality()
    assert np.nan_to_num(quality[0]) == pytest.approx(metrics["quality"], abs=1e-12)
    for label, value in of_labels(metrics).items():
        assert quality[1 + LABELS.index(label)] == pytest.approx(value, abs=1e-12)
    assert exam.objects == metrics["objects"]


@given(seed=SEEDS, classes=st.integers(1, 4))
@settings(max_examples=60)
def test_average_precision_is_that_of_the_metrics(seed: int, classes: int) -> None:
    """With ties between scores, classes that nobody drew, and tiles without anything."""
    rng = np.random.default_rng(seed)
    found, truths = [], []
    for _ in range(rng.integers(1, 9)):
        boxes = rng.uniform(0, 60, (rng.integers(0, 9), 2))
        boxes = np.hstack([boxes, boxes + rng.uniform(8, 20, boxes.shape)])
        labels = rng.integers(0, classes, len(boxes))
        truths.append((boxes, labels))
        near = np.vstack([boxes + rng.normal(0, 2, boxes.shape), boxes[:2]])
        found.append((near, rng.uniform(0, 1, len(near)).round(1), np.append(labels, labels[:2])))
    examples = [
        (Task(i + 1, "u"), Tile(np.full((90, 90, 3), i, np.uint8)), drawn(*truth)) for i, truth in enumerate(truths)
    ]
    answers = [Prediction(ModelVersion("m", "a"), drawn(b, names, s)) for b, s, names in found]
    exam = examine(Prepared(answers), examples, [str(i) for i in range(classes)])
    wanted = average_precision50(found, truths)
    quality = exam.quality()
    assert quality[0] == pytest.approx(wanted["mAP50"], abs=1e-12, nan_ok=True)
    for label in range(classes):
        assert quality[1 + label] == pytest.approx(wanted.get(f"AP50/{label}", np.nan), abs=1e-12, nan_ok=True)


def drawn(boxes: np.ndarray, labels: np.ndarray, scores: np.ndarray | None = None) -> tuple[Region, ...]:
    sure = [None] * len(boxes) if scores is None else scores.tolist()
    return tuple(
        Region(Box(x0, y0, x1 - x0, y1 - y0), str(label), score)
        for (x0, y0, x1, y1), label, score in zip(boxes.tolist(), labels, sure, strict=True)
    )


@pytest.mark.parametrize("kind", KINDS)
@given(seed=SEEDS, times=st.lists(st.integers(0, 3), min_size=6, max_size=6))
@settings(max_examples=25)
def test_a_resample_is_what_the_tiles_drawn_would_give(kind: Kind, seed: int, times: list[int]) -> None:
    examples, model = scene(seed, kind)
    exam = examine(model, examples, LABELS)
    again = plain([e for e, count in zip(examples, times, strict=True) for _ in range(count)], model)
    quality = exam.tally.quality(np.array([times], np.float64))[0]
    assert np.nan_to_num(quality[0]) == pytest.approx(again["quality"], abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@given(seed=SEEDS, rows=st.lists(st.integers(0, 5), unique=True, min_size=1))
@settings(max_examples=25)
def test_a_part_is_an_exam_on_these_tiles(kind: Kind, seed: int, rows: list[int]) -> None:
    examples, model = scene(seed, kind)
    part = examine(model, examples, LABELS).tally.part(np.array(rows))
    alone = examine(model, [examples[row] for row in rows], LABELS)
    np.testing.assert_allclose(part.quality(np.ones((1, len(rows))))[0], alone.quality(), atol=1e-12)
    np.testing.assert_array_equal(part.objects, alone.tally.objects)


def test_mistakes_are_what_is_missed_and_what_is_not_there() -> None:
    def box(x: float, score: float | None = None) -> Region:
        return Region(Box(x, 0, 8, 8), "roof", score)

    answers = [(box(0, 0.9), box(12, 0.9), box(24, 0.1)), (), (box(0, 0.8),)]
    truths = [(box(0), box(12)), (box(0),), ()]
    model = Prepared([Prediction(ModelVersion("m", "aa"), said) for said in answers])
    examples = [
        (Task(i + 1, "u"), Tile(np.full((SIDE, SIDE, 3), i, np.uint8)), truth) for i, truth in enumerate(truths)
    ]
    tally = examine(model, examples, LABELS).tally
    assert tally.threshold() == 0.9  # at .8 a false one is let in, and nothing is found
    assert tally.mistakes().tolist() == [0, 1, 0]
    nothing = examine(Prepared([Prediction(ModelVersion("m", "aa"), ())] * 3), examples, LABELS).tally
    assert nothing.mistakes().tolist() == [2, 1, 0]


def test_boxes_that_fit_closely() -> None:
    truth = (Region(Box(0, 0, 10, 10), "roof"), Region(Box(20, 0, 10, 10), "roof"))
    said = (Region(Box(0, 0, 10, 10), "roof", 0.9), Region(Box(23, 0, 10, 10), "roof", 0.8))  # IoU .54
    model = Prepared([Prediction(ModelVersion("m", "aa"), said)])
    exam = examine(model, [(Task(1, "u"), Tile(np.zeros((SIDE, SIDE, 3), np.uint8)), truth)], LABELS)
    assert isinstance(exam.tally, BoxTally)
    assert exam.quality()[0] == 1.0
    assert exam.tally.fit().quality(np.ones((1, 1)))[0, 0] == pytest.approx(51 / 101)


def test_every_tile_is_read_once_and_shown_to_both_in_turn() -> None:
    examples, one = scene(1, "detection")
    two = scene(2, "detection")[1]
    order: list[str] = []
    for model, name in ((one, "one"), (two, "two")):
        model.predict = noted(model.predict, order, name)  # type: ignore[method-assign]
    ticks = iter(range(1000))
    exams = examine_all([one, two], iter(examples), LABELS, clock=lambda: float(next(ticks)))
    assert order == ["one", "two", "two", "one"] * 3
    assert [e.seconds.tolist() for e in exams] == [[1.0] * 6] * 2
    assert [e.quality()[0] for e in exams] == [examine(m, examples, LABELS).quality()[0] for m in (one, two)]


def noted(predict, order, name):  # type: ignore[no-untyped-def]
    def and_told(tiles):  # type: ignore[no-untyped-def]
        order.append(name)
        return predict(tiles)

    return and_told


def place(column: int, row: int, crs: str = "EPSG:32631", size: int = 100) -> str:
    georef = GeoRef(crs, (0.5, 0, 500_000, 0, -0.5, 5_000_000)).window(column, row)
    return block_of(Task(1, "u", TileRef(f"{column}-{row}.tif", "e", (0, 0, size, size), georef)))


def test_neighbours_share_a_block() -> None:
    """Of 4 × 4 tiles or a little more, whichever file shows them."""
    blocks = Counter(place(x * 100, y * 100) for x in range(40) for y in range(40))
    assert 16 <= max(blocks.values()) <= 64
    assert 1600 / 64 <= len(blocks) <= 1600 / 16 * 1.3
    assert place(0, 0) == place(100, 0) == place(0, 0, size=99) != place(3000, 0)
    assert place(0, 0) != place(0, 0, crs="EPSG:32632")


def test_pictures_without_a_place_are_blocks_of_their_own() -> None:
    tiles = [TileRef(name, "e", (x, 0, 10, 10)) for name, x in (("a.png", 0), ("a.png", 10), ("b.png", 0))]
    blocks = [block_of(Task(i, "u", tile)) for i, tile in enumerate(tiles)]
    assert blocks[0] == blocks[1] != blocks[2]
    assert block_of(Task(1, "u")) != block_of(Task(2, "u"))


def test_exams_on_other_tiles_or_other_labels_don_t_compare() -> None:
    examples, model = scene(3, "detection")
    exam = examine(model, examples, LABELS)
    exam.check(examine(model, examples, LABELS))
    for other in (examples[1:], [(t, tile, ()) for t, tile, _ in examples]):
        with pytest.raises(InvalidInput, match=r"examine both|redo both"):
            exam.check(examine(model, other, LABELS))


def test_nothing_to_sit_is_an_exam_too() -> None:
    exam: Exam = examine(Prepared([]), [], LABELS)
    assert (exam.objects, len(exam.tasks), exam.metrics["quality"]) == (0, 0, 0.0)
    assert np.isnan(exam.quality()).all()


def test_two_thousand_resamples_take_seconds() -> None:
    """0.6 s on two cores: 20,000 boxes on 500 tiles."""
    rng = np.random.default_rng(0)
    tiles, boxes = 500, 20_000
    tally = BoxTally(
        tile=rng.integers(tiles, size=boxes),
        label=rng.integers(3, size=boxes),
        score=rng.random(boxes),
        right=rng.random(boxes) < 0.5,
        close=np.zeros(boxes, bool),
        objects=np.full((tiles, 3), 9),
    )
    weights = rng.multinomial(tiles, np.full(tiles, 1 / tiles), size=2000).astype(np.float64)
    start = time.perf_counter()
    assert tally.quality(weights).shape == (2000, 4)
    assert time.perf_counter() - start < 10
