"""A head on an embedder: classes of whole tiles, one of them or several."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

if importlib.util.find_spec("torch") is None:
    pytest.skip("torch is not installed", allow_module_level=True)

from groundlook.core.errors import InvalidInput, InvalidWeights, TrainingFailed
from groundlook.core.geo import Tile
from groundlook.core.geometry import Box, WholeTile
from groundlook.core.types import ModelCard, ModelVersion, Region
from groundlook.evaluation.evaluate import evaluate
from groundlook.models.classifier.predict import ClassifierModel
from groundlook.models.classifier.train import ClassifierTrainer
from groundlook.models.training import balance
from groundlook.models.weights.file import Weights, digest, read, save

LABELS = ("grass", "sand", "water")
COLOURS = {"grass": (60, 120, 50), "sand": (200, 180, 120), "water": (30, 60, 150)}


def quiet(fraction: float, message: str) -> None:
    """No progress."""


def chosen(*labels: str) -> list[Region]:
    return [Region(WholeTile(), label) for label in labels]


def ground(seed: int, *labels: str) -> tuple[Tile, list[Region]]:
    """Stripes of the grounds named, or of gravel where none is."""
    rng = np.random.default_rng(seed)
    picture = rng.normal(110, 15, (48, 48, 3))
    for i, label in enumerate(labels):
        width = 48 // len(labels)
        picture[:, i * width : (i + 1) * width] = rng.normal(COLOURS[label], 15, (48, width, 3))
    return Tile(np.clip(picture, 0, 255).astype(np.uint8)), chosen(*labels)


def load(weights: Path, arch: str, **more: object) -> ClassifierModel:
    card = ModelCard(ModelVersion("classifier", "0"), "classifier", arch, LABELS, digest(weights))
    return ClassifierModel.load(card, weights, **more)  # type: ignore[arg-type]


def test_one_class_of_a_tile(tmp_path: Path) -> None:
    trainer = ClassifierTrainer()
    examples = [ground(i, LABELS[i % 3]) for i in range(24)]
    path = trainer.train(iter(examples), LABELS, None, tmp_path, quiet)
    assert digest(path) == digest(trainer.train(examples, LABELS, path, tmp_path / "again", quiet))
    assert (read(path).names, read(path).arch) == (LABELS, "classifier-thumbnail-1")
    model = load(path, trainer.arch)
    result = evaluate(model, [ground(i, LABELS[i % 3]) for i in range(100, 118)], LABELS)
    assert result["accuracy"] == result["macro_f1"] == result["quality"] == 1.0
    prediction = model.predict([ground(200, "sand")[0]])[0]
    assert prediction.kind == "classification"
    assert [(r.shape, r.label) for r in prediction.regions] == [(WholeTile(), "sand")]
    assert prediction.proba.shape == (1, 3)
    assert prediction.proba.sum() == pytest.approx(1, abs=1e-5)
    assert prediction.regions[0].score == pytest.approx(prediction.proba.max(), abs=1e-6)
    mixed = ground(5, "sand", "water")[0]
    assert model.predict([mixed])[0].proba.max() < 0.99
    assert not load(path, trainer.arch, confidence=0.99).predict([mixed])[0].regions


def test_several_classes_of_a_tile(tmp_path: Path) -> None:
    trainer = ClassifierTrainer("classifier-multiple-thumbnail-1", strength=0.1)
    sets = [(), ("grass",), ("sand",), ("water",), ("grass", "sand"), ("grass", "water"), ("sand", "water"), LABELS]
    examples = [ground(i, *sets[i % 8]) for i in range(64)]
    model = load(trainer.train(examples, LABELS, None, tmp_path, quiet), trainer.arch, confidence=0.05)
    result = evaluate(model, [ground(i, *sets[i % 8]) for i in range(100, 132)], LABELS)
    assert result["macro_f1"] > 0.9
    prediction = model.predict([ground(300)[0]])[0]
    assert prediction.kind == "classification-multiple"
    assert prediction.regions == ()


def test_a_class_that_nobody_chose_and_tiles_without_any(tmp_path: Path) -> None:
    examples = [ground(i, LABELS[i % 2]) for i in range(12)] + [(ground(50)[0], [Region(Box(0, 0, 9, 9), "water")])]
    trainer = ClassifierTrainer()
    model = load(trainer.train(examples, LABELS, None, tmp_path, quiet), trainer.arch)
    proba = model.predict([ground(70, "grass")[0]])[0].proba[0]
    assert proba.argmax() == 0
    assert proba[2] < 0.1


class Mean:
    """An embedder of a user's own."""

    name = "mean"

    def embed(self, tiles: Sequence[Tile]) -> NDArray[np.float32]:
        return np.stack([cv2.mean(t.pixels)[:3] for t in tiles]).astype(np.float32)


@pytest.mark.parametrize("arch", ["classifier-mean", "classifier-multiple-mean"])
def test_a_rare_class_is_found_more_often_for_being_balanced(
    arch: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twelve of 600 tiles are sand, in colours that overlap those of grass."""

    def tile(rng: np.random.Generator, label: str) -> tuple[Tile, list[Region]]:
        colour = rng.normal(np.mean([COLOURS["grass"], COLOURS[label]], axis=0), 35)
        return Tile(np.full((4, 4, 3), np.clip(colour, 0, 255).astype(np.uint8))), chosen(label)

    rng = np.random.default_rng(0)
    examples = [tile(rng, "sand" if i % 50 == 0 else "grass") for i in range(600)]
    held_out = {label: [tile(rng, label)[0] for _ in range(300)] for label in ("sand", "grass")}

    def recall(name: str) -> dict[str, float]:
        trainer = ClassifierTrainer(arch, embedder=Mean())
        model = load(trainer.train(examples, LABELS, None, tmp_path / name, quiet), arch, embedder=Mean())
        return {
            label: float(np.mean([label in {r.label for r in p.regions} for p in model.predict(tiles)]))
            for label, tiles in held_out.items()
        }

    balanced = recall("balanced")
    monkeypatch.setattr(balance, "factors", lambda classes: np.ones(len(classes)))
    plain = recall("plain")
    assert balanced["sand"] > plain["sand"] + 0.05, (balanced, plain)
    assert balanced["grass"] > plain["grass"] - 0.03, (balanced, plain)


def test_any_embedder_will_do(tmp_path: Path) -> None:
    trainer = ClassifierTrainer("classifier-mean", embedder=Mean())
    path = trainer.train([ground(i, LABELS[i % 3]) for i in range(12)], LABELS, None, tmp_path, quiet)
    assert read(path).state["weight"].shape == (3, 3)
    model = load(path, "classifier-mean", embedder=Mean(), labels=("Water", "Land"), mapping={"water": "Water"})
    water, grass = model.predict([ground(40, "water")[0], ground(41, "grass")[0]])
    assert [r.label for r in water.regions] == ["Water"]
    assert grass.regions == ()  # which is no label of the project
    assert grass.proba.tolist() == [[1.0, 0.0]]
    assert grass.peak < 0.25
    with pytest.raises(InvalidInput, match="no classifier"):
        load(path, "classifier-mean")
    with pytest.raises(InvalidWeights, match="gives 95 numbers"):
        load(path, "classifier-thumbnail-1").predict([ground(0)[0]])


def test_failures_say_why(tmp_path: Path) -> None:
    import torch

    trainer = ClassifierTrainer()
    with pytest.raises(TrainingFailed, match="choose it for some"):
        trainer.train([(ground(0)[0], chosen("lava"))], LABELS, None, tmp_path, quiet)
    with pytest.raises(InvalidWeights, match="don't exist"):
        trainer.train([], LABELS, tmp_path / "no.safetensors", tmp_path, quiet)
    with pytest.raises(InvalidInput, match="no classifier"):
        ClassifierTrainer("classifier-clip")
    state = {"weight": torch.zeros(2, 95), "bias": torch.zeros(2), "mean": torch.zeros(95), "scale": torch.ones(95)}
    path = save(tmp_path / "w.safetensors", Weights(state, LABELS, trainer.arch))
    with pytest.raises(InvalidWeights, match="with 3 classes"):
        load(path, trainer.arch)
    state |= {"weight": torch.full((3, 95), float("nan")), "bias": torch.zeros(3)}
    with pytest.raises(InvalidWeights, match="not finite"):
        load(save(tmp_path / "n.safetensors", Weights(state, LABELS, trainer.arch)), trainer.arch)
