"""Kept candidates → regions in tile pixels."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from groundlook.core.geometry import Box, Point, envelope
from groundlook.core.types import Region
from groundlook.models.yolo import masks
from groundlook.models.yolo.candidates import Candidates, Floats
from groundlook.models.yolo.labelling import Labelling
from groundlook.models.yolo.network import Kind

VISIBLE = 0.5
"""Keypoints that the network thinks hidden more likely than seen are left out."""


def regions(
    kept: Candidates, kind: Kind, labelling: Labelling, confidence: float, size: tuple[int, int]
) -> Iterator[Region]:
    """Of those of `confidence` or more, in order.

    "detect": upright boxes clipped to the tile of `size` (width, height); "obb": turned boxes, whole, by a rotation of
    0…90 degrees; "segment": masks, those without a pixel left out; "pose": the visible keypoints inside the tile, each
    as a Point; its score is its object's, times its visibility.
    """
    label, score = kept.proba.argmax(axis=1), kept.proba.max(axis=1, initial=0)
    for i in np.flatnonzero(score >= confidence):
        sure, name = min(float(score[i]), 1.0), "" if labelling.points is not None else labelling.labels[label[i]]
        if kind == "pose":
            yield from _points(kept.extra[i], labelling, name, sure, size)
            continue
        shape = (
            turned(kept.boxes[i], float(kept.extra[i, 0]), size)
            if kind == "obb"
            else masks.mask(kept.boxes[i], kept.extra[i], kept.protos[kept.window[i]], size)
            if kind == "segment"
            else upright(kept.boxes[i], size)
        )
        if shape is not None and (isinstance(shape, Box) or len(shape.runs)):
            yield Region(shape, name, sure, origin="prediction")


def upright(box: Floats, size: tuple[int, int]) -> Box | None:
    """`box`: centre x, y, width, height. None where nothing of it lies in the tile."""
    x, y, w, h = (float(v) for v in box)
    x0, x1 = (min(max(v, 0.0), float(size[0])) for v in (x - w / 2, x + w / 2))
    y0, y1 = (min(max(v, 0.0), float(size[1])) for v in (y - h / 2, y + h / 2))
    return Box(x0, y0, x1 - x0, y1 - y0) if x1 > x0 and y1 > y0 else None


def turned(box: Floats, angle: float, size: tuple[int, int]) -> Box | None:
    """The same box, by a turn of 0…90 degrees. None where nothing of it lies in the tile."""
    x, y, w, h = (float(v) for v in box)
    angle %= math.pi
    if angle >= math.pi / 2:
        angle, w, h = angle - math.pi / 2, h, w
    cos, sin = math.cos(angle), math.sin(angle)
    found = Box(x - (w * cos - h * sin) / 2, y - (w * sin + h * cos) / 2, w, h, math.degrees(angle))
    x0, y0, x1, y1 = envelope(found)
    return found if min(w, h) > 0 and x1 > 0 and y1 > 0 and x0 < size[0] and y0 < size[1] else None


def _points(keypoints: Floats, labelling: Labelling, name: str, sure: float, size: tuple[int, int]) -> Iterator[Region]:
    for k, (x, y, seen) in enumerate(keypoints.reshape(-1, 3).tolist()):
        place = None if labelling.points is None else labelling.points[k]
        label = name if labelling.points is None else None if place is None else labelling.labels[place]
        if label is not None and seen >= VISIBLE and 0 <= x < size[0] and 0 <= y < size[1]:
            yield Region(Point(x, y), label, min(sure * seen, 1.0), origin="prediction")
