"""Areas against areas: which pixels a model gave the right class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from groundlook.core.geometry import has_area
from groundlook.core.raster import class_map
from groundlook.core.tally import Ints, PixelTally
from groundlook.core.types import Prediction, Region


class Pixels:
    """Shapes of any kind as the pixels whose centre they cover, added up over all tiles."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._labels = tuple(labels)
        self._place = {label: i for i, label in enumerate(labels)}
        self._tiles: list[tuple[Ints, Ints, Ints, Ints]] = []

    def add(self, prediction: Prediction, truth: Sequence[Region], size: tuple[int, int]) -> None:
        """One tile of `size` (width, height)."""
        width, height = size
        wanted = class_map(truth, self._labels, width, height)
        found = class_map(prediction.regions, self._labels, width, height)
        drawn = [self._place[r.label] for r in truth if r.label in self._place and has_area(r.shape)]
        classes = len(self._labels) + 1
        by_class = [np.bincount(part.ravel(), minlength=classes) for part in (wanted, found, wanted[wanted == found])]
        objects = np.bincount(np.array(drawn, np.int64), minlength=len(self._labels))
        self._tiles.append((by_class[0], by_class[1], by_class[2], objects))

    def answers(self) -> None:
        """None: regions are no answers of their own, pixels are not kept."""
        return

    def tally(self) -> PixelTally:
        """The pixels tile by tile."""
        classes = len(self._labels) + 1
        wide = (classes, classes, classes, classes - 1)
        parts = [
            np.array([tile[i] for tile in self._tiles], np.int64).reshape(len(self._tiles), width)
            for i, width in enumerate(wide)
        ]
        return PixelTally(*parts)

    def result(self) -> dict[str, float]:
        """`iou/<label>`: intersection over union of all its pixels, of every label that the truth has; `mean_iou` of
        these, also as `quality`; `precision` and `recall` of labelled pixels, `images`, `objects`."""
        tally = self.tally()
        both, wanted, found = (part.sum(axis=0) for part in (tally.both, tally.wanted, tally.found))
        iou = both / np.maximum(wanted + found - both, 1)
        occurs = [i for i in range(1, len(wanted)) if wanted[i]]
        mean = float(iou[occurs].mean()) if occurs else 0.0
        right = both[1:].sum()
        return {
            "quality": mean,
            "mean_iou": mean,
            **{f"iou/{self._labels[i - 1]}": float(iou[i]) for i in occurs},
            "precision": float(right / max(found[1:].sum(), 1)),
            "recall": float(right / max(wanted[1:].sum(), 1)),
            "images": float(len(self._tiles)),
            "objects": float(tally.objects.sum()),
        }
