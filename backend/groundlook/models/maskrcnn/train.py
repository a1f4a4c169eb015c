"""Examples → weights of a Mask R-CNN, in a child process."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import TrainingFailed
from groundlook.core.geo import Tile
from groundlook.core.ports import Progress
from groundlook.core.types import Region
from groundlook.models.raster import crop
from groundlook.models.training import modes, spool
from groundlook.models.training.parent import Recipe, epochs, shown, train_in_child

_CHILD = "groundlook.models.maskrcnn.train_child"
_SEEN_START, _SEEN_SCRATCH = 600, 1200
_SLIVER, _VISIBLE = 2, 0.25
RECIPE = Recipe(batch=2, rate=5e-4)


class MaskRCNNTrainer:
    """A Trainer of instances with masks. `arch`: see `network.build`. `epochs`, `mode`: instead of the recipe's."""

    def __init__(
        self,
        arch: str = "maskrcnn-resnet18-fpn",
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

        `tile.pixels`: uint8 RGB (H, W, 3). Each region with an area is one instance, of the pixels whose centre it
        covers. `start`: weights of which every tensor that fits is taken, also of a bare ResNet. An error raised by
        `progress` ends the child at once. Raises TrainingFailed, InvalidWeights where `start` is missing, InvalidInput
        for pixels that are not uint8.
        """
        place = {label: i + 1 for i, label in enumerate(labels)}
        instances = 0

        def describe(regions: Sequence[Region], width: int, height: int) -> spool.Truth:
            kept = [r for r in regions if r.label in place]
            return pixels_of([crop(r.shape, width, height) for r in kept], [place[r.label] for r in kept])

        def cut(truth: spool.Truth, window: tuple[int, int, int, int]) -> spool.Truth:
            nonlocal instances
            part = cut_instances(truth, window)
            instances += len(part["labels"])
            return part

        def prepare(folder: Path) -> dict[str, Any]:
            written = spool.write(examples, folder, self._recipe.largest, describe, cut, _classes)
            pictures = len(written.classes)
            if not instances:
                wanted = " or ".join(labels) or "(no labels)"
                raise TrainingFailed(f"none of the {pictures} tiles has a region labelled {wanted}: label some")
            budget = _SEEN_START if start is not None else _SEEN_SCRATCH
            chosen = self._recipe.epochs or epochs(pictures, written.side, budget)
            mode = modes.chosen(self._recipe.mode, pictures, start)
            head = " of the head" if mode == "frozen" else ""
            return {
                **asdict(self._recipe),
                **shown(self._recipe, written.places, written.classes),
                "mode": mode,
                "labels": list(labels),
                "epochs": chosen,
                "message": f"{pictures} pictures, {instances} objects, {chosen} epochs{head}",
            }

        return train_in_child(_CHILD, self._arch, start, out, progress, prepare)


def _classes(truth: spool.Truth) -> list[int]:
    return [int(c) for c in truth["labels"]]


def pixels_of(crops: Sequence[tuple[int, int, NDArray[np.bool_]]], labels: Sequence[int]) -> spool.Truth:
    """The instances of a tile, each as its own window of it, see `raster.crop`: "windows" (N, 4): column, row, width,
    height; "pixels" bool: those of all windows, one after the other; "labels" (N,)."""
    windows = [(column, row, inside.shape[1], inside.shape[0]) for column, row, inside in crops]
    return {
        "windows": np.array(windows, dtype=np.int64).reshape(-1, 4),
        "pixels": np.concatenate([np.zeros(0, dtype=bool), *(inside.ravel() for _, _, inside in crops)]),
        "labels": np.array(labels, dtype=np.int64),
    }


def cut_instances(truth: spool.Truth, window: tuple[int, int, int, int]) -> spool.Truth:
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
