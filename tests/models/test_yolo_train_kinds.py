"""What segmenting, oriented and classifying networks learn from, and that they learn."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest
import shapely

if importlib.util.find_spec("ultralytics") is None:
    pytest.skip("the yolo extra is not installed", allow_module_level=True)

from groundlook.core.errors import InvalidInput, TrainingFailed
from groundlook.core.geo import Tile
from groundlook.core.geometry import Box, Mask, Point, Polygon, WholeTile
from groundlook.core.types import ModelCard, ModelVersion, Region
from groundlook.models.weights.file import read
from groundlook.models.yolo import dataset
from groundlook.models.yolo.network import Kind
from groundlook.models.yolo.outlines import clipped, outline
from groundlook.models.yolo.predict import YoloModel
from groundlook.models.yolo.train import YoloTrainer
from tests.weights.make_yolo import town, whole

CARD = ModelCard(ModelVersion("t", "0"), "yolo", "", (), "")


def _lines(regions: list[Region], kind: Kind, folder: Path, side: int = 64) -> list[tuple[int, np.ndarray]]:
    """(class, points in px) of each line of the label file of one grey tile."""
    tile = Tile(np.full((side, side, 3), 99, np.uint8))
    written = dataset.write([(tile, regions)], ["a", "b"], folder, kind=kind)
    (text,) = (written.yaml.parent / "labels" / "train").iterdir()
    rows = [[float(v) for v in line.split()] for line in text.read_text().splitlines()]
    assert all(0 <= v <= 1 for row in rows for v in row[1:])
    return [(int(row[0]), np.array(row[1:]).reshape(-1, 2) * side) for row in rows]


def test_turned_boxes_keep_their_corners(tmp_path: Path) -> None:
    box = Box(32, 4, 30, 12, rotation=30)
    ((label, points),) = _lines([Region(box, "b")], "obb", tmp_path / "a")
    assert label == 1
    for corner in box.corners():
        assert np.abs(points - corner).sum(axis=1).min() < 1e-3
    _, size, _ = cv2.minAreaRect(points.astype(np.float32))  # what ultralytics makes of it
    assert sorted(size) == pytest.approx([12, 30], abs=1e-2)
    (_, cut), *none = _lines([Region(Box(50, 20, 20, 10), "a"), Region(Point(3, 3), "a")], "obb", tmp_path / "b")
    assert not none
    assert (cut.min(axis=0).tolist(), cut.max(axis=0).tolist()) == ([50, 20], [64, 30])


def test_masks_and_polygons_become_outlines(tmp_path: Path) -> None:
    pixels = np.zeros((64, 64), bool)
    pixels[10:30, 5:45] = True
    pixels[10:20, 25:45] = False  # an L
    pixels[60, 60] = True  # a crumb of the same mask
    ring = ((5.0, 40.0), (40.0, 40.0), (80.0, 60.0), (5.0, 60.0))
    ((_, el), (_, cut)) = _lines([Region(Mask.of(pixels), "a"), Region(Polygon(ring), "b")], "segment", tmp_path)
    wanted = pixels.copy()
    wanted[60, 60] = False
    y, x = np.mgrid[:64, :64] + 0.5
    np.testing.assert_array_equal(shapely.contains_xy(shapely.Polygon(el), x, y), wanted)
    assert shapely.Polygon(el).area == pytest.approx(wanted.sum(), abs=8)
    assert cut.max() <= 64
    assert len(cut) >= 4


@pytest.mark.parametrize(
    "pixels", [np.eye(9, dtype=bool), np.ones((1, 9), bool), np.ones((1, 1), bool), np.zeros((4, 4))]
)
def test_odd_masks_have_an_outline_or_none(pixels: np.ndarray) -> None:
    found = outline(Mask.of(pixels), False)
    if not pixels.any():
        assert found is None
        return
    assert found is not None
    assert len(found) >= 3
    assert clipped(found, (100, 100, 5, 5)) is None
    assert outline(WholeTile(), False) is None


def test_polygons_that_cross_themselves_do_no_harm(tmp_path: Path) -> None:
    bow = Polygon(((5.0, 5.0), (50.0, 50.0), (50.0, 5.0), (5.0, 50.0)))
    ((_, points),) = _lines([Region(bow, "a")], "segment", tmp_path)
    assert len(points) >= 3


def test_keypoints_and_tiles_without_a_class_are_refused(tmp_path: Path) -> None:
    tile, regions = town(0, 64)
    with pytest.raises(InvalidInput, match="can't be trained here"):
        YoloTrainer("yolo11n-pose.yaml").train([(tile, regions)], ("building",), None, tmp_path, lambda f, m: None)
    with pytest.raises(TrainingFailed, match="has one class of"):
        YoloTrainer("yolo11p-cls.yaml").train([(tile, regions)], ("building",), None, tmp_path, lambda f, m: None)
    with pytest.raises(InvalidInput, match="not one that ultralytics ships"):
        YoloTrainer("yolo11n-depth.yaml").train([(tile, regions)], ("building",), None, tmp_path, lambda f, m: None)


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["yolo11p-seg.yaml", "yolo11p-obb.yaml", "yolo26p-obb.yaml", "yolo11p-cls.yaml"])
def test_a_network_of_every_kind_trains_and_loads(arch: str, tmp_path: Path) -> None:
    kinds = arch.endswith("-cls.yaml")
    labels = ("built", "empty") if kinds else ("building", "car")
    examples = [whole(i) if kinds else town(i, 96, masks="seg" in arch) for i in range(8)]
    trainer = YoloTrainer(arch, epochs=2, device="cpu", threads=1)
    seen: list[str] = []
    path = trainer.train(examples, labels, None, tmp_path, lambda f, m: seen.append(m))
    assert (read(path).arch, read(path).names) == (arch, labels)
    assert sum("epoch" in m and "loss" in m for m in seen) == 2
    model = YoloModel.load(CARD, path, device="cpu", confidence=0.05)
    answer = model.predict([examples[0][0]])[0]
    assert answer.knows
    assert model.labels == labels
    again = trainer.train(examples, labels, path, tmp_path / "more", lambda f, m: seen.append(m))
    assert any("tensors start from weights.safetensors" in m for m in seen)
    assert YoloModel.load(CARD, again, device="cpu").labels == labels
