"""How good detections are: average precision at IoU 0.5, as COCO counts it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput
from groundlook.core.geometry import box_iou

Detections = tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.integer]]
"""Of one image: boxes (N, 4) as x0 y0 x1 y1, scores (N,), labels (N,)."""

Truths = tuple[NDArray[np.floating], NDArray[np.integer]]
"""Of one image: boxes (M, 4) as x0 y0 x1 y1, labels (M,)."""

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_RECALLS = np.linspace(0, 1, 101)


def average_precision50(predictions: Sequence[Detections], truths: Sequence[Truths]) -> dict[str, float]:
    """mAP at IoU 0.5 of `predictions` against `truths`, one entry of each per image, in the same order.

    Within an image and class, detections take the best free truth in order of score. Returns "mAP50", the mean over
    the classes that have truths, "AP50/<label>" of each of them, and "precision", "recall" and "confidence" at the
    score that gives the best F1 over all classes. Without any truth, mAP50 and recall are NaN. Pass detections down
    to a low score (0.05): those left out count as missed. Raises InvalidInput.
    """
    if len(predictions) != len(truths):
        raise InvalidInput(f"{len(predictions)} predictions for {len(truths)} images: give one per image")
    known = np.unique(np.concatenate([np.asarray(t[1], np.int64).ravel() for t in truths] or [np.zeros(0, np.int64)]))
    seen = [np.asarray(p[2], np.int64).ravel() for p in predictions]
    classes = np.unique(np.concatenate([known, *seen]))
    result: dict[str, float] = {}
    scores: list[Floats] = [np.zeros(0)]
    hits: list[Flags] = [np.zeros(0, bool)]
    total = 0
    for label in classes:
        score, hit, count = _of_class(predictions, truths, int(label))
        if count:
            result[f"AP50/{label}"] = _average(hit[np.argsort(-score, kind="stable")], count)
        scores.append(score)
        hits.append(hit)
        total += count
    mean = float(np.mean(list(result.values()))) if result else float("nan")
    return {"mAP50": mean, **result, **_best(np.concatenate(scores), np.concatenate(hits), total)}


def _of_class(predictions: Sequence[Detections], truths: Sequence[Truths], label: int) -> tuple[Floats, Flags, int]:
    """Scores of a class's detections in all images, whether each is a hit, and how many truths there are."""
    scores: list[Floats] = [np.zeros(0)]
    hits: list[Flags] = [np.zeros(0, bool)]
    count = 0
    for (boxes, score, labels), (true_boxes, true_labels) in zip(predictions, truths, strict=True):
        mine, true = np.asarray(labels).ravel() == label, np.asarray(true_labels).ravel() == label
        wanted = np.asarray(true_boxes, np.float64).reshape(-1, 4)[true]
        own = np.asarray(score, np.float64).ravel()[mine]
        order = np.argsort(-own, kind="stable")
        scores.append(own[order])
        hits.append(_match(np.asarray(boxes, np.float64).reshape(-1, 4)[mine][order], wanted))
        count += len(wanted)
    return np.concatenate(scores), np.concatenate(hits), count


def _match(boxes: Floats, wanted: Floats, least: float = 0.5) -> Flags:
    """Which of `boxes`, best first, find a truth that no better one has taken."""
    iou = box_iou(boxes, wanted)
    hits = np.zeros(len(boxes), bool)
    if not iou.size:
        return hits
    for i in range(len(boxes)):
        best = int(iou[i].argmax())
        if iou[i, best] >= least:
            hits[i] = True
            iou[:, best] = -1.0
    return hits


def _average(hits: Flags, count: int) -> float:
    """Mean, over 101 recalls, of the best precision that has at least that recall."""
    found = np.cumsum(hits)
    precision = found / np.arange(1, len(hits) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    # The rounding guards against 0.30000000000000004: a recall that is reached exactly counts as reached.
    at = np.searchsorted(np.round(found / count, 12), np.round(_RECALLS, 12))
    return float(np.append(best, 0.0)[at].mean())


def _best(scores: Floats, hits: Flags, count: int) -> dict[str, float]:
    """Precision, recall and score where F1 is highest."""
    if not len(scores) or not count:
        recall = 0.0 if count else float("nan")
        return {"precision": 0.0, "recall": recall, "confidence": 0.0}
    order = np.argsort(-scores, kind="stable")
    found = np.cumsum(hits[order])
    f1 = 2 * found / (np.arange(1, len(order) + 1) + count)
    best = int(f1.argmax())
    return {
        "precision": float(found[best] / (best + 1)),
        "recall": float(found[best] / count),
        "confidence": float(scores[order][best]),
    }
