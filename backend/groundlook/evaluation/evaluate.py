"""A model against people's answers, tile by tile."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from groundlook.core.geo import Tile
from groundlook.core.geometry import envelope
from groundlook.core.ports import Model
from groundlook.core.types import Region
from groundlook.evaluation.metrics import Detections, Truths, average_precision50

LEAST_PX = 2.0
"""Truths thinner than this are not counted: they are the cut edge of something on the next tile."""


def evaluate(
    model: Model, examples: Iterable[tuple[Tile, Sequence[Region]]], labels: Sequence[str]
) -> dict[str, float]:
    """`map50` (mAP at IoU 0.5, mean over the labels that occur), `precision` and `recall` at the best F1, `images`,
    `objects`. Shapes count as the upright box around them. One tile is in memory at a time."""
    place = {label: i for i, label in enumerate(labels)}
    found: list[Detections] = []
    truths: list[Truths] = []
    for tile, regions in examples:
        prediction = model.predict([tile])[0]
        boxes, names, scores = _arrays(prediction.regions, place)
        found.append((boxes, scores, names))
        wanted, wanted_names, _ = _arrays(regions, place)
        thick = (wanted[:, 2:] - wanted[:, :2]).min(axis=1, initial=np.inf) >= LEAST_PX
        truths.append((wanted[thick], wanted_names[thick]))
    result = average_precision50(found, truths)
    objects = float(sum(len(names) for _, names in truths))
    return {
        "map50": result["mAP50"] if objects else 0.0,
        "precision": result["precision"] if objects else 0.0,
        "recall": result["recall"] if objects else 0.0,
        "images": float(len(truths)),
        "objects": objects,
    }


def _arrays(
    regions: Sequence[Region], place: dict[str, int]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    kept = [r for r in regions if r.label in place]
    boxes = np.array([envelope(r.shape) for r in kept], dtype=np.float64).reshape(-1, 4)
    names = np.array([place[r.label] for r in kept], dtype=np.int64)
    return boxes, names, np.array([r.score or 0.0 for r in kept], dtype=np.float64)
