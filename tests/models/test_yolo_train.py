"""YoloTrainer: what it writes, what it learns, how it fails."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

if importlib.util.find_spec("ultralytics") is None:
    pytest.skip("the yolo extra is not installed", allow_module_level=True)

from groundlook.core.errors import Cancelled, InvalidWeights, TrainingFailed
from groundlook.core.geo import Tile
from groundlook.core.geometry import Box, Polygon, box_iou, envelope
from groundlook.core.types import ModelCard, ModelVersion, Region
from groundlook.models.weights.file import digest, read
from groundlook.models.yolo import dataset, recipe
from groundlook.models.yolo.predict import YoloModel
from groundlook.models.yolo.train import YoloTrainer

Example = tuple[Tile, list[Region]]


def _roofs(seed: int, side: int = 128) -> Example:
    """Grass with up to three bright roofs; every fifth tile is empty."""
    rng = np.random.default_rng(seed)
    picture = rng.normal((70, 110, 60), 12, (side, side, 3))
    regions = []
    for i in range(0 if seed % 5 == 4 else rng.integers(1, 4)):
        w, h = rng.integers(24, 40, 2)
        x, y = (i % 2) * 64 + rng.integers(0, 20), (i // 2) * 64 + rng.integers(0, 20)
        if max(x + w, y + h) > side:
            continue
        picture[y : y + h, x : x + w] = rng.normal((190, 90, 70), 8, (h, w, 3))
        regions.append(Region(Box(float(x), float(y), float(w), float(h)), "roof"))
    return Tile(np.clip(picture, 0, 255).astype(np.uint8)), regions


def _corners(regions: Sequence[Region]) -> np.ndarray:
    return np.array([envelope(r.shape) for r in regions]).reshape(-1, 4)


def _load(weights: Path, arch: str, labels: tuple[str, ...]) -> YoloModel:
    return YoloModel.load(ModelCard(ModelVersion("t", "0"), "detect", arch, labels, digest(weights)), weights)


def test_learns_from_the_coco_start_and_reports(data_dir: Path, tmp_path: Path) -> None:
    start = data_dir / "weights" / "yolov5n_state_dict.pt"
    seen: list[tuple[float, str]] = []
    trainer = YoloTrainer(epochs=20, device="cpu")
    examples = [_roofs(i) for i in range(16)]
    path = trainer.train(iter(examples), ("roof",), start, tmp_path, lambda f, m: seen.append((f, m)))
    assert [p.name for p in tmp_path.iterdir()] == ["weights.safetensors"]
    assert (read(path).names, read(path).arch) == (("roof",), "yolov5n.yaml")
    fractions = [f for f, _ in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert sum("epoch" in m and "loss" in m for _, m in seen) == 20
    assert any("342 of 427 tensors" in m for _, m in seen)
    model, found, total, wrong = _load(path, trainer.arch, ("roof",)), 0, 0, 0
    for tile, regions in examples:
        iou = box_iou(_corners(model.predict([tile])[0].regions), _corners(regions))
        found += int((iou.max(axis=0, initial=0) >= 0.5).sum())
        wrong += int((iou.max(axis=1, initial=0) < 0.5).sum())
        total += len(regions)
    assert found >= 0.8 * total
    assert wrong <= 0.3 * total


def test_from_scratch_the_same_seed_gives_the_same_weights_and_they_load(tmp_path: Path) -> None:
    examples = [_roofs(i, 64 if i % 2 else 96) for i in range(4)]
    trainer = YoloTrainer("yolo11t.yaml", epochs=1, device="cpu", threads=1, seed=3)
    first, second = (trainer.train(examples, ("roof",), None, tmp_path / n, lambda f, m: None) for n in "ab")
    assert digest(first) == digest(second)
    assert _load(first, trainer.arch, ("roof",)).predict([examples[0][0]])[0].knows


def test_a_cancel_ends_the_training(tmp_path: Path) -> None:
    def progress(fraction: float, message: str) -> None:
        if "epoch 1" in message:
            raise Cancelled("cancelled")

    with pytest.raises(Cancelled, match="cancelled"):
        YoloTrainer("yolo11t.yaml", epochs=50, device="cpu").train([_roofs(0, 64)], ("roof",), None, tmp_path, progress)
    assert not list(tmp_path.iterdir())


def test_failures_say_why(tmp_path: Path) -> None:
    trainer, example = YoloTrainer("yolo11t.yaml", epochs=1, device="cpu"), _roofs(0, 64)
    with pytest.raises(TrainingFailed, match="label some"):
        trainer.train([_roofs(4, 64)], ("roof",), None, tmp_path, lambda f, m: None)
    with pytest.raises(TrainingFailed, match="label some"):
        trainer.train([example], ("tree",), None, tmp_path, lambda f, m: None)
    (tmp_path / "broken.pt").write_bytes(b"broken")
    with pytest.raises(TrainingFailed, match=r"broken\.pt"):
        trainer.train([example], ("roof",), tmp_path / "broken.pt", tmp_path, lambda f, m: None)
    with pytest.raises(InvalidWeights, match="don't exist"):
        trainer.train([example], ("roof",), tmp_path / "missing.pt", tmp_path, lambda f, m: None)


def _read_back(written: dataset.Written) -> list[tuple[np.ndarray, np.ndarray]]:
    pairs = []
    for image in sorted((written.yaml.parent / "images" / "train").iterdir()):
        label = written.yaml.parent / "labels" / "train" / f"{image.stem}.txt"
        rows = [[float(v) for v in line.split()] for line in label.read_text().splitlines()]
        pairs.append((cv2.imread(str(image))[:, :, ::-1], np.array(rows).reshape(-1, 5)))
    return pairs


def test_shapes_become_upright_boxes_clipped_to_the_tile(tmp_path: Path) -> None:
    tile = Tile(np.full((64, 64, 3), (10, 20, 30), np.uint8))
    regions = [
        Region(Box(32, 0, 20, 20, rotation=45), "b"),  # turned about its corner: x 17.9…46.1, y 0…28.3
        Region(Polygon(((50, 50), (80, 50), (50, 90))), "a"),  # reaches out of the tile
        Region(Box(200, 200, 5, 5), "a"),
        Region(Box(1, 1, 9, 9), "unknown"),
    ]
    written = dataset.write([(tile, regions), (tile, [])], ["a", "b"], tmp_path)
    assert (written.side, written.pictures, written.boxes) == (64, 2, 1)
    (picture, rows), (_, none) = _read_back(written)
    assert picture[0, 0].tolist() == [10, 20, 30]
    assert len(none) == 0
    assert rows[0, 0] == 1
    half = np.sqrt(2) * 10
    np.testing.assert_allclose(rows[0, 1:] * 64, [32, half, 2 * half, 2 * half], atol=1e-3)


def test_large_tiles_are_cut_and_small_ones_padded_not_resized(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    large = Tile(rng.integers(0, 256, (100, 150, 3), dtype=np.uint8))
    small = Tile(rng.integers(0, 256, (40, 30, 3), dtype=np.uint8))
    written = dataset.write([(large, [Region(Box(120, 70, 20, 20), "a")]), (small, [])], ["a"], tmp_path, largest=96)
    pairs = _read_back(written)
    assert written.side == 96
    assert {picture.shape for picture, _ in pairs} == {(96, 96, 3)}
    assert written.boxes == sum(len(rows) for _, rows in pairs)
    place = rows_at = None
    for picture, rows in pairs:
        if len(rows):
            place, rows_at = picture, rows[0, 1:] * 96
    assert place is not None
    assert rows_at is not None
    x, y = int(rows_at[0] - 10), int(rows_at[1] - 10)
    np.testing.assert_array_equal(place[y : y + 20, x : x + 20], large.pixels[70:90, 120:140])
    np.testing.assert_array_equal(pairs[-1][0][:40, :30], small.pixels)
    assert (pairs[-1][0][40:] == 114).all()


def test_odd_labels_survive_the_yaml(tmp_path: Path) -> None:
    import yaml

    names = ["a: b", 'it\'s "quoted"', "Häuser # 1", "no"]
    written = dataset.write([(_roofs(0)[0], [Region(Box(0, 0, 9, 9), "no")])], names, tmp_path)
    assert yaml.safe_load(written.yaml.read_text(encoding="utf-8"))["names"] == dict(enumerate(names))


def test_epochs_fall_with_the_size_of_the_set() -> None:
    table = [recipe.epochs(n, 256, True) for n in (1, 18, 36, 54, 500)]
    assert table == sorted(table, reverse=True)
    assert table[-1] >= 1
    assert recipe.epochs(20, 256, False) > recipe.epochs(20, 256, True)
