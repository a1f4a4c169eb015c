"""Networks outside PyTorch: a user's ONNX export, and ours compiled; the trained ones answer as in PyTorch."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
if importlib.util.find_spec("ultralytics") is None:
    pytest.skip("the yolo extra is not installed", allow_module_level=True)

from groundlook.core.errors import InvalidInput, InvalidWeights  # noqa: E402
from groundlook.core.geo import Tile  # noqa: E402
from groundlook.core.geometry import Box, WholeTile, envelope  # noqa: E402
from groundlook.core.types import ModelCard, ModelVersion, Prediction, Region  # noqa: E402
from groundlook.evaluation.metrics import average_precision50  # noqa: E402
from groundlook.models.weights.file import Weights, digest, save  # noqa: E402
from groundlook.models.yolo import network, offline  # noqa: E402
from groundlook.models.yolo.predict import LOWEST, YoloModel  # noqa: E402
from tests.weights.make_yolo import LABELS, town  # noqa: E402

WEIGHTS = Path(__file__).parent.parent / "weights"
CARD = ModelCard(ModelVersion("test", "0123456789ab"), "yolo", "", (), "")


def _trained(kind: str, **more: Any) -> YoloModel:
    return YoloModel.load(CARD, WEIGHTS / f"yolo_{kind}.safetensors", device="cpu", **more)


def _score(answers: Sequence[Prediction], truths: Sequence[Sequence[Region]]) -> float:
    def corners(regions: Sequence[Region]) -> np.ndarray:
        return np.array([envelope(r.shape) for r in regions]).reshape(-1, 4)

    def places(regions: Sequence[Region]) -> np.ndarray:
        return np.array([LABELS.index(r.label) for r in regions], int)

    found = [(corners(a.regions), np.array([r.score for r in a.regions]), places(a.regions)) for a in answers]
    return average_precision50(found, [(corners(t), places(t)) for t in truths])["mAP50"]


@pytest.mark.parametrize("kind", ["detect", "obb", "seg"])
def test_the_trained_networks_find_what_is_there(kind: str) -> None:
    examples = [town(i, 320, masks=kind == "seg") for i in range(8)]
    answers = _trained(kind, confidence=LOWEST).predict([t for t, _ in examples])
    assert _score(answers, [r for _, r in examples]) > 0.7
    sure = [r for a in answers for r in a.regions if r.score is not None and r.score > 0.5]
    assert len(sure) > 10
    if kind == "seg":
        from groundlook.core.mask import Mask

        truth = np.stack([np.any([r.shape.pixels() for r in t], 0) for _, t in examples if t])  # type: ignore[union-attr]
        seen = [
            [r.shape.pixels() for r in a.regions if isinstance(r.shape, Mask) and (r.score or 0) > 0.3] for a in answers
        ]
        found = np.stack([np.any(s, 0) for s, (_, t) in zip(seen, examples, strict=True) if t])
        assert (truth & found).sum() / (truth | found).sum() > 0.75
    if kind == "obb":
        turns = [_turn(a.regions, t) for a, (_, t) in zip(answers, examples, strict=True)]
        assert np.median(np.concatenate(turns)) < 6


def _turn(found: Sequence[Region], wanted: Sequence[Region]) -> list[float]:
    """Degrees between each clearly oblong thing and the answer nearest to it."""
    degrees = []
    for region in wanted:
        box = region.shape
        if isinstance(box, Box) and max(box.width, box.height) > 1.4 * min(box.width, box.height):
            centre = box.corners().mean(axis=0)
            boxes = [r.shape for r in found if isinstance(r.shape, Box) and (r.score or 0) > 0.3]
            near = min(boxes, key=lambda b: float(np.abs(b.corners().mean(axis=0) - centre).sum()), default=None)
            if near is not None and np.abs(near.corners().mean(axis=0) - centre).sum() < 5:
                along, other = (b.rotation + (90 if b.height > b.width else 0) for b in (box, near))
                degrees.append(abs((along - other + 90) % 180 - 90))
    return degrees


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["detect", "obb", "seg"])
@pytest.mark.parametrize("runtime", ["onnxruntime f32", "openvino f32", "openvino bf16"])
def test_compiled_networks_are_as_good(kind: str, runtime: str, tmp_path: Path) -> None:
    examples = [town(i, 320, masks=kind == "seg") for i in range(12)]
    tiles, truths = [t for t, _ in examples], [r for _, r in examples]
    eager = _trained(kind, confidence=LOWEST).predict(tiles)
    try:
        model = _trained(kind, confidence=LOWEST, runtime=runtime, folder=tmp_path)
    except InvalidInput as error:
        if "tolerance" in str(error) or "is over" in str(error):
            raise
        pytest.skip(str(error))
    assert model.runtime == runtime
    fast = model.predict(tiles)
    assert _score(fast, truths) > _score(eager, truths) - 0.005
    for a, b in zip(eager, fast, strict=True):
        assert a.peak == pytest.approx(b.peak, abs=0.05)
        assert b.spread is not None
        assert len(b.spread) == len(b.proba)


def test_no_start_brings_torch_into_the_process_and_all_answer_the_same(tmp_path: Path) -> None:
    """Not the first either, which exports the network: PyTorch takes more memory than a scene of any size."""
    weights, tile = WEIGHTS / "yolo_detect.safetensors", town(3, 320)[0]
    np.save(tmp_path / "tile.npy", tile.pixels)
    script = (
        "import sys; from pathlib import Path; import numpy as np\n"
        "from groundlook.core.geo import Tile; from groundlook.core.types import ModelCard, ModelVersion\n"
        "from groundlook.models.yolo.predict import YoloModel\n"
        "card = ModelCard(ModelVersion('test', '0123456789ab'), 'yolo', '', (), '')\n"
        "folder = Path(sys.argv[2])\n"
        "model = YoloModel.load(card, Path(sys.argv[1]), device='cpu', runtime='onnxruntime f32', folder=folder)\n"
        "print([r.score for r in model.predict([Tile(np.load(folder / 'tile.npy'))])[0].regions])\n"
        "bad = [m for m in sys.modules if m.split('.')[0] in ('torch', 'torchvision', 'ultralytics')]\n"
        "assert not bad, bad[:3]\n"
    )
    command = [sys.executable, "-W", "error", "-c", script, str(weights), str(tmp_path)]
    starts = [subprocess.run(command, capture_output=True, text=True, check=False) for _ in range(2)]
    assert [done.returncode for done in starts] == [0, 0], [done.stderr for done in starts]
    here = _trained("detect", runtime="onnxruntime f32", folder=tmp_path).predict([tile])[0]
    assert here.regions
    assert {done.stdout.strip() for done in starts} == {str([r.score for r in here.regions])}
    # what is kept is of these weights, asked for so: other words are looked at anew
    (kept,) = tmp_path.glob("yolo-*.json")
    kept.write_text("{}")
    assert _trained("detect", runtime="onnxruntime f32", folder=tmp_path).labels == LABELS
    card = ModelCard(CARD.version, "yolo", "", ("a", "b", "c", "d", "e"), "")
    with pytest.raises(InvalidWeights, match="don't fit"):
        YoloModel.load(card, weights, device="cpu", runtime="onnxruntime f32", folder=tmp_path)


def _export(arch: str, folder: Path, **arguments: Any) -> tuple[Any, Path]:
    """As a user would: by ultralytics' exporter."""
    offline.ultralytics(folder / "config")
    from ultralytics.engine.exporter import Exporter

    from tests.models.test_yolo_kinds import varied

    torch.manual_seed(0)
    module = varied(arch)
    if arch.startswith("yolo11p-cls"):
        torch.nn.init.normal_(module.model[-1].linear.weight, std=1.0)
    module.names, module.task = dict(enumerate(("house", "tree", "car"))), network.kind_of(arch)
    module.pt_path, module.args = str(folder / f"{arch}.pt"), {"imgsz": 128, "data": ""}
    given = {"format": "onnx", "imgsz": 128, "simplify": False, "device": "cpu", "batch": 1, **arguments}
    return module, Path(Exporter(overrides=given)(model=module))


@pytest.mark.parametrize(
    ("arch", "more"),
    [
        ("yolo11p.yaml", {}),
        pytest.param("yolo11p-seg.yaml", {"dynamic": True}, marks=pytest.mark.slow),
        pytest.param("yolo11p-obb.yaml", {}, marks=pytest.mark.slow),
        pytest.param("yolo11p-pose.yaml", {}, marks=pytest.mark.slow),
        pytest.param("yolo11p-cls.yaml", {}, marks=pytest.mark.slow),
    ],
)
@pytest.mark.filterwarnings("ignore")  # torch's own, of its exporter
def test_an_export_answers_as_its_network_does(arch: str, more: dict[str, Any], tmp_path: Path) -> None:
    module, path = _export(arch, tmp_path, **more)
    same = save(tmp_path / "w.safetensors", Weights(module.state_dict(), ("house", "tree", "car"), arch))
    exported = YoloModel.load(CARD, path, ("House", "Car"), confidence=0.1)
    built = YoloModel.load(CARD, same, ("House", "Car"), confidence=0.1, device="cpu")
    assert (
        exported.stated()
        == built.stated()
        == "class 'house' → label 'House', class 'car' → label 'Car', 1 class unused"
    )
    rng = np.random.default_rng(0)
    tile = Tile(rng.integers(0, 256, (128, 128, 3), dtype=np.uint8))
    (ours,), (theirs,) = built.predict([tile]), exported.predict([tile])
    assert theirs.kind == ours.kind
    if ours.kind == "classification":
        # (the export sees 128 px, ours 224: predictions differ, what both say of the same pixels does not)
        same_size = [model._network.classes(tile.pixels) for model in (built, exported)]
        np.testing.assert_allclose(*same_size, atol=1e-3)
        assert theirs.proba.sum() == pytest.approx(1, abs=1e-5)
        assert all(isinstance(r.shape, WholeTile) for r in theirs.regions)
        return
    assert theirs.spread is None
    assert theirs.peak == pytest.approx(ours.peak, abs=1e-2)
    assert len(ours.regions) > 3
    assert abs(len(ours.regions) - len(theirs.regions)) <= 0.1 * len(ours.regions) + 1
    places = np.array([envelope(r.shape) for r in ours.regions])
    near = [np.abs(places - envelope(r.shape)).max(axis=1).min() for r in theirs.regions]
    assert np.mean(np.array(near) < 1) > 0.9
    # A larger tile is seen through windows of the size that was exported, a smaller one is padded.
    wide = exported.predict([Tile(rng.integers(0, 256, (200, 300, 3), dtype=np.uint8)), Tile(tile.pixels[:50, :70])])
    assert max(envelope(r.shape)[2] for r in wide[0].regions) > 200
    assert exported.runtime.startswith("onnxruntime")


def _small(path: Path, meta: dict[str, str], shape: Sequence[int | str] = (1, 3, 64, 64)) -> Path:
    """A network that says 0 everywhere, with that metadata."""
    made = onnx.helper.make_tensor("said", onnx.TensorProto.FLOAT, [1, 6, 4], [0.0] * 24)
    node = onnx.helper.make_node("Constant", [], ["output0"], value=made)
    given = onnx.helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, list(shape))
    output = onnx.helper.make_tensor_value_info("output0", onnx.TensorProto.FLOAT, [1, 6, 4])
    graph = onnx.helper.make_graph([node], "g", [given], [output])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.helper.set_model_props(model, meta)
    onnx.save(model, str(path))
    return path


GOOD = {"names": "{0: 'a', 1: 'b'}", "task": "detect", "stride": "32", "imgsz": "[64, 64]"}


@pytest.mark.parametrize(
    ("meta", "shape", "says"),
    [
        ({}, (1, 3, 64, 64), "don't name their classes"),
        ({**GOOD, "names": "__import__('os').system('true')"}, (1, 3, 64, 64), "don't name their classes"),
        ({**GOOD, "names": "{" * 5000}, (1, 3, 64, 64), "don't name their classes"),
        ({**GOOD, "names": "{0: 'a', 7: 'b'}"}, (1, 3, 64, 64), "don't name their classes"),
        ({**GOOD, "task": "depth"}, (1, 3, 64, 64), "are for 'depth'"),
        ({**GOOD, "stride": "0"}, (1, 3, 64, 64), "stride"),
        (GOOD, (1, 4, 64, 64), "take 4 bands"),
        (GOOD, (8, 3, 64, 64), "8 pictures at once"),
        (GOOD, (1, 3, 64, 96), "square imgsz"),
        ({**GOOD, "task": "segment"}, (1, 3, 64, 64), "give 1 outputs"),
        ({**GOOD, "task": "pose", "kpt_shape": "[0, 9]"}, (1, 3, 64, 64), "keypoints of"),
    ],
)
def test_exports_that_say_nonsense_are_refused(
    meta: dict[str, str], shape: tuple[int, ...], says: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidWeights, match=says):
        YoloModel.load(CARD, _small(tmp_path / "m.onnx", meta, shape))


@pytest.mark.parametrize(
    ("task", "outputs"),
    [
        ("detect", [()]),
        ("detect", [(6, 4)]),
        ("detect", [(1, 5, 4)]),
        ("segment", [(1, 5, 4), (1, 32, 16, 16)]),
        ("segment", [(1, 38, 4), (1, 31, 16, 16)]),
        ("segment", [(1, 38, 4), (1, 32, 0, 16)]),
        ("segment", [(1, 38, 4), (1, 32, 16, 8)]),
        ("segment", [(1, 38, 4), (32,)]),
    ],
)
def test_answers_of_other_shapes_are_refused(task: str, outputs: list[tuple[int, ...]], tmp_path: Path) -> None:
    path = _says(tmp_path / "m.onnx", {**GOOD, "task": task}, outputs)
    with pytest.raises(InvalidWeights, match="export it again"):
        YoloModel.load(CARD, path).predict([Tile(np.zeros((64, 64, 3), np.uint8))])


def _says(path: Path, meta: dict[str, str], shapes: Sequence[tuple[int, ...]]) -> Path:
    """A network that says .5 everywhere, in those shapes."""
    nodes, outputs = [], []
    for i, shape in enumerate(shapes):
        values = [0.5] * int(np.prod(shape))
        made = onnx.helper.make_tensor("said", onnx.TensorProto.FLOAT, shape, values)
        nodes.append(onnx.helper.make_node("Constant", [], [f"output{i}"], value=made))
        outputs.append(onnx.helper.make_tensor_value_info(f"output{i}", onnx.TensorProto.FLOAT, shape))
    given = onnx.helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, (1, 3, 64, 64))
    graph = onnx.helper.make_graph(nodes, "g", [given], outputs)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.helper.set_model_props(model, meta)
    onnx.save(model, str(path))
    return path


def test_keypoints_of_an_export_are_named_each_or_none(tmp_path: Path) -> None:
    path = _says(tmp_path / "m.onnx", {**GOOD, "task": "pose", "kpt_shape": "[2, 3]"}, [(1, 12, 4)])
    assert YoloModel.load(CARD, path, keypoints=("nose", "tail")).labels == ("a", "b")
    with pytest.raises(InvalidInput, match="1 keypoint names for a network with 2"):
        YoloModel.load(CARD, path, keypoints=("nose",))


def test_files_that_are_no_exports_are_refused(tmp_path: Path) -> None:
    from dataclasses import replace

    whole = _small(tmp_path / "m.onnx", GOOD)
    model = YoloModel.load(replace(CARD, sha256=digest(whole)), whole)
    assert model.predict([Tile(np.zeros((64, 64, 3), np.uint8))])[0].regions == ()
    with pytest.raises(InvalidWeights, match="expected"):
        YoloModel.load(replace(CARD, sha256="0" * 64), whole)
    with pytest.raises(InvalidWeights, match="exported with 2 classes, not 3"):
        YoloModel.load(replace(CARD, labels=("a", "b", "c")), whole)
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(whole.read_bytes()[:60])
    for path in (cut, tmp_path / "missing.onnx"):
        with pytest.raises(InvalidWeights, match=r"no whole ONNX file|don't exist"):
            YoloModel.load(CARD, path)
    other = tmp_path / "model.engine"
    other.write_bytes(b"x")
    with pytest.raises(InvalidWeights, match="not one of"):
        YoloModel.load(CARD, other)
