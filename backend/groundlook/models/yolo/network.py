"""Networks by name, from the yaml files that ultralytics ships: no path, no URL, no network."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groundlook.core.errors import InvalidInput, InvalidWeights
from groundlook.models.yolo import offline

if TYPE_CHECKING:
    import torch

_NAME = re.compile(r"(yolov?\d+)([a-z]?)(-p2|-p6)?(\.yaml)?")
_TINY = [0.5, 0.125, 1024]
"""Depth, width and most channels of our own scale `t` of yolov8, 11, 12 and 26: 0.5 M parameters, for learning from
scratch on a CPU."""


def build(arch: str, classes: int) -> torch.nn.Module:
    """The detection network `arch` ("yolov5n.yaml", "yolo11n.yaml") for `classes` classes, with random weights.

    Raises InvalidInput for a name that is not one of ultralytics' detection networks.
    """
    package = offline.ultralytics()
    from ultralytics.nn.tasks import DetectionModel
    from ultralytics.utils import YAML

    path, scale = _locate(arch, Path(str(package.__file__)).parent / "cfg" / "models")
    config: dict[str, Any] = YAML.load(path)
    scales = config.get("scales")
    if isinstance(scales, dict):
        scales.setdefault("t", _TINY)
        if scale not in scales:
            raise InvalidInput(f"network {arch!r}: no scale {scale!r}; there are {', '.join(sorted(scales))}")
    model: torch.nn.Module = DetectionModel({**config, "nc": classes, "scale": scale, "yaml_file": arch}, verbose=False)
    return model


def _locate(arch: str, root: Path) -> tuple[Path, str]:
    match = _NAME.fullmatch(arch)
    if match:
        family, scale, variant, _ = match.groups()
        wanted = (f"{family}{scale}{variant or ''}.yaml", f"{family}{variant or ''}.yaml")
        for name in wanted:  # yolov9t and yolov10n have files of their own
            for path in sorted(root.glob(f"*/{name}")):
                return path, scale
    raise InvalidInput(f"network {arch!r} is not one that ultralytics ships; try 'yolov5n.yaml' or 'yolo11n.yaml'")


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
