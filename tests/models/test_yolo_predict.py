"""YoloModel as a port: shapes, order, mapping, threads. Its networks have random weights."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
if importlib.util.find_spec("ultralytics") is None:  # importorskip would import it, and it would ask the network
    pytest.skip("the yolo extra is not installed", allow_module_level=True)

from groundlook.core.errors import InvalidConfig, InvalidInput, InvalidWeights  # noqa: E402
from groundlook.core.geo import Tile  # noqa: E402
from groundlook.core.geometry import Box  # noqa: E402
from groundlook.core.types import ModelCard, ModelVersion, Prediction  # noqa: E402
from groundlook.models.weights.file import Weights, digest, save  # noqa: E402
from groundlook.models.yolo import network, offline  # noqa: E402
from groundlook.models.yolo.predict import LOWEST, YoloModel  # noqa: E402

LABELS = ("house", "tree", "car")


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Threads that spin beside other work make small networks a hundred times slower."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _eager(module: Any) -> dict[str, Any]:
    """Weights whose class scores vary: a fresh network's activations fade, and its head says 1 % everywhere."""
    torch.manual_seed(0)
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = 1.0
    with torch.no_grad():
        module.train()(torch.rand(2, 3, 64, 64))
    for part in module.model[-1].cv3:
        torch.nn.init.normal_(part[-1].weight, std=1.0)
        torch.nn.init.constant_(part[-1].bias, -4.0)
    state: dict[str, Any] = module.state_dict()
    return state


def _card(path: Path, arch: str = "yolov5n.yaml", labels: tuple[str, ...] = LABELS) -> ModelCard:
    return ModelCard(ModelVersion("test", "0123456789ab"), "detect", arch, labels, digest(path))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("yolo")
    offline.ultralytics(folder / "config")
    torch.manual_seed(0)
    state = _eager(network.build("yolov5n.yaml", len(LABELS)))
    return save(folder / "w.safetensors", Weights(state, LABELS, "yolov5n.yaml"))


@pytest.fixture(scope="module")
def model(weights: Path) -> YoloModel:
    return YoloModel.load(_card(weights), weights, confidence=0.3, device="cpu")


def _tile(seed: int, height: int = 96, width: int = 128) -> Tile:
    rng = np.random.default_rng(seed)
    return Tile(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def _same(a: Prediction, b: Prediction) -> None:
    assert a.regions == b.regions
    np.testing.assert_array_equal(a.proba, b.proba)
    assert a.peak == b.peak


def test_predictions_are_whole(model: YoloModel) -> None:
    tiles = [_tile(0), _tile(1, 61, 75), _tile(2), _tile(3, 10, 7)]
    answers = model.predict(tiles)
    assert len(answers) == len(tiles)
    assert any(a.regions for a in answers)
    for tile, answer in zip(tiles, answers, strict=True):
        width, height = tile.size
        assert answer.version == model.version
        assert answer.knows
        assert answer.proba.dtype == np.float32
        assert answer.proba.shape[1] == len(LABELS)
        assert len(answer.regions) <= len(answer.proba)
        assert ((answer.proba.max(axis=1, initial=0) > LOWEST) | (len(answer.proba) == 0)).all()
        assert answer.peak >= answer.proba.max(initial=0)
        for region in answer.regions:
            box = region.shape
            assert isinstance(box, Box)
            assert region.label in LABELS
            assert region.score is not None
            assert 0.3 <= region.score <= 1
            assert region.origin == "prediction"
            assert min(box.x, box.y) >= 0
            assert box.x + box.width <= width + 1e-3
            assert box.y + box.height <= height + 1e-3
            assert box.rotation == 0
            assert any(np.isclose(row.max(), region.score) for row in answer.proba)


def test_order_and_company_do_not_matter(model: YoloModel) -> None:
    tiles = [_tile(i, 64, 64 + 32 * (i % 3)) for i in range(20)]
    together, reverse = model.predict(tiles), model.predict(tiles[::-1])[::-1]
    for a, b in zip(together, reverse, strict=True):
        assert a.peak == pytest.approx(b.peak, abs=1e-4)
        assert abs(len(a.proba) - len(b.proba)) <= 1
    assert model.predict([]) == []


def test_eight_threads_see_nothing_of_each_other(model: YoloModel) -> None:
    tiles = [_tile(0, 64, 96), _tile(1, 96, 64)]
    alone = [model.predict([tile])[0] for tile in tiles]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda i: model.predict([tiles[i % 2]])[0], range(64)))
    for i, answer in enumerate(answers):
        _same(answer, alone[i % 2])


def test_a_low_confidence_gives_every_detection(weights: Path) -> None:
    every = YoloModel.load(_card(weights), weights, confidence=LOWEST, device="cpu").predict([_tile(0)])[0]
    assert len(every.regions) == len(every.proba)


def test_classes_map_to_the_project(weights: Path, model: YoloModel) -> None:
    mapped = YoloModel.load(
        _card(weights), weights, ("Unused", "Thing"), {"house": "Thing", "car": "Thing"}, confidence=0.3, device="cpu"
    )
    answer = mapped.predict([_tile(0)])[0]
    assert mapped.labels == ("Unused", "Thing")
    assert {r.label for r in answer.regions} == {"Thing"}
    assert answer.proba.shape[1] == 2
    assert not answer.proba[:, 0].any()
    assert answer.peak <= model.predict([_tile(0)])[0].peak


def test_a_tile_larger_than_the_window_is_seen_whole(model: YoloModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("groundlook.models.yolo.predict._LARGEST", 128)
    monkeypatch.setattr("groundlook.models.yolo.predict._OVERLAP", 32)
    answer = model.predict([_tile(5, 200, 300)])[0]
    right = max(r.shape.x + r.shape.width for r in answer.regions if isinstance(r.shape, Box))
    assert 128 < right <= 300
    assert max(r.shape.y for r in answer.regions if isinstance(r.shape, Box)) > 96


@pytest.mark.parametrize("arch", ["yolo11n.yaml", "yolo26n.yaml", "yolo11t.yaml", "yolov8n"])
def test_other_networks_serve_too(tmp_path: Path, arch: str) -> None:
    state = _eager(network.build(arch, 2))
    path = save(tmp_path / "w.safetensors", Weights(state))
    loaded = YoloModel.load(_card(path, arch, ("a", "b")), path, device="cpu")
    answer = loaded.predict([_tile(0)])[0]
    assert answer.proba.shape[1] == 2
    assert len(answer.proba) > 0


def test_load_refuses_what_does_not_fit(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidWeights, match=r"don't fit yolov5n\.yaml with 2 classes"):
        YoloModel.load(_card(weights, labels=("a", "b")), weights)
    with pytest.raises(InvalidWeights, match="don't fit"):
        YoloModel.load(_card(weights, "yolo11n.yaml"), weights)
    other = save(tmp_path / "w.safetensors", Weights({"x": torch.zeros(1)}))
    with pytest.raises(InvalidWeights, match="expected"):
        YoloModel.load(_card(weights), other)
    with pytest.raises(InvalidConfig):
        YoloModel.load(_card(weights), weights, ("roof",))
    with pytest.raises(InvalidInput, match="confidence"):
        YoloModel.load(_card(weights), weights, confidence=0.01)


def test_a_tile_of_floats_is_refused(model: YoloModel) -> None:
    with pytest.raises(InvalidInput, match="uint8"):
        model.predict([Tile(np.zeros((32, 32, 3), np.float32))])


def test_a_missing_extra_names_its_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ultralytics", None)
    with pytest.raises(InvalidInput, match=r"pip install 'groundlook\[yolo\]'"):
        offline.ultralytics(tmp_path)


def test_ultralytics_neither_takes_threads_nor_asks_the_network(tmp_path: Path) -> None:
    code = """
import os, socket, sys
asked = []
socket.getaddrinfo = lambda *a, **k: asked.append(a) or (_ for _ in ()).throw(OSError("offline"))
socket.socket.connect = lambda *a, **k: asked.append(a) or (_ for _ in ()).throw(OSError("offline"))
import cv2, torch
before = torch.get_num_threads(), cv2.getNumThreads(), os.environ.get("OMP_NUM_THREADS")
from pathlib import Path
from groundlook.models.yolo import network, offline
package = offline.ultralytics(Path(sys.argv[1]))
network.build("yolov5n.yaml", 1)
from ultralytics.utils.torch_utils import select_device
select_device("cpu")
assert before == (torch.get_num_threads(), cv2.getNumThreads(), os.environ.get("OMP_NUM_THREADS")), before
assert not any(package.settings[k] for k in ("sync", "wandb", "mlflow", "comet", "clearml"))
assert (Path(sys.argv[1]) / "Ultralytics" / "Arial.ttf").stat().st_size > 100_000
assert not asked, asked
"""
    quiet = {k: v for k, v in os.environ.items() if not k.startswith(("YOLO", "OMP"))}
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=120, env=quiet)
