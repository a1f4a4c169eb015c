"""Examples → weights of a U-Net or DeepLabV3+, in a child process."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from groundlook.core.errors import TrainingFailed
from groundlook.core.geo import Tile
from groundlook.core.ports import Progress
from groundlook.core.types import Region
from groundlook.models.raster import class_map
from groundlook.models.training import modes, spool
from groundlook.models.training.parent import Recipe, epochs, shown, train_in_child

_CHILD = "groundlook.models.segmentation.train_child"
_SEEN_START, _SEEN_SCRATCH = 600, 1200
# Small batches: a small set gives few steps otherwise.
RECIPE = Recipe(batch=4)


class SegmentationTrainer:
    """A Trainer of pixels. `arch`: see `network.build`. `epochs`, `mode`: instead of the recipe's."""

    def __init__(
        self,
        arch: str = "unet-resnet18",
        *,
        epochs: int | None = None,
        mode: modes.Mode | None = None,
        recipe: Recipe | None = None,
    ) -> None:
        self._arch, given = arch, recipe or RECIPE
        self._recipe = replace(given, epochs=epochs or given.epochs, mode=mode or given.mode)

    @property
    def arch(self) -> str:
        """The network's name."""
        return self._arch

    def train(
        self,
        examples: Iterable[tuple[Tile, Sequence[Region]]],
        labels: Sequence[str],
        start: Path | None,
        out: Path,
        progress: Progress,
    ) -> Path:
        """Fit to `examples`, and return `out`/weights.safetensors, whose metadata name the network and the labels.

        `tile.pixels`: uint8 RGB (H, W, 3). Regions of any shape count as the pixels whose centre they cover, a smaller
        one on top of a larger one; whatever no region covers is background. `start`: weights of which every tensor
        that fits is taken, also of a bare encoder. An error raised by `progress` ends the child at once. Raises
        TrainingFailed, InvalidWeights where `start` is missing, InvalidInput for pixels that are not uint8.
        """

        def prepare(folder: Path) -> dict[str, Any]:
            counts = np.zeros(len(labels) + 1, dtype=np.int64)

            def describe(regions: Sequence[Region], width: int, height: int) -> spool.Truth:
                truth = class_map(regions, labels, width, height)
                counts[:] += np.bincount(truth.ravel(), minlength=len(counts))
                return {"truth": truth}

            written = spool.write(examples, folder, self._recipe.largest, describe, _cut, _classes)
            pictures = len(written.classes)
            if not counts[1:].any():
                wanted = " or ".join(labels) or "(no labels)"
                raise TrainingFailed(f"none of the {pictures} tiles has a region labelled {wanted}: label some")
            return self._spec(labels, written, counts, start)

        return train_in_child(_CHILD, self._arch, start, out, progress, prepare)

    def _spec(
        self, labels: Sequence[str], written: spool.Written, counts: np.ndarray[Any, Any], start: Path | None
    ) -> dict[str, Any]:
        pictures, side = len(written.classes), written.side
        budget = _SEEN_SCRATCH if start is None else _SEEN_START
        chosen = self._recipe.epochs or epochs(pictures, side, budget)
        mode = modes.chosen(self._recipe.mode, pictures, start)
        head = " of the head" if mode == "frozen" else ""
        share = counts[1:].sum() / counts.sum()
        return {
            **asdict(self._recipe),
            **shown(self._recipe, written.places, written.classes),
            "mode": mode,
            "labels": list(labels),
            "epochs": chosen,
            "side": side,
            "class_weights": class_weights(counts).tolist(),
            "message": f"{pictures} pictures, {share:.1%} of their pixels labelled, {chosen} epochs{head}",
        }


def class_weights(counts: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What a pixel of each class counts in the loss: 1/√share, so that a class a hundred times rarer counts ten times
    as much, 0.2…5 times the mean pixel; a class that does not occur counts 1."""
    share = counts / max(counts.sum(), 1)
    weights = np.where(counts > 0, 1 / np.sqrt(np.maximum(share, 1e-9)), 0.0)
    weights = weights / max((weights * share).sum(), 1e-9)
    return np.where(counts > 0, np.clip(weights, 0.2, 5.0), 1.0)


def _classes(truth: spool.Truth) -> list[int]:
    return [int(c) for c in np.unique(truth["truth"]) if c > 0]


def _cut(truth: spool.Truth, window: tuple[int, int, int, int]) -> spool.Truth:
    column, row, width, height = window
    return {"truth": truth["truth"][row : row + height, column : column + width]}
