"""The part of `bench models` about whole scenes: merging boxes, sliced inference, its memory and its overhead.

Speed does not depend on weights: they are random, of the full-size yolo11n. Accuracy does: the small YOLO of the tests.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from groundlook.core.geo import Tile
from groundlook.core.geometry import Box
from groundlook.core.types import ModelCard, ModelVersion, Prediction, Region
from groundlook.evaluation.evaluate import evaluate
from groundlook.learning.registry import version_of
from groundlook.models.yolo.predict import YoloModel
from groundlook.service.bench import Goal, Result, in_turns, result
from groundlook.service.settings import Settings
from groundlook.service.wiring.predict import Options, predict_scenes
from groundlook_adapters.vectors.seams.boxes import greedy_groups
from groundlook_adapters.vectors.seams.views import merged_boxes, view_groups

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a bench is run from anywhere
sys.path.insert(0, str(Path(__file__).resolve().parent))
from geo_house import big_scene

from tests.vectors.seam_oracle import across, hits, looked, sahi_merged, world

TILE, OVERLAP, BOXES = 640, 128, 20_000
ARCH = "yolo11n.yaml"
TRAINED = Path(__file__).resolve().parents[1] / "weights" / "yolo_detect.safetensors"
RANDOM_ERROR = 0.5
"""bfloat16 is off by a tenth or so where weights are random: that says nothing of trained ones, see the mAP."""


def run(quick: bool) -> Iterator[Result]:
    """The cases, one after the other."""
    yield _merging(5 if quick else 21)
    yield from _seams(1 if quick else 5)
    with tempfile.TemporaryDirectory(prefix="groundlook-bench-") as name:
        folder = Path(name)
        weights = random_weights(folder / "yolo11n.pt")
        model = loaded(weights, folder)
        scene = big_scene(folder / "scene.tif", 2048 if quick else 8192)
        yield from _sliced(folder, scene, weights, model, 1 if quick else 2)
        yield _memory(folder, scene, weights)
        if TRAINED.is_file():
            yield _accuracy(folder, 12 if quick else 48)


# merging


def _merging(repeats: int) -> Result:
    """Arrays in, groups out: sahi's own merging of predictions takes longer still."""
    from sahi.postprocess.combine import batched_greedy_nmm

    rng = np.random.default_rng(0)
    corner, size = rng.uniform(0, 8192, (BOXES // 2, 2)), rng.uniform(10, 60, (BOXES // 2, 2))
    once = np.concatenate([corner, corner + size], axis=1)
    boxes = np.concatenate([once, once + rng.normal(0, 2, once.shape)])
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
    rest = [rng.uniform(0.25, 1, BOXES), rng.integers(0, 3, BOXES)]
    rows = np.column_stack([boxes, *rest]).astype(np.float32)
    labels = rows[:, 5].astype(np.int64)

    def ours(_: int) -> NDArray[np.int64]:
        return greedy_groups(rows[:, :4], rows[:, 4], labels)

    def sahi(_: int) -> dict[int, list[int]]:
        return batched_greedy_nmm(rows, "IOS", 0.5)

    groups = np.empty(BOXES, np.int64)
    for keeper, others in sahi(0).items():
        groups[[keeper, *others]] = keeper
    if not np.array_equal(groups, ours(0)):
        raise AssertionError("the groups are not sahi's")
    goal = Goal("ratio", "<", 1 / 50)
    name = f"box merging, {BOXES:,} boxes, the same groups"
    return result(name, "ms", goal, in_turns(ours, sahi, repeats), "sahi batched_greedy_nmm", 1000)


def _seams(seeds: int) -> Iterator[Result]:
    """Things that an edge of a window cuts, seen by a detector that is off by 1.5 px and misses one in twenty."""
    for overlap in (OVERLAP, 0):
        tally = np.zeros((2, 2))
        crossing, truths = 0, 0
        for seed in range(seeds):
            rng = np.random.default_rng(seed)
            truth = world(rng, 2500)
            seen = looked(rng, truth, 2500, overlap, 1.5)
            seen = seen.take(rng.random(len(seen.boxes)) > 0.05)
            scores = rng.uniform(0.3, 1, len(seen.boxes))
            ours, _ = merged_boxes(seen, scores, view_groups(seen))
            cut = across(truth, seen.windows, 2500)
            for row, found in enumerate((ours, sahi_merged(seen.boxes, scores))):
                hit = hits(found, truth)
                tally[row] += hit[cut].sum(), hit.sum() / len(found)
            crossing, truths = crossing + int(cut.sum()), truths + len(truth)
        recall, precision = tally[:, 0] / crossing, tally[:, 1] / seeds
        at = f"{crossing} of {truths} objects cross a seam, overlap {overlap}"
        not_less, peer = Goal("ratio", ">", 0.9999), "sahi GreedyNMM"
        yield Result(f"recall where {at}", float(recall[0]), "share", not_less, seeds, float(recall[1]), peer)
        yield Result(f"precision where {at}", float(precision[0]), "share", not_less, seeds, float(precision[1]), peer)


# sliced inference


def random_weights(path: Path) -> Path:
    """A checkpoint as ultralytics writes it, which both can read."""
    from groundlook.models.yolo import offline

    offline.ultralytics()
    import torch
    from ultralytics import YOLO

    torch.manual_seed(0)
    YOLO(ARCH).save(str(path))
    return path


def loaded(weights: Path, folder: Path) -> YoloModel:
    """In the fastest runtime."""
    card = ModelCard(version_of("yolo", ["", ARCH, weights.name]), "yolo", ARCH, (), "")
    return YoloModel.load(card, weights, runtime="fast", folder=folder / "models", tolerance=RANDOM_ERROR)


def _predict(folder: Path, scene: Path, model: Any) -> int:
    """As `groundlook predict` does, from the file to the file. How many windows it took."""
    settings = Settings(home=folder / "home", roots=(folder,))
    options = Options("gpkg", datetime.now(UTC), TILE, OVERLAP, overwrite=True)
    return predict_scenes(settings, model, [str(scene)], folder / "found.gpkg", options, lambda *_: None).windows


def _sliced(folder: Path, scene: Path, weights: Path, model: YoloModel, repeats: int) -> Iterator[Result]:
    """Ours from the file to the file, 15 things a tile; sahi from a picture in memory, and random weights find nothing.
    Overhead is everything that is not the model: waiting for pixels, merging, writing."""
    from sahi import AutoDetectionModel
    from sahi.predict import get_sliced_prediction

    peer = AutoDetectionModel.from_pretrained(
        "ultralytics", model_path=str(weights), confidence_threshold=0.25, device="cpu", image_size=TILE
    )
    with rasterio.open(scene) as dataset:
        pixels = np.ascontiguousarray(dataset.read().transpose(1, 2, 0))

    def sahi(picture: NDArray[np.uint8]) -> None:
        share = OVERLAP / TILE
        get_sliced_prediction(picture, peer, TILE, TILE, share, share, perform_standard_pred=False, verbose=0)

    _predict(folder, big_scene(folder / "small.tif", 1024), Timed(model, 15))
    sahi(pixels[:1024, :1024])
    timed = [Timed(model, 15) for _ in range(repeats)]
    windows = [0] * repeats

    def ours(i: int) -> None:
        windows[i] = _predict(folder, scene, timed[i])

    turns = in_turns(ours, lambda _: sahi(pixels), repeats, warm=0)
    name = f"sliced YOLO11n-{TILE}, {pixels.shape[0]}² scene, {model.runtime}"
    speeds, theirs = [windows[0] / s for s in turns.ours], [windows[0] / s for s in turns.peer]
    goal, peer_name = Goal("ratio", ">", 5), "sahi + ultralytics"
    yield Result(name, median(speeds), "tiles/s", goal, repeats, median(theirs), peer_name, max(speeds))
    shares = [100 * (s / t.seconds - 1) for s, t in zip(turns.ours, timed, strict=True)]
    name = f"overhead of sliced inference, {windows[0]} tiles, {15 * windows[0]:,} boxes"
    yield Result(name, median(shares), "% of model", Goal("ours", "<", 5), repeats, best=min(shares))


class Timed:
    """A model, with the seconds spent in it. Finds `count` boxes a tile, as random weights find none."""

    def __init__(self, model: YoloModel, count: int) -> None:
        self._model, self._rng, self._count = model, np.random.default_rng(0), count
        self.version: ModelVersion = model.version
        self.labels = model.labels
        self.seconds = 0.0

    def predict(self, tiles: Sequence[Tile]) -> list[Prediction]:
        started = time.perf_counter()
        said = self._model.predict(tiles)
        made = [Prediction(p.version, self._boxes(t.size)) for p, t in zip(said, tiles, strict=True)]
        self.seconds += time.perf_counter() - started
        return made

    def _boxes(self, size: tuple[int, int]) -> tuple[Region, ...]:
        places = self._rng.uniform(0, np.array(size) - 40, (self._count, 2)).tolist()
        return tuple(Region(Box(x, y, 40, 30), self.labels[0], 0.6, origin="prediction") for x, y in places)


def _memory(folder: Path, scene: Path, weights: Path) -> Result:
    """In a process of its own, which is the first to load the model: its children export it, with PyTorch."""
    command = [sys.executable, str(Path(__file__)), str(folder), str(scene), str(weights)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=dict(os.environ))
    with rasterio.open(scene) as dataset:
        side = dataset.width
    name = f"most memory, sliced YOLO11n over {side}², network exported first"
    return Result(name, float(done.stdout.splitlines()[-1]), "MB", Goal("ours", "<", 1500), 1)


def _accuracy(folder: Path, count: int) -> Result:
    """Towns that the small YOLO never saw; how much mAP50 the fastest runtime loses."""
    from tests.weights.make_yolo import LABELS, town

    card = ModelCard(version_of("yolo", ["small"]), "yolo", "", (), "")
    examples = [town(5000 + i, 320) for i in range(count)]
    load: Callable[..., YoloModel] = YoloModel.load
    eager = load(card, TRAINED, confidence=0.05)
    fast = load(card, TRAINED, confidence=0.05, runtime="fast", folder=folder / "models")
    exact, found = (evaluate(m, examples, LABELS)["map50"] for m in (eager, fast))
    case = f"mAP50 lost by {fast.runtime} of {exact:.4f}, {count} pictures"
    return Result(case, exact - found, "mAP50", Goal("ours", "<", 0.005), 1, None, None)


def _child(folder: Path, scene: Path, weights: Path) -> float:
    _predict(folder, scene, Timed(loaded(weights, folder / "first"), 15))
    # ru_maxrss is no use: a child begins with its parent's.
    (line,) = [row for row in Path("/proc/self/status").read_text().splitlines() if row.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    print(_child(*map(Path, sys.argv[1:4])))
