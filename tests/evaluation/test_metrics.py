"""Average precision against a slow reading of its definition, and against ultralytics'."""

from __future__ import annotations

import importlib.util
import math
import warnings
from pathlib import Path

import numpy as np
import pytest

from groundlook.core.errors import InvalidInput
from groundlook.core.geometry import box_iou
from groundlook.evaluation.metrics import Detections, Truths, average_precision50
from groundlook.models.yolo import offline


def _scene(seed: int, images: int = 8, classes: int = 3) -> tuple[list[Detections], list[Truths]]:
    """Truths, and detections that are moved copies of them among false ones. Scores may tie across images."""
    rng = np.random.default_rng(seed)
    predictions: list[Detections] = []
    truths: list[Truths] = []
    for _ in range(images):
        count, false = rng.integers(0, 9), rng.integers(0, 5)
        low = rng.uniform(0, 200, (count + false, 2))
        boxes = np.hstack([low, low + rng.uniform(10, 40, (count + false, 2))])
        labels = rng.integers(0, classes, count + false)
        truths.append((boxes[:count], labels[:count]))
        moved = np.vstack([boxes + rng.normal(0, 3, boxes.shape), boxes[:2] + 1])
        predictions.append((moved, rng.uniform(0.05, 1, len(moved)).round(2), np.append(labels, labels[:2])))
    return predictions, truths


def _slow(predictions: list[Detections], truths: list[Truths], label: int) -> float:
    """101-point AP by its definition: at each recall, the best precision of any cut that reaches it."""
    rows = [
        (score, image, box)
        for image, (boxes, scores, labels) in enumerate(predictions)
        for box, score, own in zip(boxes, scores, labels, strict=True)
        if own == label
    ]
    rows.sort(key=lambda row: -row[0])
    total = sum(int((labels == label).sum()) for _, labels in truths)
    taken: set[tuple[int, int]] = set()
    points, hits = [], 0
    for n, (_, image, box) in enumerate(rows, 1):
        boxes, labels = truths[image]
        free = [j for j in range(len(boxes)) if labels[j] == label and (image, j) not in taken]
        best = max(free, key=lambda j: box_iou(box[None], boxes[j][None])[0, 0], default=None)
        if best is not None and box_iou(box[None], boxes[best][None])[0, 0] >= 0.5:
            taken.add((image, best))
            hits += 1
        points.append((hits, hits / n))
    wanted = [max((p for h, p in points if h * 100 >= r * total), default=0.0) for r in range(101)]
    return sum(wanted) / 101


@pytest.mark.parametrize("seed", range(12))
def test_agrees_with_its_definition(seed: int) -> None:
    predictions, truths = _scene(seed)
    result = average_precision50(predictions, truths)
    classes = sorted({int(label) for _, labels in truths for label in labels})
    for label in classes:
        assert result[f"AP50/{label}"] == pytest.approx(_slow(predictions, truths, label), abs=1e-12)
    assert result["mAP50"] == pytest.approx(np.mean([result[f"AP50/{c}"] for c in classes]))


@pytest.mark.parametrize("seed", [1, 5])
def test_is_near_ultralytics(seed: int, tmp_path: Path) -> None:
    if importlib.util.find_spec("ultralytics") is None:
        pytest.skip("the yolo extra is not installed")
    offline.ultralytics(tmp_path)
    from ultralytics.utils.metrics import ap_per_class

    predictions, truths = _scene(seed, images=40, classes=1)
    hits, scores = [], []
    for (boxes, score, _), (true, _) in zip(predictions, truths, strict=True):
        iou, free = box_iou(boxes, true), set(range(len(true)))
        flags = np.zeros(len(boxes), bool)
        for i in np.argsort(-score, kind="stable"):
            best = max(free, key=lambda j: iou[i, j], default=None)
            if best is not None and iou[i, best] >= 0.5:
                free.discard(best)
                flags[i] = True
        hits.append(flags)
        scores.append(score)
    count = sum(len(t) for t, _ in truths)
    table = np.concatenate(hits)[:, None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = ap_per_class(table, np.concatenate(scores), np.zeros(len(table)), np.zeros(count))
    # Theirs interpolates between recalls, COCO takes the precision at the next one.
    assert average_precision50(predictions, truths)["mAP50"] == pytest.approx(float(theirs[5][0, 0]), abs=0.02)


def test_perfect_and_none() -> None:
    truth = (np.array([[0.0, 0, 10, 10], [20, 20, 30, 30]]), np.array([0, 0]))
    perfect = average_precision50([(truth[0], np.array([0.9, 0.3]), truth[1])], [truth])
    assert perfect == {"mAP50": 1.0, "AP50/0": 1.0, "precision": 1.0, "recall": 1.0, "confidence": 0.3}
    empty = (np.zeros((0, 4)), np.zeros(0), np.zeros(0, int))
    nothing = average_precision50([empty], [truth])
    assert (nothing["mAP50"], nothing["precision"], nothing["recall"]) == (0.0, 0.0, 0.0)


def test_half_of_the_truths_gives_half() -> None:
    truth = (np.array([[0.0, 0, 10, 10], [20, 20, 30, 30]]), np.array([0, 0]))
    one = (truth[0][:1], np.array([0.9]), np.array([0]))
    assert average_precision50([one], [truth])["mAP50"] == pytest.approx(51 / 101)


def test_a_second_box_on_the_same_thing_is_false() -> None:
    truth = (np.array([[0.0, 0, 10, 10]]), np.array([0]))
    twice = (np.array([[0.0, 0, 10, 10], [0, 0, 10, 9]]), np.array([0.5, 0.9]), np.array([0, 0]))
    result = average_precision50([twice], [truth])
    assert result["precision"] == 1.0
    assert result["confidence"] == 0.9


def test_without_truths_there_is_no_mean() -> None:
    found = (np.array([[0.0, 0, 1, 1]]), np.array([0.5]), np.array([0]))
    result = average_precision50([found], [(np.zeros((0, 4)), np.zeros(0, int))])
    assert math.isnan(result["mAP50"])
    assert math.isnan(average_precision50([], [])["mAP50"])


def test_lengths_must_agree() -> None:
    with pytest.raises(InvalidInput):
        average_precision50([], [(np.zeros((0, 4)), np.zeros(0, int))])
