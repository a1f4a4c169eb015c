"""Areas against areas: which pixels a model gave the right class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from groundlook.core.geometry import has_area
from groundlook.core.types import Prediction, Region
from groundlook.evaluation.raster import class_map


class Pixels:
    """Shapes of any kind as the pixels whose centre they cover, added up over all tiles."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._labels = tuple(labels)
        self._place = {label: i for i, label in enumerate(labels)}
        self._table = np.zeros((len(labels) + 1, len(labels) + 1), dtype=np.int64)
        self._images = self._objects = 0

    def add(self, prediction: Prediction, truth: Sequence[Region], size: tuple[int, int]) -> None:
        """One tile of `size` (width, height)."""
        width, height = size
        wanted = class_map(truth, self._place, width, height)
        found = class_map(prediction.regions, self._place, width, height)
        classes = len(self._table)
        self._table += np.bincount((wanted * classes + found).ravel(), minlength=classes**2).reshape(classes, classes)
        self._images += 1
        self._objects += sum(r.label in self._place and has_area(r.shape) for r in truth)

    def answers(self) -> None:
        """None: regions are no answers of their own, pixels are not kept."""
        return

    def result(self) -> dict[str, float]:
        """`iou/<label>`: intersection over union of all its pixels, of every label that the truth has; `mean_iou` of
        these, also as `quality`; `precision` and `recall` of labelled pixels, `images`, `objects`."""
        both = np.diag(self._table).astype(np.float64)
        wanted, found = self._table.sum(axis=1), self._table.sum(axis=0)
        iou = both / np.maximum(wanted + found - both, 1)
        occurs = [i for i in range(1, len(self._table)) if wanted[i]]
        mean = float(iou[occurs].mean()) if occurs else 0.0
        right = both[1:].sum()
        return {
            "quality": mean,
            "mean_iou": mean,
            **{f"iou/{self._labels[i - 1]}": float(iou[i]) for i in occurs},
            "precision": float(right / max(found[1:].sum(), 1)),
            "recall": float(right / max(wanted[1:].sum(), 1)),
            "images": float(self._images),
            "objects": float(self._objects),
        }
