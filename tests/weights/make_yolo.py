"""Train the small YOLOs of the tests, and write tests/weights/yolo_<kind>.safetensors.

    uv run python -m tests.weights.make_yolo            # about 5 minutes on two cores

yolo11 at our scale `p` (0.3 M parameters) from scratch, on painted towns of 160 px: turned roofs, and cars.
The weights are kept as float16, 0.7 MB or less each; classes and network stand in their metadata.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from groundlook.core.geo import Tile
from groundlook.core.geometry import Box, Shape, WholeTile, envelope
from groundlook.core.mask import Mask
from groundlook.core.types import Region
from groundlook.models.weights.file import Weights, read, save
from groundlook.models.yolo.train import YoloTrainer

HERE = Path(__file__).resolve().parent
SIDE = 160
LABELS = ("building", "car")
KINDS = {"detect": ("", 30, 64), "obb": ("-obb", 30, 80), "seg": ("-seg", 30, 64)}
Town = tuple[Tile, list[Region]]


def town(seed: int, side: int = SIDE, masks: bool = False) -> Town:
    """Grass with turned roofs, some of them L-shaped, and cars on it; every eighth is empty. `masks`: regions are the
    pixels of each thing, else the turned box around it."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(0, 1, (side // 20, side // 20)).astype(np.float32)
    ground = np.array([70, 105, 60]) + 15 * cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)[:, :, None]
    taken = np.zeros((side, side), np.uint8)
    regions: list[Region] = []
    count = 0 if seed % 8 == 7 else int(rng.integers(6, 12) * (side / SIDE) ** 2)
    for i in range(count):
        car = i % 3 == 2
        size = rng.uniform((18, 9), (24, 12)) if car else rng.uniform(20, 48, 2)
        box = _turned(rng.uniform(0.08, 0.92, 2) * side, size, float(rng.uniform(0, 90)))
        shape = _fill(box, side)
        if not car and rng.random() < 0.3:
            corner = Box(box.x, box.y, box.width * 0.45, box.height * 0.45, box.rotation)
            shape &= ~_fill(corner, side)
        if (cv2.dilate(shape, np.ones((5, 5), np.uint8)) & taken).any() or _outside(box, side):
            continue
        taken |= shape
        shadow = np.roll(shape, (3, 2), (0, 1)) & ~taken
        ground[shadow > 0] *= 0.6
        colour = rng.uniform(20, 240, 3) if car else np.array([185, 90, 70]) + rng.normal(0, 25, 3)
        ground[shape > 0] = colour + (np.array([20, -10, 10]) if car else 0)
        what: Shape = Mask.of(shape) if masks else box
        regions.append(Region(what, LABELS[int(car)]))
    noisy = cv2.GaussianBlur(ground.astype(np.float32), (0, 0), 0.6) + rng.normal(0, 6, (side, side, 3))
    return Tile(np.clip(noisy, 0, 255).astype(np.uint8)), regions


def _turned(centre: np.ndarray, size: np.ndarray, degrees: float) -> Box:
    w, h = (float(v) for v in size)
    turn = np.radians(degrees)
    x = float(centre[0] - (w * np.cos(turn) - h * np.sin(turn)) / 2)
    y = float(centre[1] - (w * np.sin(turn) + h * np.cos(turn)) / 2)
    return Box(x, y, w, h, degrees)


def _fill(box: Box, side: int) -> np.ndarray:
    canvas = np.zeros((side, side), np.uint8)
    cv2.fillConvexPoly(canvas, np.round((box.corners() - 0.5) * 16).astype(np.int32), 1, cv2.LINE_8, 4)
    return canvas


def _outside(box: Box, side: int) -> bool:
    x0, y0, x1, y1 = envelope(box)
    return min(x0, y0) < 0 or max(x1, y1) > side


def whole(seed: int) -> Town:
    """A town with one class for all of it: whether anything stands there."""
    tile, regions = town(seed * 4 + (3 if seed % 2 else 0))
    return tile, [Region(WholeTile(), "built" if regions else "empty")]


def train(kind: str) -> Path:
    """Of "detect", "obb" or "seg", into this folder."""
    suffix, epochs, pictures = KINDS[kind]
    arch = f"yolo11p{suffix}.yaml"
    work = Path(tempfile.mkdtemp())
    begun = time.monotonic()
    try:
        examples = [town(1000 + i, masks=kind == "seg") for i in range(pictures)]
        trainer = YoloTrainer(arch, epochs=epochs, device="cpu")
        found = trainer.train(examples, LABELS, None, work, lambda f, m: print(f"{kind} {f:.0%} {m}", flush=True))
        content = read(found)
        half = {name: v.half() if v.is_floating_point() else v for name, v in content.state.items()}
        path = save(HERE / f"yolo_{kind}.safetensors", Weights(half, content.names, content.arch))
    finally:
        shutil.rmtree(work)
    print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB in {time.monotonic() - begun:.0f} s")
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", default=list(KINDS))
    for name in parser.parse_args().kinds:
        train(name)
