"""Weights of SAMs: known by their shapes, refused where they don't fit, never run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("segment_anything")

from groundlook.core.errors import InvalidConfig, InvalidWeights  # noqa: E402
from groundlook.core.plan import ModelSpec  # noqa: E402
from groundlook.models.sam import checkpoint  # noqa: E402
from groundlook.models.sam.architectures import ARCHS  # noqa: E402
from groundlook.models.sam.quality import beside  # noqa: E402
from groundlook.models.sam.segment import SamSegmenter  # noqa: E402
from groundlook.models.weights.file import Weights, digest, save  # noqa: E402
from tests.weights.house import Memory  # noqa: E402


def load(weights: Path, arch: str = "", sha256: str = "", **options: object) -> SamSegmenter:
    spec = ModelSpec("mine", "sam", arch=arch, sha256=sha256, options=options)
    return SamSegmenter.load(spec, weights, Memory(), weights.parent / "runtimes", runtime="torch eager")


@pytest.fixture(scope="module")
def state() -> dict[str, Any]:
    torch.manual_seed(1)
    return dict(ARCHS["tiny"].build().state_dict())


def test_an_official_state_dict_loads_and_its_architecture_is_found(tmp_path: Path, state: dict[str, Any]) -> None:
    torch.save(state, tmp_path / "sam.pth")
    segmenter = load(tmp_path / "sam.pth")
    assert "SAM tiny" in str(segmenter)
    assert segmenter.version.name == "mine"


def test_versions_go_by_the_weights_and_the_calibration(tmp_path: Path, state: dict[str, Any]) -> None:
    first = save(tmp_path / "a.safetensors", Weights(state))
    same = save(tmp_path / "b.safetensors", Weights(state))
    changed = {**state, "prompt_encoder.no_mask_embed.weight": state["prompt_encoder.no_mask_embed.weight"] + 1}
    other = save(tmp_path / "c.safetensors", Weights(changed))
    assert load(first).version == load(same).version != load(other).version
    beside(same).write_text(json.dumps({"raw": [0, 1], "iou": [0.1, 0.9], "pairs": 40, "before": 0, "after": 0}))
    assert load(first).version != load(same).version


@pytest.mark.parametrize("arch", ["vit_b", "vit_l", "vit_h"])
def test_each_architecture_is_known_by_its_shapes(arch: str) -> None:
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in ARCHS[arch].build().state_dict().items()}
    assert checkpoint._nearest(shapes) == arch


def test_weights_of_another_architecture_name_the_tensor_and_the_one_that_fits(
    tmp_path: Path, state: dict[str, Any]
) -> None:
    path = save(tmp_path / "a.safetensors", Weights(state))
    with pytest.raises(InvalidWeights) as caught:
        load(path, "vit_b")
    said = str(caught.value)
    assert "don't fit SAM vit_b: image_encoder.pos_embed is missing" in said
    assert "they fit tiny: name that" in said


def test_what_is_no_sam_says_so(tmp_path: Path, state: dict[str, Any]) -> None:
    less = {name: value for name, value in state.items() if name != "mask_decoder.iou_token.weight"}
    with pytest.raises(InvalidWeights, match=r"mask_decoder.iou_token.weight is missing; they are of none of"):
        load(save(tmp_path / "less.safetensors", Weights(less)))
    with pytest.raises(InvalidWeights, match=r"tiny: it has no image_encoder.extra"):
        load(save(tmp_path / "more.safetensors", Weights({**state, "image_encoder.extra": torch.zeros(1)})))
    with pytest.raises(InvalidWeights, match="there is no SAM 'vit_x'; there are: vit_b"):
        load(save(tmp_path / "a.safetensors", Weights(state)), "vit_x")
    with pytest.raises(InvalidWeights, match="they are of none of"):
        load(save(tmp_path / "other.safetensors", Weights({"weight": torch.zeros(3)})))


def test_numbers_that_are_none_are_refused(tmp_path: Path, state: dict[str, Any]) -> None:
    name = "mask_decoder.iou_token.weight"
    path = save(tmp_path / "nan.safetensors", Weights({**state, name: state[name] * float("nan")}))
    with pytest.raises(InvalidWeights, match=f"not finite, in {name}"):
        load(path)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_truncated_file_is_refused(tmp_path: Path, state: dict[str, Any], suffix: str, share: float) -> None:
    whole = tmp_path / f"whole{suffix}"
    torch.save(state, whole) if suffix == ".pth" else save(whole, Weights(state))
    data = whole.read_bytes()
    (tmp_path / f"cut{suffix}").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InvalidWeights, match="weights"):
        load(tmp_path / f"cut{suffix}")


class _Hostile:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.touch, (self.target,)


def test_a_checkpoint_with_code_is_refused_and_not_run(tmp_path: Path, state: dict[str, Any]) -> None:
    torch.save({**state, "more": _Hostile(tmp_path / "touched")}, tmp_path / "sam.pth")
    with pytest.raises(InvalidWeights, match="refused"):
        load(tmp_path / "sam.pth", "tiny")
    assert not (tmp_path / "touched").exists()


def test_a_wrong_hash_and_a_missing_file_say_so(tmp_path: Path, state: dict[str, Any]) -> None:
    path = save(tmp_path / "a.safetensors", Weights(state))
    with pytest.raises(InvalidWeights, match=digest(path)):
        load(path, sha256="0" * 64)
    with pytest.raises(InvalidWeights, match="don't exist"):
        load(tmp_path / "none.pth")


@pytest.mark.parametrize(
    "body",
    [
        "{",
        "{}",
        '{"raw": [1, 0], "iou": [0, 1], "pairs": 1, "before": 0, "after": 0}',
        '{"raw": [0, 1], "iou": [0, 1], "pairs": Infinity, "before": 0, "after": 0}',
        "[" * 100_000,
        " " * (1 << 20) + "{}",
        "[]",
    ],
    ids=range(7),
)
def test_a_calibration_that_can_not_be_used_is_refused(tmp_path: Path, state: dict[str, Any], body: str) -> None:
    path = save(tmp_path / "a.safetensors", Weights(state))
    beside(path).write_text(body)
    with pytest.raises(InvalidWeights, match=r"calibration .* fit it again or remove it"):
        load(path)


@pytest.mark.parametrize(
    "options",
    [
        {"points": 0},
        {"points": "many"},
        {"points": float("inf")},
        {"overlap": 0.0},
        {"stability": None},
        {"predicted_iou": float("nan")},
    ],
)
def test_options_that_make_no_sense_are_refused_when_it_loads(
    tmp_path: Path, state: dict[str, Any], options: dict[str, Any]
) -> None:
    with pytest.raises(InvalidConfig, match="options of a SAM"):
        load(save(tmp_path / "a.safetensors", Weights(state)), **options)


def _onnx(path: Path, channels: int = 256) -> Path:
    """The smallest encoder there is: pictures made small, each colour many times."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper

    weights = helper.make_tensor("w", TensorProto.FLOAT, (channels, 3, 16, 16), [0.001] * (channels * 3 * 256))
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "w"], ["embedding"], strides=[16, 16])],
        "encoder",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, 3, 1024, 1024))],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, (1, channels, 64, 64))],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return path


def test_an_onnx_encoder_goes_with_the_decoder_of_any_large_sam(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    from groundlook.core.geo import Tile
    from groundlook.models.sam.pictures import picture_of
    from tests.weights.house import click

    state = {
        n: v for n, v in ARCHS["mobile_sam"].build().state_dict().items() if not n.startswith("image_encoder.neck")
    }
    weights = save(tmp_path / "mobile.safetensors", Weights(state))
    encoder = _onnx(tmp_path / "encoder.onnx")
    segmenter = load(weights, "onnx", encoder=str(encoder), encoder_sha256=digest(encoder))
    assert "encoder in onnxruntime, as it was given; decoder in torch eager" in str(segmenter)
    (cut,) = segmenter.segment(picture_of(Tile(np.full((50, 70, 3), 9, np.uint8))), [click(5, 5)])
    assert (cut.mask.width, cut.mask.height) == (70, 50)
    with pytest.raises(InvalidWeights, match="name an ONNX file as option `encoder`"):
        load(weights, "onnx")
    with pytest.raises(InvalidWeights, match="have sha256"):
        load(weights, "onnx", encoder=str(encoder), encoder_sha256="0" * 64)
    with pytest.raises(InvalidWeights, match="decoder takes one of"):
        load(weights, "onnx", encoder=str(_onnx(tmp_path / "thin.onnx", 8)))
    (tmp_path / "broken.onnx").write_bytes(encoder.read_bytes()[:1000])
    with pytest.raises(InvalidWeights, match="can't be used"):
        load(weights, "onnx", encoder=str(tmp_path / "broken.onnx"))


def test_an_onnx_encoder_in_several_files_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    from groundlook.models.sam import given

    onnx = pytest.importorskip("onnx")
    whole = onnx.load(_onnx(tmp_path / "whole.onnx"))
    tensor = whole.graph.initializer[0]
    tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor), "w"))  # as bytes, which can move
    onnx.save(whole, tmp_path / "split.onnx", save_as_external_data=True, location="split.data")
    with pytest.raises(InvalidWeights, match="tensor 'w' lies in another file"):
        given.load(tmp_path / "split.onnx", ARCHS["onnx"])


def test_the_export_of_a_network_goes_by_its_code_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from groundlook.models.sam import build

    before = build.encoder_network("tiny", Path("w"), "0").key
    monkeypatch.setattr(build, "CODE", "sam-0")
    assert build.encoder_network("tiny", Path("w"), "0").key != before


def test_mobile_sam_sees_as_timms_tinyvit_does() -> None:
    """Stage by stage, but for the last, which MobileSAM changed."""
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    peer = timm.create_model("tiny_vit_5m_224", pretrained=False).eval()
    for value in peer.parameters():
        if not value.any():
            torch.nn.init.normal_(value, std=0.1)
    ours = ARCHS["mobile_sam"].build().image_encoder
    named = {}
    for name, value in peer.state_dict().items():
        name = re.sub(r"^patch_embed\.conv(\d)", lambda m: f"patch_embed.seq.{2 * int(m[1]) - 2}", name)
        name = re.sub(r"^stages\.(\d)\.downsample", lambda m: f"layers.{int(m[1]) - 1}.downsample", name)
        named[name.replace("stages.", "layers.").replace(".conv.weight", ".c.weight")] = value
    found = ours.load_state_dict({n: v for n, v in named.items() if not n.startswith("head.")}, strict=False)
    assert not found.unexpected_keys
    assert {name.split(".")[0] for name in found.missing_keys} == {"norm_head", "head", "neck"}
    with torch.no_grad():
        theirs = mine = ours.patch_embed.seq(torch.randn(1, 3, 224, 224))
        for place in range(3):
            theirs = peer.stages[place](theirs)
            for block in ours.layers[place].blocks:
                mine = block(mine)
            assert torch.allclose(theirs, mine, atol=1e-5)
            mine = ours.layers[place].downsample(mine)
