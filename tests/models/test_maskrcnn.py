"""Mask R-CNN through the same ports as YOLO."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

if importlib.util.find_spec("torchvision") is None:
    pytest.skip("torchvision is not installed", allow_module_level=True)

from groundlook.core.errors import InvalidInput, InvalidWeights, TrainingFailed
from groundlook.core.geo import Tile
from groundlook.core.geometry import Box, WholeTile, envelope
from groundlook.core.mask import Mask
from groundlook.core.raster import crop
from groundlook.core.types import ModelCard, ModelVersion, Region
from groundlook.evaluation.evaluate import evaluate
from groundlook.models.maskrcnn.network import build
from groundlook.models.maskrcnn.predict import MaskRCNNModel, paste
from groundlook.models.maskrcnn.train import MaskRCNNTrainer, cut_instances, pixels_of
from groundlook.models.training.parent import Recipe
from groundlook.models.weights.file import Weights, digest, read, save

ARCH = "maskrcnn-resnet18-fpn"


def roofs(seed: int, side: int = 96) -> tuple[Tile, list[Region]]:
    """Grass with up to three bright roofs; every fifth tile is empty."""
    rng = np.random.default_rng(seed)
    picture = rng.normal((70, 110, 60), 12, (side, side, 3))
    regions = []
    for i in range(0 if seed % 5 == 4 else rng.integers(1, 4)):
        w, h = (int(v) for v in rng.integers(18, 32, 2))
        x, y = (i % 2) * 48 + int(rng.integers(0, 12)), (i // 2) * 48 + int(rng.integers(0, 12))
        picture[y : y + h, x : x + w] = rng.normal((190, 90, 70), 8, (h, w, 3))
        regions.append(Region(Box(float(x), float(y), float(w), float(h)), "roof"))
    return Tile(np.clip(picture, 0, 255).astype(np.uint8)), regions


def load(weights: Path, classes: tuple[str, ...] = ("roof",), **more: object) -> MaskRCNNModel:
    card = ModelCard(ModelVersion("maskrcnn", "0"), "maskrcnn", ARCH, classes, digest(weights))
    return MaskRCNNModel.load(card, weights, **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights for two classes."""
    import torch

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    return save(path, Weights(build(ARCH, 2).state_dict(), ("roof", "car"), ARCH))


@pytest.mark.slow
def test_learns_instances_with_masks(tmp_path: Path) -> None:
    trainer = MaskRCNNTrainer(recipe=Recipe(epochs=14, batch=2, rate=5e-4))
    path = trainer.train((roofs(i) for i in range(20)), ("roof",), None, tmp_path, lambda f, m: None)
    assert (read(path).names, read(path).arch) == (("roof",), ARCH)
    result = evaluate(load(path, confidence=0.05), (roofs(i) for i in range(100, 110)), ("roof",))
    assert result["quality"] == result["map50"] > 0.6
    tile, regions = roofs(101)
    found = load(path, confidence=0.5).predict([tile])[0].regions
    covered = sum(r.shape.area for r in found if isinstance(r.shape, Mask))
    wanted = sum((b[2] - b[0]) * (b[3] - b[1]) for b in (envelope(r.shape) for r in regions))
    assert covered == pytest.approx(wanted, rel=0.4)


def test_trains_reports_and_loads(tmp_path: Path) -> None:
    seen: list[str] = []
    trainer = MaskRCNNTrainer(epochs=1, recipe=Recipe(batch=2, rate=5e-4))
    examples = [roofs(4, 64), (roofs(0, 64)[0], [Region(Box(5, 5, 20, 20), "roof")])]
    path = trainer.train(iter(examples), ("roof",), None, tmp_path, lambda f, m: seen.append(m))
    assert [p.name for p in tmp_path.iterdir()] == ["weights.safetensors"]
    assert seen[0] == "2 pictures, 1 objects, 1 epochs"
    assert seen[-1] == "trained"
    assert load(path).predict([examples[0][0]])[0].knows


def test_failures_say_why(tmp_path: Path) -> None:
    trainer, quiet = MaskRCNNTrainer(), (lambda f, m: None)
    with pytest.raises(TrainingFailed, match="label some"):
        trainer.train([roofs(4)], ("roof",), None, tmp_path, quiet)
    with pytest.raises(TrainingFailed, match="label some"):
        trainer.train([(roofs(0)[0], [Region(WholeTile(), "roof")])], ("roof",), None, tmp_path, quiet)
    with pytest.raises(InvalidWeights, match="don't exist"):
        trainer.train([roofs(0)], ("roof",), tmp_path / "missing.pt", tmp_path, quiet)
    with pytest.raises(InvalidInput, match="no Mask R-CNN"):
        build("maskrcnn-vgg16-fpn", 1)


def test_any_size_of_tile_is_answered_and_classes_map(untrained: Path) -> None:
    rng = np.random.default_rng(0)
    model = load(untrained, ("roof", "car"), labels=("Car", "Roof", "Tree"), confidence=0.05)
    for height, width in ((1, 1), (40, 33), (1100, 50)):
        prediction = model.predict([Tile(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))])[0]
        assert prediction.kind == "detection"
        assert prediction.proba.dtype == np.float32
        assert prediction.proba.shape[1:] == (3,)
        assert len(prediction.regions) <= len(prediction.proba) <= 300 * (1 if height <= 1024 else 2)
        assert (prediction.proba[:, 2] == 0).all()
        assert 0 <= prediction.peak <= 1
        for region in prediction.regions:
            x0, y0, x1, y1 = envelope(region.shape)
            assert 0 <= x0 < x1 <= width
            assert 0 <= y0 < y1 <= height


def test_wrong_weights_are_refused(untrained: Path) -> None:
    with pytest.raises(InvalidWeights, match="with 1 classes"):
        load(untrained)
    with pytest.raises(InvalidInput, match=r"confidence 0\.01"):
        load(untrained, ("roof", "car"), confidence=0.01)
    with pytest.raises(InvalidInput, match="uint16"):
        load(untrained, ("roof", "car")).predict([Tile(np.zeros((8, 8, 3), np.uint16))])


@given(st.floats(-5, 25), st.floats(-5, 25), st.floats(1, 20), st.floats(1, 20))
@settings(max_examples=50)
def test_a_full_mask_fills_its_box(x: float, y: float, w: float, h: float) -> None:
    mask = paste(np.ones((28, 28), np.float32), (x, y, x + w, y + h), 24, 20)
    if not len(mask.runs):
        return
    found, wanted = envelope(mask), (max(x, 0), max(y, 0), min(x + w, 24), min(y + h, 20))
    assert np.abs(np.subtract(found, wanted)).max() <= 1


def test_slivers_of_instances_are_cut_away() -> None:
    masks = np.zeros((3, 20, 20), dtype=bool)
    masks[0, 2:8, 2:8] = masks[1, 2:8, 9:19] = masks[2, 15:19, 15:19] = True
    crops = [crop(Mask.of(mask), 20, 20) for mask in masks]
    assert [inside.shape for _, _, inside in crops] == [(6, 6), (6, 10), (4, 4)]  # not the whole tile, each
    part = cut_instances(pixels_of(crops, [1, 2, 1]), (0, 0, 10, 10))
    assert part["labels"].tolist() == [1]
    assert part["shape"].tolist() == [1, 10, 10]
    assert np.unpackbits(part["masks"])[:100].sum() == 36
