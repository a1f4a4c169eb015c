"""Networks by name, from the yaml files that ultralytics ships: no path, no URL, no network."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from groundlook.core.errors import InvalidInput, InvalidWeights
from groundlook.models.yolo import offline

if TYPE_CHECKING:
    import torch

Kind = Literal["detect", "segment", "obb", "classify", "pose"]
_SUFFIXES: dict[str, Kind] = {"": "detect", "-seg": "segment", "-obb": "obb", "-cls": "classify", "-pose": "pose"}
_NAME = re.compile(r"(yolov?\d+)([a-z]?)(-seg|-obb|-cls|-pose)?(-p2|-p6)?(\.yaml)?")
_OWN = {"t": [0.5, 0.125, 1024], "p": [0.5, 0.125, 256]}
"""Depth, width and most channels of our own scales of yolov8, 11 and 26, for learning from scratch on a CPU: `t` has
0.8 M parameters, `p` 0.3 M."""
CLASSIFIED_PX = 224
"""Side of the square pictures that -cls networks see: what ultralytics trains them on."""
_POINT = 3


def kind_of(arch: str) -> Kind:
    """What the network `arch` does: "yolo11n-seg.yaml" segments. Raises InvalidInput for another name."""
    return _SUFFIXES[_parts(arch)[2]]


def build(arch: str, classes: int, keypoints: tuple[int, int] | None = None) -> torch.nn.Module:
    """The network `arch` ("yolov5n.yaml", "yolo11n-seg.yaml") for `classes` classes, with random weights.

    `keypoints` of a -pose network: how many, and with how many numbers each (x, y, and visibility where 3).
    Raises InvalidInput for a name that is not one of ultralytics' networks.
    """
    package = offline.ultralytics()
    from ultralytics.nn import tasks
    from ultralytics.utils import YAML

    models = {
        "detect": tasks.DetectionModel,
        "segment": tasks.SegmentationModel,
        "obb": tasks.OBBModel,
        "classify": tasks.ClassificationModel,
        "pose": tasks.PoseModel,
    }
    path, scale = _locate(arch, Path(str(package.__file__)).parent / "cfg" / "models")
    config: dict[str, Any] = YAML.load(path)
    scales = config.get("scales")
    if isinstance(scales, dict):
        config["scales"] = scales = {**_OWN, **scales}
        if scale not in scales:
            raise InvalidInput(f"network {arch!r}: no scale {scale!r}; there are {', '.join(sorted(scales))}")
    config |= {"nc": classes, "scale": scale, "yaml_file": arch}
    if keypoints is not None:
        config["kpt_shape"] = list(keypoints)
    try:
        model: torch.nn.Module = models[kind_of(arch)](config, verbose=False)
    except (AssertionError, RuntimeError, ValueError, ZeroDivisionError) as error:
        raise InvalidInput(f"network {arch!r} can't be built at scale {scale!r} ({error}); take another") from error
    return model


def _parts(arch: str) -> tuple[str, str, str, str]:
    """Family, scale, task and variant: ("yolo11", "n", "-seg", "")."""
    match = _NAME.fullmatch(arch)
    if match is None:
        raise _unknown(arch)
    family, scale, task, variant, _ = match.groups()
    return family, scale, task or "", variant or ""


def _locate(arch: str, root: Path) -> tuple[Path, str]:
    family, scale, task, variant = _parts(arch)
    wanted = (f"{family}{scale}{task}{variant}.yaml", f"{family}{task}{variant}.yaml")
    for name in wanted:  # yolov9t and yolov10n have files of their own
        for path in sorted(root.glob(f"*/{name}")):
            return path, scale
    raise _unknown(arch)


def _unknown(arch: str) -> InvalidInput:
    names = "'yolov5n.yaml', 'yolo11n.yaml', 'yolo11n-seg.yaml'"
    return InvalidInput(f"network {arch!r} is not one that ultralytics ships; try {names}, -obb, -cls or -pose")


def transfer(model: torch.nn.Module, state: dict[str, torch.Tensor]) -> tuple[int, int]:
    """Copy the tensors of `state` whose name and shape fit into `model`; return how many fitted, of how many it has.

    Raises InvalidWeights when none fits.
    """
    own = model.state_dict()
    fitting = {name: value for name, value in state.items() if name in own and own[name].shape == value.shape}
    if not fitting:
        raise InvalidWeights(
            f"none of the {len(state)} tensors of the weights fits the network's {len(own)}: "
            "start from weights of the same architecture, or from none"
        )
    model.load_state_dict(fitting, strict=False)
    return len(fitting), len(own)


def load_strictly(model: torch.nn.Module, state: dict[str, torch.Tensor], arch: str, classes: Sequence[str]) -> None:
    """Load every tensor, or raise InvalidWeights that names the first that does not fit."""
    other = kind_in(state)
    if other is not None and other != kind_of(arch):
        suffix = next(s for s, kind in _SUFFIXES.items() if kind == other) or "no suffix"
        raise InvalidWeights(
            f"the weights don't fit {arch}: theirs is a {other} network ({suffix}), {arch} is a {kind_of(arch)} network"
        )
    own = model.state_dict()
    for name, value in own.items():
        given = state.get(name)
        if given is None or given.shape != value.shape:
            found = "is missing" if given is None else f"is {tuple(given.shape)}, not {tuple(value.shape)}"
            fits = f"{arch} with {len(classes)} classes"
            raise InvalidWeights(f"the weights don't fit {fits}: {name} {found}; check both")
    extra = sorted(state.keys() - own.keys())
    if extra:
        raise InvalidWeights(f"the weights have {len(extra)} tensors that {arch} lacks, the first is {extra[0]!r}")
    model.load_state_dict(state)


def kind_in(state: Mapping[str, torch.Tensor]) -> Kind | None:
    """What the network of these tensors does, as far as the names and shapes of its head tell; None where they
    don't."""
    head = _head(state)
    if any(name.startswith("proto.") for name in head):
        return "segment"
    if "linear.weight" in head:
        return "classify"
    if not any(name.startswith("cv3.") for name in head):
        return None
    if not any(name.startswith("cv4") for name in head):
        return "detect"
    count = _extra(head)
    return None if count is None else "obb" if count == 1 else "pose"


def keypoints_in(state: Mapping[str, torch.Tensor]) -> tuple[int, int]:
    """How many keypoints the -pose network of these tensors has, and with how many numbers each: 3 wherever that
    divides them, which is what ultralytics' own have. Raises InvalidWeights."""
    count = _extra(_head(state))
    if count is None or (count % _POINT and count % 2):
        raise InvalidWeights("the weights have no keypoints: they are not those of a -pose network")
    each = _POINT if count % _POINT == 0 else 2
    return count // each, each


def _head(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors of the last layer, by their name in it."""
    numbered = [(name.split(".", 2), value) for name, value in state.items() if name.count(".") >= 2]
    layers = [(int(p[1]), p[2], v) for p, v in numbered if p[0] == "model" and p[1].isdigit()]
    last = max((number for number, _, _ in layers), default=-1)
    return {name: value for number, name, value in layers if number == last}


def _extra(head: Mapping[str, torch.Tensor]) -> int | None:
    """Numbers per anchor of the head's third branch: an angle, or keypoints."""
    wanted = ("cv4_kpts.0.bias", "cv4.0.2.bias")  # yolo26 keeps its keypoints apart
    return next((int(head[name].shape[0]) for name in wanted if name in head and head[name].ndim), None)
