"""Examples → weights of a Mask R-CNN, in a child process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groundlook.core.geo import WindowPx
from groundlook.core.raster import crop
from groundlook.core.types import Region
from groundlook.models.training import spool
from groundlook.models.training.parent import Recipe
from groundlook.models.training.trainer import NetworkTrainer

_SLIVER, _VISIBLE = 2, 0.25
RECIPE = Recipe(batch=2, rate=5e-4)


class Instances:
    """A Lesson: see `pixels_of`, and of a window `cut_instances`."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._place = {label: i + 1 for i, label in enumerate(labels)}
        self._count = 0

    def describe(self, regions: Sequence[Region], width: int, height: int) -> spool.Truth:
        kept = [r for r in regions if r.label in self._place]
        return pixels_of([crop(r.shape, width, height) for r in kept], [self._place[r.label] for r in kept])

    def cut(self, truth: spool.Truth, window: WindowPx) -> spool.Truth:
        part = cut_instances(truth, window)
        self._count += len(part["labels"])
        return part

    def classes(self, truth: spool.Truth) -> list[int]:
        return [int(c) for c in truth["labels"]]

    def told(self) -> str:
        return f"{self._count} objects" if self._count else ""

    def own(self, written: spool.Written) -> dict[str, Any]:
        return {}


class MaskRCNNTrainer(NetworkTrainer):
    """A Trainer of instances with masks. Each region with an area is one instance, of the pixels whose centre it
    covers."""

    CHILD = "groundlook.models.maskrcnn.train_child"
    ARCH = "maskrcnn-resnet18-fpn"
    RECIPE = RECIPE
    LESSON = Instances


def pixels_of(crops: Sequence[tuple[int, int, NDArray[np.bool_]]], labels: Sequence[int]) -> spool.Truth:
    """The instances of a tile, each as its own window of it, see `raster.crop`: "windows" (N, 4): column, row, width,
    height; "pixels" bool: those of all windows, one after the other; "labels" (N,)."""
    windows = [(column, row, inside.shape[1], inside.shape[0]) for column, row, inside in crops]
    return {
        "windows": np.array(windows, dtype=np.int64).reshape(-1, 4),
        "pixels": np.concatenate([np.zeros(0, dtype=bool), *(inside.ravel() for _, _, inside in crops)]),
        "labels": np.array(labels, dtype=np.int64),
    }


def cut_instances(truth: spool.Truth, window: WindowPx) -> spool.Truth:
    """The instances of `pixels_of` in a window: "masks" uint8, packed bits of bool (N, h, w), "labels" (N,), "shape"
    (N, h, w). Those of which a sliver, or less than a quarter, is in the window are left out."""
    column, row, width, height = window
    masks, kept, start = [], [], 0
    for i, (x, y, w, h) in enumerate(truth["windows"].tolist()):
        inside = truth["pixels"][start : start + w * h].reshape(h, w)
        start += w * h
        left, top, right, bottom = max(x, column), max(y, row), min(x + w, column + width), min(y + h, row + height)
        if right - left < _SLIVER or bottom - top < _SLIVER:
            continue
        seen = inside[top - y : bottom - y, left - x : right - x]
        wide = min(int(seen.any(axis=0).sum()), int(seen.any(axis=1).sum())) >= _SLIVER
        if wide and seen.sum() >= _VISIBLE * inside.sum():
            mask = np.zeros((height, width), dtype=bool)
            mask[top - row : bottom - row, left - column : right - column] = seen
            masks.append(mask)
            kept.append(i)
    found = np.stack(masks) if masks else np.zeros((0, height, width), dtype=bool)
    return {
        "masks": np.packbits(found),
        "shape": np.array(found.shape, dtype=np.int64),
        "labels": truth["labels"][kept],
    }
