"""A small training of every kind, for tests of what may happen to one. `python -m tests.models.train_cases KIND OUT`
runs one, for who wants to kill it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from groundlook.core.geo import Tile
from groundlook.core.geometry import Box, WholeTile
from groundlook.core.ports import Trainer
from groundlook.core.types import Region
from groundlook.models.maskrcnn.train import MaskRCNNTrainer
from groundlook.models.segmentation.train import SegmentationTrainer
from groundlook.models.training.parent import Recipe
from groundlook.models.yolo.train import YoloTrainer

LABELS = ("roof", "pond")
Example = tuple[Tile, list[Region]]


def pictures(count: int, side: int = 64, whole: bool = False) -> list[Example]:
    """Grass with a red roof, every sixth with a blue pond as well; `whole`: with a class instead of boxes."""
    found = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        pixels = rng.normal((70, 110, 60), 12, (side, side, 3))
        regions = []
        for label, colour in (("roof", (190, 90, 70)), ("pond", (30, 60, 170)))[: 1 + (seed % 6 == 0)]:
            x, y = (int(v) for v in rng.integers(0, side - 26, 2))
            pixels[y : y + 24, x : x + 24] = rng.normal(colour, 8, (24, 24, 3))
            regions.append(Region(Box(float(x), float(y), 24.0, 24.0), label))
        if whole:
            regions = [Region(WholeTile(), LABELS[seed % 6 == 0])]
        found.append((Tile(np.clip(pixels, 0, 255).astype(np.uint8)), regions))
    return found


def trainer(kind: str, **more: Any) -> Trainer:
    """Of a small network; `more`: of `Recipe`."""
    recipe = {"epochs": 4, "threads": 1, "keep": 0.0, "device": "cpu", **more}
    if kind == "unet":
        return SegmentationTrainer(
            "deeplabv3plus-tu-test_resnet", recipe=Recipe(**{"batch": 4, "rate": 3e-3, **recipe})
        )
    if kind == "maskrcnn":
        return MaskRCNNTrainer(recipe=Recipe(**{"batch": 2, "rate": 5e-4, **recipe}))
    batch = recipe.pop("batch", 8)
    return YoloTrainer(kind, arguments={"batch": batch}, **recipe)


def train(
    kind: str,
    out: Path,
    progress: Callable[[float, str], None] = lambda f, m: None,
    count: int = 6,
    side: int = 64,
    start: Path | None = None,
    **more: Any,
) -> Path:
    """Run it; the weights."""
    examples: Sequence[Example] = pictures(count, side, "-cls" in kind)
    return trainer(kind, **more).train(examples, LABELS, start, out, progress)


def killer(word: str, victim: Callable[[], psutil.Process]) -> Callable[[float, str], None]:
    """A progress that sends SIGKILL to `victim` when a message holds `word`."""

    def progress(fraction: float, message: str) -> None:
        if word in message:
            victim().send_signal(signal.SIGKILL)

    return progress


def child() -> psutil.Process:
    """The training process that this one started."""
    mine = psutil.Process().children()  # a test run has others: servers, trackers of shared memory
    return next(c for c in mine if any("train_child" in word for word in c.cmdline()))


if __name__ == "__main__":
    train(sys.argv[1], Path(sys.argv[2]), killer("epoch 2 of", lambda: psutil.Process(os.getpid())))
