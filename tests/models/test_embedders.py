"""Embedders: near means alike, equal pixels give equal rows, and a name says which weights."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from groundlook.core.errors import GroundlookError, InvalidConfig, InvalidInput, InvalidWeights
from groundlook.core.geo import Tile
from groundlook.core.ports import Embedder
from groundlook.models.classifier import embedders
from groundlook.models.embedders.named import embedder_of
from groundlook.models.embedders.pooled import mean_and_spread


def tile(seed: int, grain: int = 8, size: tuple[int, int] = (64, 64)) -> Tile:
    small = np.random.default_rng(seed).integers(0, 255, (-(-size[0] // grain), -(-size[1] // grain), 3), np.uint8)
    return Tile(np.kron(small, np.ones((grain, grain, 1), np.uint8))[: size[0], : size[1]])


def checked(embedder: Embedder, tiles: Sequence[Tile], width: int) -> None:
    """What every embedder must do."""
    found = embedder.embed(tiles)
    assert found.shape == (len(tiles), width)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert np.array_equal(embedder.embed([tiles[1]])[0], found[1])
    assert len(embedder.embed([])) == 0
    with pytest.raises(InvalidInput, match="uint8"):
        embedder.embed([Tile(np.zeros((8, 8, 3), np.float32))])


def test_yolox_nano_out_of_the_box_from_a_path(data_dir: Path, tmp_path: Path) -> None:
    weights = data_dir / "weights" / "yolox_nano.onnx"
    if not weights.is_file():
        pytest.skip(f"{weights} is missing")
    one = embedder_of(f"onnx:{weights}")
    assert one.name == "onnx-yolox_nano-d39bee73564e"
    checked(one, [tile(0), tile(1, 2), tile(2, 8, (50, 90))], 1280)
    fine = one.embed([tile(s, 2, (128, 128)) for s in range(3)])
    coarse = one.embed([tile(s, 16, (128, 128)) for s in range(3)])
    assert np.linalg.norm(fine[0] - fine[1]) < np.linalg.norm(fine - coarse, axis=1).min()
    copy = tmp_path / "yolox_nano.onnx"
    shutil.copyfile(weights, copy)
    with copy.open("ab") as file:
        file.write(b"\x72\x00")  # an empty doc string: the same network in another file
    assert embedder_of(f"onnx:{copy}").name != one.name


def test_a_yolo_checkpoint_gives_its_backbone(data_dir: Path) -> None:
    weights = data_dir / "weights" / "yolov5n_state_dict.pt"
    if not weights.is_file():
        pytest.skip(f"{weights} is missing")
    checked(embedder_of(f"yolo:yolov5n.yaml:{weights}"), [tile(0), tile(1, 2)], 768)
    with pytest.raises(InvalidInput, match=r"don't say their network: write yolo:yolov5n\.yaml:"):
        embedder_of(f"yolo:{weights}").embed([tile(0)])
    with pytest.raises(InvalidWeights, match=r"don't fit the backbone of yolov5s\.yaml"):
        embedder_of(f"yolo:yolov5s.yaml:{weights}").embed([tile(0)])


def test_a_checkpoint_that_says_its_network_needs_no_name() -> None:
    weights = Path(__file__).parent.parent / "weights" / "yolo_detect.safetensors"
    found = embedder_of(f"yolo:{weights}")
    assert found.name.startswith("yolo-yolo_detect-")
    checked(found, [tile(0), tile(1)], found.embed([tile(0)]).shape[1])


def test_any_other_onnx_gives_its_coarsest_map(tmp_path: Path) -> None:
    path = tmp_path / "small.onnx"
    _small_onnx(path)
    checked(embedder_of(f"onnx:{path}"), [tile(0), tile(1)], 2 * 24)


def _small_onnx(path: Path) -> None:
    """Three convolutions, strides 4, 8 and 8 in all (the last but one with 24 channels), and a head."""
    onnx = pytest.importorskip("onnx")
    random = np.random.default_rng(0)
    nodes, weights, before = [], [], "pixels"
    for i, (channels, stride) in enumerate([(3, 4), (6, 2), (24, 1), (5, 1)]):
        shape = ((6, 24, 5, 5)[i], channels, 3, 3)
        weights.append(onnx.numpy_helper.from_array(random.normal(size=shape).astype(np.float32), f"w{i}"))
        attributes = {"strides": [stride, stride], "pads": [1, 1, 1, 1]}
        source = [before, f"w{i}"] if i < 3 else ["map2", f"w{i}"]
        nodes.append(onnx.helper.make_node("Conv", source, [f"map{i}"], **attributes))
        before = f"map{i}"
    nodes.append(onnx.helper.make_node("ReduceMean", ["map3"], ["said"], axes=[2, 3], keepdims=0))
    info = onnx.helper.make_tensor_value_info
    pixels = info("pixels", onnx.TensorProto.FLOAT, ["n", 3, "h", "w"])
    graph = onnx.helper.make_graph(nodes, "small", [pixels], [info("said", onnx.TensorProto.FLOAT, ["n", 5])], weights)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8), str(path))


def test_timm_takes_weights_from_a_path_and_downloads_none(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    import torch

    torch.manual_seed(0)
    path = tmp_path / "net.pt"
    torch.save(timm.create_model("resnet10t", pretrained=False, num_classes=7).state_dict(), path)
    found = embedder_of(f"timm:resnet10t:{path}")
    assert found.name.startswith("timm-resnet10t-")
    checked(found, [tile(0), tile(1, 2)], 512)
    with pytest.raises(InvalidConfig, match="names no weights"):
        embedder_of("timm:resnet10t")
    with pytest.raises(InvalidWeights, match="not those of resnet18"):
        embedder_of(f"timm:resnet18:{path}").embed([tile(0)])
    with pytest.raises(InvalidInput, match="no network 'resnot'"):
        embedder_of(f"timm:resnot:{path}").embed([tile(0)])


@pytest.mark.parametrize("text", ["", "thumbnail", "onnx:", "https://x/y.onnx", "tf:/x"])
def test_an_unknown_embedder_says_which_there_are(text: str) -> None:
    with pytest.raises(InvalidConfig, match="choose thumbnail-1, onnx:PATH"):
        embedder_of(text)


def test_a_file_that_is_missing_or_something_else_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("hello")
    for name in ("none.onnx", "text.onnx"):
        with pytest.raises(GroundlookError, match=name):
            embedder_of(f"onnx:{tmp_path / name}").embed([tile(0)])


def test_mean_and_spread_are_those_of_every_channel() -> None:
    one = np.random.default_rng(0).normal(size=(1, 5, 3, 4)).astype(np.float32)
    two = np.ones((1, 2, 1, 1), np.float32)
    found = mean_and_spread([one, two])
    expected = [one[0].mean(axis=(1, 2)), one[0].std(axis=(1, 2)), [1, 1], [0, 0]]
    assert np.allclose(found, np.concatenate(expected), atol=1e-6)


def test_a_classifier_finds_the_embedder_that_was_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedders, "EMBEDDERS", dict(embedders.EMBEDDERS))

    class Given:
        name = "onnx-given-0123"

        def embed(self, tiles: Sequence[Tile]) -> np.ndarray:
            return np.zeros((len(tiles), 2), np.float32)

    with pytest.raises(InvalidInput, match="no classifier on an embedder"):
        embedders.parse("classifier-onnx-given-0123")
    embedders.register(Given())
    assert embedders.parse("classifier-multiple-onnx-given-0123")[1]
