"""Boxes against boxes: what a detector found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from groundlook.core.geometry import box_iou, envelope
from groundlook.core.tally import BoxTally
from groundlook.core.types import Prediction, Region
from groundlook.evaluation.metrics import Detections, Truths, average_precision50

LEAST_PX = 2.0
"""Truths thinner than this are not counted, nor what finds them: they are cut edges of things on the next tile."""
_SAME, _CLOSE = 0.5, 0.75


class Boxes:
    """Shapes of any kind as the upright box around them."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._place = {label: i for i, label in enumerate(labels)}
        self._found: list[Detections] = []
        self._truths: list[Truths] = []

    def add(self, prediction: Prediction, truth: Sequence[Region], size: tuple[int, int]) -> None:
        """One tile."""
        boxes, names, scores = _arrays(prediction.regions, self._place)
        wanted, wanted_names, _ = _arrays(truth, self._place)
        thick = (wanted[:, 2:] - wanted[:, :2]).min(axis=1, initial=np.inf) >= LEAST_PX
        over = (box_iou(boxes, wanted) >= _SAME) & (names[:, None] == wanted_names)
        counted = over[:, thick].any(axis=1) | ~over[:, ~thick].any(axis=1)
        self._found.append((boxes[counted], scores[counted], names[counted]))
        self._truths.append((wanted[thick], wanted_names[thick]))

    def result(self) -> dict[str, float]:
        """`map50` (mAP at IoU 0.5, mean over the labels that occur), also as `quality`; `precision` and `recall` at the
        best F1, `images`, `objects`."""
        result = average_precision50(self._found, self._truths)
        objects = float(sum(len(names) for _, names in self._truths))
        map50 = result["mAP50"] if objects else 0.0
        return {
            "quality": map50,
            "map50": map50,
            "precision": result["precision"] if objects else 0.0,
            "recall": result["recall"] if objects else 0.0,
            "images": float(len(self._truths)),
            "objects": objects,
        }

    def answers(self) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """The score of everything found, (K, 1), and whether it is a truth that nothing surer found, (K, 1)."""
        found = self.tally()
        return found.score[:, None], found.right[:, None]

    def tally(self) -> BoxTally:
        """The same tile by tile."""
        tiles = [np.full(len(found[1]), row) for row, found in enumerate(self._found)]
        truths = [np.bincount(names, minlength=len(self._place)) for _, names in self._truths]
        return BoxTally(
            tile=np.concatenate([np.zeros(0, np.int64), *tiles]),
            label=np.concatenate([np.zeros(0, np.int64), *(found[2] for found in self._found)]),
            score=np.concatenate([np.zeros(0), *(found[1] for found in self._found)]),
            right=self._hits(_SAME),
            close=self._hits(_CLOSE),
            objects=np.array(truths, np.int64).reshape(len(self._truths), len(self._place)),
        )

    def _hits(self, least: float) -> NDArray[np.bool_]:
        hits = [_hits(found, truth, least) for found, truth in zip(self._found, self._truths, strict=True)]
        return np.concatenate([np.zeros(0, bool), *hits])


def _hits(found: Detections, truth: Truths, least: float) -> NDArray[np.bool_]:
    boxes, scores, names = found
    wanted, wanted_names = truth
    over = box_iou(np.asarray(boxes, np.float64), np.asarray(wanted, np.float64))
    over[names[:, None] != wanted_names] = 0
    right = np.zeros(len(scores), bool)
    for row in np.argsort(-scores, kind="stable"):
        if over.shape[1] and over[row].max() >= least:
            right[row] = True
            over[:, over[row].argmax()] = 0
    return right


def _arrays(
    regions: Sequence[Region], place: Mapping[str, int]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    kept = [r for r in regions if r.label in place]
    boxes = np.array([envelope(r.shape) for r in kept], dtype=np.float64).reshape(-1, 4)
    names = np.array([place[r.label] for r in kept], dtype=np.int64)
    return boxes, names, np.array([r.score or 0.0 for r in kept], dtype=np.float64)
