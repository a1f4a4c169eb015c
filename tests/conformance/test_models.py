"""What every kind of model that learns keeps to, whatever is in it: one suite, run against each."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import cv2
import numpy as np
import pytest

from groundlook.core.errors import InvalidInput, InvalidWeights
from groundlook.core.geo import Tile
from groundlook.core.geometry import Box, WholeTile, envelope
from groundlook.core.ports import Model
from groundlook.core.types import ModelCard, Prediction, Region
from groundlook.evaluation.evaluate import evaluate
from groundlook.learning.registry import file_sha256, version_of
from groundlook.scoring.score import score_prediction
from groundlook.service.kinds import KINDS, kind_of

pytest.importorskip("ultralytics", reason="the extras yolo and segmentation are not installed")

LABELS = ("Roof", "Field")
SIDE = 64
ARCHS = {"yolo": "yolo11t.yaml"}
"""Smaller than the default, to learn in seconds."""
SLOW = {"maskrcnn"}
LEARNING = [
    pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name, kind in KINDS.items() if kind.trainer
]


@dataclass(frozen=True, slots=True)
class Learned:
    """A kind that was trained for one epoch."""

    kind: str
    card: ModelCard
    weights: Path

    def load(self, **more: float) -> Model:
        model: Model = kind_of(self.kind).load().load(self.card, self.weights, LABELS, None, **more)
        return model


def example(seed: int, classes: bool) -> tuple[Tile, list[Region]]:
    """A bright roof or a green field on grey ground."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(70, 90, (SIDE, SIDE, 3), dtype=np.uint8)
    x, y, which = int(rng.integers(4, 28)), int(rng.integers(4, 28)), seed % 2
    cv2.rectangle(pixels, (x, y), (x + 27, y + 27), ((230, 230, 230), (40, 160, 40))[which], -1)
    shape = WholeTile() if classes else Box(float(x), float(y), 28.0, 28.0)
    return Tile(pixels), [Region(shape, LABELS[which])]


@pytest.fixture(scope="module", params=LEARNING)
def learned(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Learned:
    kind, name = kind_of(request.param), str(request.param)
    trainer = kind.learns()(ARCHS.get(name, kind.arch), epochs=1)
    told: list[float] = []
    out = tmp_path_factory.mktemp(name.strip("+"))
    examples = (example(i, name == "classifier") for i in range(16))
    weights = trainer.train(examples, LABELS, None, out, lambda done, text: told.append(done))
    assert weights.parent == out
    assert told
    assert all(0 <= d <= 1 for d in told)
    digest = file_sha256(weights)
    card = ModelCard(version_of(name, ["test", digest]), name, trainer.arch, LABELS, digest)
    return Learned(name, card, weights)


def test_one_prediction_per_tile_in_order_by_the_cards_version(learned: Learned) -> None:
    tiles = [example(i, False)[0] for i in range(3)] + [Tile(np.zeros((40, 90, 3), np.uint8))]
    model = learned.load(confidence=0.05)
    together = model.predict(tiles)
    assert [p.version for p in together] == [learned.card.version] * 4
    assert model.version == learned.card.version
    assert model.predict([]) == []
    for tile, prediction in zip(tiles, together, strict=True):
        assert same(model.predict([tile])[0], prediction)
        width, height = tile.size
        for region in prediction.regions:
            x0, y0, x1, y1 = envelope(region.shape)
            assert -1e-3 <= x0 <= x1 <= width + 1e-3
            assert -1e-3 <= y0 <= y1 <= height + 1e-3
            assert region.label in LABELS
            assert region.score is not None
            assert 0 <= region.score <= 1
            assert region.origin == "prediction"


def test_what_it_is_unsure_of_can_be_scored(learned: Learned) -> None:
    (prediction,) = learned.load().predict([example(5, False)[0]])
    assert prediction.proba.dtype == np.float32
    assert np.isfinite(prediction.proba).all()
    assert 0 <= prediction.peak <= 1
    score = score_prediction(prediction)
    assert score.value is not None
    assert isfinite(score.value)
    assert score.terms


def test_versions_can_be_compared(learned: Learned) -> None:
    metrics = evaluate(
        learned.load(confidence=0.05), (example(i, learned.kind == "classifier") for i in range(4)), LABELS
    )
    assert 0 <= metrics["quality"] <= 1
    assert (metrics["images"], metrics["objects"]) == (4, 4)


def test_nothing_of_one_call_is_seen_by_another(learned: Learned) -> None:
    model = learned.load(confidence=0.05)
    tiles = [example(i, False)[0] for i in range(4)]
    alone = [model.predict([tile])[0] for tile in tiles]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda i: model.predict([tiles[i % 4]])[0], range(12)))
    assert all(same(f, alone[i % 4]) for i, f in enumerate(found))


@pytest.mark.parametrize(
    "pixels", [np.zeros((64, 64, 3), np.uint16), np.full((64, 64, 3), np.nan), np.zeros((0, 4, 3))]
)
def test_pixels_that_nobody_rendered_are_refused(learned: Learned, pixels: np.ndarray) -> None:  # type: ignore[type-arg]
    with pytest.raises(InvalidInput):
        learned.load().predict([Tile(pixels)])


def test_one_band_is_seen(learned: Learned) -> None:
    (prediction,) = learned.load().predict([Tile(np.zeros((64, 64, 1), np.uint8))])
    assert prediction.knows


def test_changed_or_cut_weights_are_refused(learned: Learned, tmp_path: Path) -> None:
    cut = tmp_path / learned.weights.name
    cut.write_bytes(learned.weights.read_bytes()[:1000])
    loader = kind_of(learned.kind).load()
    with pytest.raises(InvalidWeights):
        loader.load(learned.card, cut, LABELS, None)


def test_a_label_map_decides(learned: Learned) -> None:
    loader = kind_of(learned.kind).load()
    model = loader.load(learned.card, learned.weights, ("Dach",), {"Roof": "Dach"}, confidence=0.05)
    found = {r.label for p in model.predict([example(i, False)[0] for i in range(4)]) for r in p.regions}
    assert found <= {"Dach"}


def same(a: Prediction, b: Prediction) -> bool:
    """Equal but for the order of sums on several threads."""
    shapes = [(type(r.shape), r.label) for r in a.regions] == [(type(r.shape), r.label) for r in b.regions]
    close = a.proba.shape == b.proba.shape and np.allclose(a.proba, b.proba, atol=1e-4)
    return shapes and bool(close) and np.isclose(a.peak, b.peak, atol=1e-4)
