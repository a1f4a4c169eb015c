"""U-Net and DeepLabV3+ through the same ports as YOLO."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

if importlib.util.find_spec("segmentation_models_pytorch") is None:
    pytest.skip("the segmentation extra is not installed", allow_module_level=True)

from groundlook.core.errors import Cancelled, InvalidConfig, InvalidInput, InvalidWeights, TrainingFailed
from groundlook.core.geo import Tile
from groundlook.core.geometry import Box, Ellipse, Point
from groundlook.core.mask import Mask
from groundlook.core.raster import class_map
from groundlook.core.types import ModelCard, ModelVersion, Region
from groundlook.evaluation.evaluate import evaluate
from groundlook.models.segmentation.network import build
from groundlook.models.segmentation.predict import SegmentationModel
from groundlook.models.segmentation.regions import cells, regions_of
from groundlook.models.segmentation.train import SegmentationTrainer, class_weights
from groundlook.models.training.parent import Recipe, epochs
from groundlook.models.weights.file import Weights, digest, read, save

SMALL = "deeplabv3plus-tu-test_resnet"
"""The smallest encoder of timm: 1 M parameters."""
LABELS = ("roof", "water")


def scene(seed: int, side: int = 64) -> tuple[Tile, list[Region]]:
    """Grass, a red roof, a blue round pond; every fifth tile is empty."""
    rng = np.random.default_rng(seed)
    picture = rng.normal((70, 110, 60), 12, (side, side, 3))
    regions: list[Region] = []
    if seed % 5 != 4:
        x, y, w, h = (int(v) for v in (*rng.integers(2, 10, 2), *rng.integers(16, 26, 2)))
        pond = Ellipse(float(rng.integers(42, 50)), float(rng.integers(42, 50)), 11.0, 9.0)
        regions = [Region(Box(float(x), float(y), float(w), float(h)), "roof"), Region(pond, "water")]
        picture[y : y + h, x : x + w] = rng.normal((190, 90, 70), 8, (h, w, 3))
        inside = class_map([Region(pond, "water")], LABELS, side, side) > 0
        picture[inside] = rng.normal((30, 60, 170), 8, (int(inside.sum()), 3))
    return Tile(np.clip(picture, 0, 255).astype(np.uint8)), regions


def load(weights: Path, arch: str, classes: Sequence[str] = LABELS, **more: object) -> SegmentationModel:
    card = ModelCard(ModelVersion("unet", "0"), "unet", arch, tuple(classes), digest(weights))
    return SegmentationModel.load(card, weights, **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of the small network."""
    import torch

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    return save(path, Weights(build(SMALL, 2).state_dict(), LABELS, SMALL))


# learning


def test_numbers_that_are_none_are_no_empty_tile(tmp_path: Path, untrained: Path) -> None:
    import torch

    state = read(untrained).state
    name = next(name for name in state if name.endswith("running_var"))
    broken = save(tmp_path / "nan.safetensors", Weights({**state, name: state[name] * float("nan")}, LABELS, SMALL))
    with pytest.raises(InvalidWeights, match=f"not finite, in {name}"):
        load(broken, SMALL)
    negative = {**state, name: torch.full_like(state[name], -1.0)}
    model = load(save(tmp_path / "negative.safetensors", Weights(negative, LABELS, SMALL)), SMALL)
    with pytest.raises(InvalidWeights, match="answers with NaN"):
        model.predict([scene(0)[0]])


def test_learns_two_classes_and_finds_them_elsewhere(tmp_path: Path) -> None:
    seen: list[tuple[float, str]] = []
    trainer = SegmentationTrainer(SMALL, recipe=Recipe(epochs=12, batch=4, rate=3e-3))
    path = trainer.train((scene(i) for i in range(16)), LABELS, None, tmp_path, lambda f, m: seen.append((f, m)))
    assert [p.name for p in tmp_path.iterdir()] == ["weights.safetensors"]
    assert (read(path).names, read(path).arch) == (LABELS, SMALL)
    fractions = [f for f, _ in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert sum("epoch" in m and "loss" in m for _, m in seen) == 12
    model = load(path, SMALL)
    result = evaluate(model, (scene(i) for i in range(100, 110)), LABELS)
    assert result["quality"] == result["mean_iou"] > 0.6
    assert min(result["iou/roof"], result["iou/water"]) > 0.4
    assert (result["images"], result["objects"]) == (10.0, 16.0)
    prediction = model.predict([scene(100)[0]])[0]
    assert prediction.kind == "segmentation"
    assert prediction.peak > 0.8


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights_and_a_start_is_taken(tmp_path: Path, untrained: Path) -> None:
    examples, seen = [scene(i) for i in range(4)], []
    trainer = SegmentationTrainer(SMALL, recipe=Recipe(epochs=1, threads=1, seed=3))
    one, two = (trainer.train(examples, LABELS, None, tmp_path / n, lambda f, m: None) for n in "ab")
    assert digest(one) == digest(two)
    trainer.train(examples, ("roof",), untrained, tmp_path / "c", lambda f, m: seen.append(m))
    assert any("tensors start from w.safetensors" in m for m in seen)


@pytest.mark.slow
def test_a_cancel_ends_the_training(tmp_path: Path) -> None:
    def progress(fraction: float, message: str) -> None:
        if "epoch 1" in message:
            raise Cancelled("cancelled")

    with pytest.raises(Cancelled, match="cancelled"):
        SegmentationTrainer(SMALL, epochs=50).train([scene(0)], LABELS, None, tmp_path, progress)
    assert not list(tmp_path.iterdir())


def test_failures_say_why(tmp_path: Path) -> None:
    trainer, quiet = SegmentationTrainer(SMALL), (lambda f, m: None)
    with pytest.raises(TrainingFailed, match="label some"):
        trainer.train([scene(4)], LABELS, None, tmp_path, quiet)
    with pytest.raises(TrainingFailed, match="label some"):
        trainer.train([(scene(0)[0], [Region(Point(3, 3), "roof")])], LABELS, None, tmp_path, quiet)
    with pytest.raises(InvalidWeights, match="don't exist"):
        trainer.train([scene(0)], LABELS, tmp_path / "missing.pt", tmp_path, quiet)
    with pytest.raises(InvalidInput, match="uint16"):
        trainer.train([(Tile(np.zeros((8, 8, 3), np.uint16)), [])], LABELS, None, tmp_path, quiet)
    assert not list(tmp_path.iterdir())


def test_rare_classes_count_more_within_bounds() -> None:
    weights = class_weights(np.array([9000, 900, 1, 0]))
    assert weights[0] < weights[1] < weights[2] <= 5
    assert weights[3] == 1
    assert epochs(10, 256, 1200) > epochs(100, 256, 1200) > epochs(100, 512, 1200) >= 8


# predicting


def test_any_size_of_tile_is_answered(untrained: Path) -> None:
    model = load(untrained, SMALL, confidence=0.0, smallest=1)
    rng = np.random.default_rng(1)
    for height, width in ((1, 1), (3, 70), (100, 33), (1030, 40)):
        tile = Tile(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        prediction = model.predict([tile])[0]
        proba = model.probabilities(tile)
        assert proba.shape == (3, height, width)
        np.testing.assert_allclose(proba.sum(axis=0), 1, atol=1e-4)
        assert prediction.proba.shape == (min(32, height) * min(32, width), 3)
        area = sum(r.shape.area for r in prediction.regions if isinstance(r.shape, Mask))
        assert area == (proba.argmax(axis=0) > 0).sum()
        assert 0 <= prediction.peak <= 1
    assert model.predict([]) == []


def test_labels_map_and_unknown_classes_are_background(untrained: Path) -> None:
    tile = scene(1)[0]
    plain = load(untrained, SMALL).probabilities(tile)
    swapped = load(untrained, SMALL, mapping={"roof": "House"}, labels=("Pond", "House"))
    mapped = swapped.probabilities(tile)
    np.testing.assert_allclose(mapped[0], plain[0] + plain[2], atol=1e-6)
    np.testing.assert_allclose(mapped[2], plain[1], atol=1e-6)
    assert (mapped[1] == 0).all()
    with pytest.raises(InvalidConfig, match="no class"):
        load(untrained, SMALL, labels=("Tree",))


def test_wrong_weights_names_and_pixels_are_refused(untrained: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidWeights, match="don't fit unet-resnet18"):
        load(untrained, "unet-resnet18")
    with pytest.raises(InvalidWeights, match="with 1 classes"):
        load(untrained, SMALL, ("roof",))
    with pytest.raises(InvalidInput, match="begins with none of"):
        load(untrained, "segnet-resnet18")
    with pytest.raises(InvalidInput, match="encoder 'resnet19'"):
        load(untrained, "unet-resnet19")
    with pytest.raises(InvalidInput, match="can't be built"):
        load(untrained, "unet-tu-nothing")
    with pytest.raises(InvalidInput, match="confidence 2"):
        load(untrained, SMALL, confidence=2)
    model = load(untrained, SMALL)
    with pytest.raises(InvalidInput, match="float32"):
        model.predict([Tile(np.full((8, 8, 3), np.nan, np.float32))])
    torn = tmp_path / "torn.safetensors"
    torn.write_bytes(untrained.read_bytes()[:1000])
    with pytest.raises(InvalidWeights, match="whole safetensors"):
        load(torn, SMALL)
    unnamed = ModelCard(ModelVersion("unet", "0"), "unet", "", (), "")
    assert SegmentationModel.load(unnamed, untrained).labels == LABELS


def test_pieces_touch_by_their_sides_and_small_or_vague_ones_are_left_out() -> None:
    proba = np.zeros((2, 8, 8), np.float32)
    proba[1, :3, :3] = 0.9
    proba[1, 3:6, 3:6] = 0.6
    proba[1, 7, 7] = 1.0
    proba[0] = 1 - proba[1]
    found = regions_of(proba, ("roof",), 0.5, 4)
    assert [(round(r.score or 0, 2), r.shape.area) for r in found if isinstance(r.shape, Mask)] == [(0.9, 9), (0.6, 9)]
    assert len(regions_of(proba, ("roof",), 0.8, 1)) == 2
    assert regions_of(np.stack([1 - proba[1] * 0, proba[1] * 0]), ("roof",), 0.0, 1) == ()


@given(st.integers(1, 70), st.integers(1, 70), st.integers(2, 4), st.integers(0, 2**31))
@settings(max_examples=25)
def test_cells_are_distributions(height: int, width: int, classes: int, seed: int) -> None:
    raw = np.random.default_rng(seed).uniform(0.01, 1, (classes, height, width)).astype(np.float32)
    table = cells(raw / raw.sum(axis=0))
    assert table.shape == (min(32, height) * min(32, width), classes)
    assert table.dtype == np.float32
    np.testing.assert_allclose(table.sum(axis=1), 1, atol=1e-5)


def test_a_sure_edge_is_no_toss_up() -> None:
    proba = np.zeros((2, 64, 64), np.float32)
    proba[1, :, :33] = 0.99
    proba[1, :, 33:] = 0.01
    proba[0] = 1 - proba[1]
    assert cells(proba).max(axis=1).min() == pytest.approx(0.99, abs=1e-5)
