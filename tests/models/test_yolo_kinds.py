"""Every kind of YOLO network answers as ultralytics' own decoding does. Networks have random weights."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
if importlib.util.find_spec("ultralytics") is None:
    pytest.skip("the yolo extra is not installed", allow_module_level=True)

from groundlook.core.errors import InvalidInput, InvalidWeights  # noqa: E402
from groundlook.core.geo import Tile  # noqa: E402
from groundlook.core.geometry import Box, Mask, Point, WholeTile, envelope  # noqa: E402
from groundlook.core.types import ModelCard, ModelVersion  # noqa: E402
from groundlook.models.weights.file import Weights, digest, save  # noqa: E402
from groundlook.models.yolo import network, offline  # noqa: E402
from groundlook.models.yolo.labelling import labelling  # noqa: E402
from groundlook.models.yolo.predict import YoloModel  # noqa: E402

LABELS = ("house", "tree", "car")
KINDS = {
    "yolov5n.yaml": "detect",
    "yolo26p.yaml": "detect",
    "yolov8n-p2.yaml": "detect",
    "yolo11p-seg.yaml": "segment",
    "yolo26p-seg.yaml": "segment",
    "yolo11p-obb.yaml": "obb",
    "yolo26p-obb.yaml": "obb",
    "yolo11p-pose.yaml": "pose",
    "yolo26p-pose.yaml": "pose",
}


@pytest.fixture(autouse=True, scope="module")
def _one_thread(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    offline.ultralytics(tmp_path_factory.mktemp("config"))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def varied(arch: str, classes: int = 3, keypoints: tuple[int, int] | None = None) -> Any:
    """A network whose answers vary: a fresh one says 1 % everywhere."""
    torch.manual_seed(0)
    module: Any = network.build(arch, classes, keypoints)
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = 1.0
    with torch.no_grad():
        module.train()(torch.rand(4, 3, 96, 128))
    head = module.model[-1]
    for name, spread, bias in (("cv2", 0.01, 1.0), ("cv3", 1.0, -3.0), ("cv4", 0.01, 0.0), ("cv4_kpts", 0.01, 0.0)):
        for part in getattr(head, name, None) or ():
            last = part if isinstance(part, torch.nn.Conv2d) else part[-1]
            if isinstance(last, torch.nn.Conv2d):
                torch.nn.init.normal_(last.weight, std=spread)
                torch.nn.init.constant_(last.bias, bias)
    return module


def kept(module: Any, path: Path, arch: str, names: tuple[str, ...] = LABELS) -> tuple[ModelCard, Path]:
    save(path, Weights(module.state_dict(), names, arch))
    return ModelCard(ModelVersion("test", "0123456789ab"), "yolo", arch, names, digest(path)), path


def tile(seed: int = 0, height: int = 96, width: int = 128) -> Tile:
    return Tile(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("arch", sorted(KINDS))
def test_candidates_are_what_ultralytics_decodes(arch: str, tmp_path: Path) -> None:
    module = varied(arch)
    model = YoloModel.load(*kept(module, tmp_path / "w.safetensors", arch), device="cpu")
    picture = tile().pixels
    plain = labelling(LABELS, LABELS, None)
    found = model._network.candidates([picture], plain)[0]
    module.eval()
    module.model[-1].end2end = False
    with torch.inference_mode():
        raw: Any = module(torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255)[0]
    theirs = raw if not isinstance(raw, tuple) else raw[0]
    rows = theirs[0].numpy().T  # (A, 4 + 3 + E)
    rows = rows[rows[:, 4:7].max(axis=1) > 0.05]
    assert len(rows) == len(found) > 20
    np.testing.assert_allclose(found.boxes, rows[:, :4], atol=2e-2)
    np.testing.assert_allclose(found.proba, rows[:, 4:7], atol=5e-3)
    np.testing.assert_allclose(found.extra, rows[:, 7:], rtol=1e-3, atol=0.1)
    assert found.peak == pytest.approx(rows[:, 4:7].max(), abs=1e-3)
    if "26" in arch:
        assert found.spread is None  # (one number a side, no distribution)
    else:
        assert found.spread is not None
        assert found.spread.shape == (len(found), 4)
        assert (found.spread >= 0).all()
        assert np.median(found.spread) > 1
    if isinstance(raw, tuple):
        np.testing.assert_allclose(found.protos[0].values, raw[1][0].numpy(), atol=5e-2)


@pytest.mark.parametrize(
    ("arch", "shape"), [("yolo11p-seg.yaml", Mask), ("yolo11p-obb.yaml", Box), ("yolo11p-pose.yaml", Point)]
)
def test_regions_are_of_the_kind_and_inside(arch: str, shape: type, tmp_path: Path) -> None:
    model = YoloModel.load(*kept(varied(arch), tmp_path / "w.safetensors", arch), device="cpu", confidence=0.1)
    answers = model.predict([tile(), tile(1, 70, 45)])
    assert answers[0].regions
    for answer in answers:
        assert answer.kind == "detection"
        assert answer.spread is not None
        assert answer.spread.shape == (len(answer.proba), 4)
        assert answer.spread.dtype == np.float32
        assert all(isinstance(r.shape, shape) and r.label in LABELS for r in answer.regions)
        assert all(r.score is not None and 0 < r.score <= 1 for r in answer.regions)
    for region in answers[1].regions:
        if isinstance(region.shape, Mask):
            assert (region.shape.width, region.shape.height) == (45, 70)
            assert region.shape.area > 0
            assert region.shape.runs.max() <= 45 * 70


def test_masks_are_those_of_ultralytics(tmp_path: Path) -> None:
    from ultralytics.utils.ops import process_mask

    arch = "yolo11p-seg.yaml"
    model = YoloModel.load(*kept(varied(arch), tmp_path / "w.safetensors", arch), device="cpu", confidence=0.05)
    found = model._network.candidates([tile().pixels], labelling(LABELS, LABELS, None))[0]
    corners = np.concatenate(
        [found.boxes[:, :2] - found.boxes[:, 2:] / 2, found.boxes[:, :2] + found.boxes[:, 2:] / 2], 1
    )
    protos, rows = torch.from_numpy(found.protos[0].values), torch.from_numpy(found.extra)
    theirs = process_mask(
        protos, rows, torch.from_numpy(np.clip(corners, 0, [128, 96, 128, 96])).float(), (96, 128), True
    )
    from groundlook.models.yolo.masks import mask

    agree = []
    for i in range(len(found)):
        ours, other = mask(found.boxes[i], found.extra[i], found.protos[0], (128, 96)).pixels(), theirs[i].numpy() > 0
        if other.sum() > 200:
            agree.append((ours & other).sum() / (ours | other).sum())
    assert len(agree) > 10
    assert np.median(agree) > 0.95  # theirs cuts boxes at whole prototype pixels, ours at the tile's


def test_large_tiles_have_masks_and_keypoints_in_their_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for arch in ("yolo11p-seg.yaml", "yolo11p-pose.yaml"):
        card, path = kept(varied(arch), tmp_path / "w.safetensors", arch)
        model = YoloModel.load(card, path, device="cpu", confidence=0.05)
        small = model.predict([tile(5, 128, 128)])[0]
        monkeypatch.setattr("groundlook.models.yolo.predict._LARGEST", 128)
        monkeypatch.setattr("groundlook.models.yolo.predict._OVERLAP", 32)
        wide = np.zeros((128, 320, 3), np.uint8)
        wide[:, 192:] = tile(5, 128, 128).pixels  # the last window of three: 0, 96, 192
        large = model.predict([Tile(wide)])[0]
        monkeypatch.undo()
        moved = {(round(x + 192, 2), round(y, 2)) for x, y in (envelope(r.shape)[:2] for r in small.regions)}
        there = {(round(x, 2), round(y, 2)) for x, y in (envelope(r.shape)[:2] for r in large.regions)}
        assert len(moved & there) > 0.3 * len(moved) > 0
        assert all(envelope(r.shape)[2] <= 320 for r in large.regions)


def test_a_tile_is_classified_as_a_whole(tmp_path: Path) -> None:
    arch = "yolo11p-cls.yaml"
    torch.manual_seed(0)
    module: Any = network.build(arch, 3)
    torch.nn.init.normal_(module.model[-1].linear.weight, std=3.0)
    card, path = kept(module, tmp_path / "w.safetensors", arch)
    model = YoloModel.load(card, path, device="cpu", confidence=0.05)
    answers = model.predict([tile(), tile(1, 300, 200)])
    for answer in answers:
        assert answer.kind == "classification"
        assert answer.proba.shape == (1, 3)
        assert answer.proba.sum() == pytest.approx(1, abs=1e-5)
        (region,) = answer.regions
        assert isinstance(region.shape, WholeTile)
        assert region.label == LABELS[int(answer.proba.argmax())]
        assert region.score == pytest.approx(answer.peak)
    two = YoloModel.load(card, path, ("Green", "Grey"), {"house": "Grey", "car": "Grey"}, device="cpu", confidence=0.05)
    proba = two.predict([tile()])[0].proba
    assert proba.tolist() == [[0.0, 1.0]]
    assert "1 class unused" in two.stated()
    unsure = YoloModel.load(card, path, device="cpu", confidence=1.0)
    assert unsure.predict([tile()])[0].regions == ()


def test_what_a_card_leaves_out_the_file_says(tmp_path: Path) -> None:
    from dataclasses import replace

    card, path = kept(varied("yolo11p-obb.yaml"), tmp_path / "w.safetensors", "yolo11p-obb.yaml")
    model = YoloModel.load(replace(card, arch="", labels=()), path, device="cpu")
    assert model.labels == LABELS
    assert model.stated() == ", ".join(f"class '{n}' → label '{n}'" for n in LABELS)
    bare = save(tmp_path / "bare.safetensors", Weights(varied("yolo11p-obb.yaml").state_dict()))
    with pytest.raises(InvalidWeights, match="don't name their network"):
        YoloModel.load(replace(card, arch="", labels=(), sha256=""), bare)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("yolo11p-seg.yaml", "yolo11p.yaml"),
        ("yolo11p.yaml", "yolo11p-seg.yaml"),
        ("yolo11p-obb.yaml", "yolo11p-pose.yaml"),
        ("yolo11p-pose.yaml", "yolo11p-obb.yaml"),
        ("yolo11p-cls.yaml", "yolo11p.yaml"),
        ("yolo26p-seg.yaml", "yolo26p-obb.yaml"),
    ],
)
def test_weights_of_another_kind_are_named(given: str, wanted: str, tmp_path: Path) -> None:
    card, path = kept(network.build(given, 3), tmp_path / "w.safetensors", wanted)
    kind = network.kind_of(given)
    with pytest.raises(InvalidWeights, match=rf"theirs is a {kind} network"):
        YoloModel.load(card, path)


def test_keypoints_of_another_number_load_and_names_must_fit(tmp_path: Path) -> None:
    card, path = kept(varied("yolo11p-pose.yaml", 3, (4, 3)), tmp_path / "w.safetensors", "yolo11p-pose.yaml")
    model = YoloModel.load(card, path, ("Head", "Tail"), keypoints=("head", "tail", "ear", "hoof"), device="cpu")
    answer = model.predict([tile()])[0]
    assert answer.proba.shape[1] == 2
    assert answer.proba.shape[0] == len(answer.spread if answer.spread is not None else ())
    with pytest.raises(InvalidInput, match="2 keypoint names for a network with 4"):
        YoloModel.load(card, path, keypoints=("head", "tail"), device="cpu")


def test_broken_numbers_and_unknown_names_are_refused(tmp_path: Path) -> None:
    module = varied("yolo11p.yaml")
    with torch.no_grad():
        module.model[-1].cv3[0][-1].bias.fill_(math.nan)
    card, path = kept(module, tmp_path / "w.safetensors", "yolo11p.yaml")
    with pytest.raises(InvalidWeights, match="NaN"):
        YoloModel.load(card, path, device="cpu").predict([tile()])
    for name in ("yolo11n-depth.yaml", "../yolo11n.yaml", "yolo12t.yaml", "yolo11q-seg.yaml"):
        with pytest.raises(InvalidInput, match="network"):
            network.build(name, 3)
    with pytest.raises(InvalidInput, match="needs a folder"):
        YoloModel.load(card, path, runtime="fast")
