"""Examples → weights of a U-Net or DeepLabV3+, in a child process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groundlook.core.geo import WindowPx
from groundlook.core.raster import class_map
from groundlook.core.types import Region
from groundlook.models.training import spool
from groundlook.models.training.parent import Recipe
from groundlook.models.training.trainer import NetworkTrainer

# Small batches: a small set gives few steps otherwise.
RECIPE = Recipe(batch=4)


class Pixels:
    """A Lesson: "truth", int16 (H, W), 0 for the background, 1 for the first label."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._labels, self._counts = labels, np.zeros(len(labels) + 1, dtype=np.int64)

    def describe(self, regions: Sequence[Region], width: int, height: int) -> spool.Truth:
        truth = class_map(regions, self._labels, width, height)
        self._counts += np.bincount(truth.ravel(), minlength=len(self._counts))
        return {"truth": truth}

    def cut(self, truth: spool.Truth, window: WindowPx) -> spool.Truth:
        column, row, width, height = window
        return {"truth": truth["truth"][row : row + height, column : column + width]}

    def classes(self, truth: spool.Truth) -> list[int]:
        return [int(c) for c in np.unique(truth["truth"]) if c > 0]

    def told(self) -> str:
        labelled = self._counts[1:].sum()
        return f"{labelled / self._counts.sum():.1%} of their pixels labelled" if labelled else ""

    def own(self, written: spool.Written) -> dict[str, Any]:
        return {"side": written.side, "class_weights": class_weights(self._counts).tolist()}


class SegmentationTrainer(NetworkTrainer):
    """A Trainer of pixels. Regions of any shape count as the pixels whose centre they cover, a smaller one on top of a
    larger one; whatever no region covers is background."""

    CHILD = "groundlook.models.segmentation.train_child"
    ARCH = "unet-resnet18"
    RECIPE = RECIPE
    LESSON = Pixels


def class_weights(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """What a pixel of each class counts in the loss, (C,), made of their pixels `counts`, (C,): 1/√share, so that a
    class a hundred times rarer counts ten times as much, 0.2…5 times the mean pixel; a class that does not occur counts
    1."""
    share = counts / max(counts.sum(), 1)
    weights = np.where(counts > 0, 1 / np.sqrt(np.maximum(share, 1e-9)), 0.0)
    weights = weights / max((weights * share).sum(), 1e-9)
    return np.where(counts > 0, np.clip(weights, 0.2, 5.0), 1.0)
