"""A network without its decoding: pixels in, what the head's branches say out.

Decoding is left to NumPy (decode.py), for the few anchors that are kept, in float32: in bfloat16 a place of 640 px
would be known to 4 px only. It also keeps the distributions that ultralytics' own decoding averages away, and no
state on the head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groundlook.models.runtime.network import Network
from groundlook.models.weights.file import Weights, digest, read
from groundlook.models.yolo import network, offline

if TYPE_CHECKING:
    import torch

EXAMPLE = 640
OUTPUTS: dict[network.Kind, tuple[str, ...]] = {
    "detect": ("boxes", "scores"),
    "segment": ("boxes", "scores", "coefficients", "protos"),
    "obb": ("boxes", "scores", "angle"),
    "pose": ("boxes", "scores", "keypoints"),
    "classify": ("scores",),
}
"""Per kind, in order. N pictures, A anchors (all of the finest stride first, row by row), C classes, R bins a side:
`boxes` (N, A, 4 R): logits of the distances to left, top, right, bottom in strides, the distance itself where R is 1;
`scores` (N, A, C): logits, of "classify" (N, C); `coefficients` (N, A, P) of the `protos` (N, P, H/4, W/4);
`angle` (N, A, 1): radians; `keypoints` (N, A, K · D): x, y from the anchor in strides, then a visibility logit. Anchors
come before channels as they do in a CPU's memory: the other way round, OpenVINO would spend a twentieth on turning."""
REVISION = "2"
"""Of what an export of ours computes."""


@dataclass(frozen=True, slots=True)
class Head:
    """What decoding needs to know. `strides`: px, finest first. `bins`: R above. `keypoints`: (K, D)."""

    kind: network.Kind
    classes: int
    strides: tuple[int, ...] = (8, 16, 32)
    bins: int = 16
    keypoints: tuple[int, int] = (0, 0)


def checked(weights: Weights, arch: str, classes: Sequence[str]) -> tuple[torch.nn.Module, Head]:
    """The network with its weights, ready to be run as `OUTPUTS` says. Raises InvalidWeights, InvalidInput."""
    kind = network.kind_of(arch)
    posed = kind == "pose" and network.kind_in(weights.state) == "pose"
    model: Any = network.build(arch, len(classes), network.keypoints_in(weights.state) if posed else None)
    network.load_strictly(model, weights.state, arch, classes)
    model.eval()
    last = model.model[-1]
    if kind == "classify":
        model.fuse(verbose=False)
        return _raw(model), Head(kind, len(classes))
    strides = tuple(int(s) for s in last.stride)
    # yolo10 and 26 would answer with their best 300 boxes, without class probabilities; fuse() then drops that branch
    last.end2end = False
    model.fuse(verbose=False)
    points = tuple(last.kpt_shape) if kind == "pose" else (0, 0)
    return _raw(model), Head(kind, len(classes), strides, int(last.reg_max), (int(points[0]), int(points[1])))


def make(
    arch: str, classes: Sequence[str], weights: str, config_dir: str | None
) -> tuple[torch.nn.Module, tuple[torch.Tensor, ...]]:
    """For `Network.build`: the network and an example input, uint8 (1, 640, 640, 3)."""
    import torch

    offline.ultralytics(Path(config_dir) if config_dir else None)
    module, head = checked(read(Path(weights)), arch, classes)
    side = EXAMPLE if head.kind != "classify" else network.CLASSIFIED_PX
    noise = torch.rand(1, 3, side // 16, side // 16, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.interpolate(noise, (side, side), mode="bilinear")
    return module, ((smooth * 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous(),)


def described(
    head: Head, arch: str, classes: Sequence[str], weights: Path, config: Path | None, version: str
) -> Network:
    """What `models.runtime.compiled` needs to build this network. `version`: of ultralytics."""
    told = f"{digest(weights)}|{arch}|{len(classes)}|{version}|{REVISION}"
    outputs = OUTPUTS[head.kind]
    sizes = {"protos": (2, 3)}
    varying = {name: sizes.get(name, (1,)) for name in outputs} if head.kind != "classify" else {}
    return Network(
        "groundlook.models.yolo.raw:make",
        {
            "arch": arch,
            "classes": list(classes),
            "weights": str(weights.resolve()),
            "config_dir": str(config.resolve()) if config else None,
        },
        sha256(told.encode()).hexdigest(),
        ("pictures",),
        outputs,
        {"pictures": (1, 2), **varying} if varying else {},
    )


def _raw(model: Any) -> torch.nn.Module:
    import torch
    from ultralytics.nn.modules.head import Classify, Pose26, Segment26

    class Raw(torch.nn.Module):  # type: ignore[misc]
        """See `OUTPUTS`. `pictures`: uint8 (N, H, W, 3) RGB, both sides multiples of the largest stride."""

        def __init__(self) -> None:
            super().__init__()
            self.layers, self.kept = model.model, frozenset(model.save)

        def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, ...]:
            x: Any = (pictures.float() / 255).permute(0, 3, 1, 2)
            seen: list[Any] = []
            for layer in self.layers:
                x = x if layer.f == -1 else _inputs(layer.f, x, seen)
                if layer is not self.layers[-1]:
                    x = layer(x)
                    seen.append(x if layer.i in self.kept else None)
            return _branches(self.layers[-1], x)

    def _inputs(source: int | list[int], x: Any, seen: list[Any]) -> Any:
        return seen[source] if isinstance(source, int) else [x if j == -1 else seen[j] for j in source]

    def _branches(head: Any, x: Any) -> tuple[torch.Tensor, ...]:
        if isinstance(head, Classify):
            return (head(x)[1],)
        parts: dict[str, Any] = dict(head.one2many)
        found = [_rows(parts.pop("box_head"), x), _rows(parts.pop("cls_head"), x)]
        said = head.forward_head(x, None, None, **parts)
        if "mask_coefficient" in said:
            found += [said["mask_coefficient"].transpose(1, 2), head.proto(x if isinstance(head, Segment26) else x[0])]
        elif "angle" in said:
            found.append(said["angle"].transpose(1, 2))
        elif "kpts" in said:
            scale = 1 if isinstance(head, Pose26) else 2
            found.append(_from_anchors(said["kpts"].transpose(1, 2), head.kpt_shape[1], scale))
        return tuple(found)

    def _rows(branches: Any, x: Any) -> torch.Tensor:
        """(N, A, ·), of the maps of all strides."""
        maps = (branch(one) for branch, one in zip(branches, x, strict=True))
        return torch.cat([one.permute(0, 2, 3, 1).flatten(1, 2) for one in maps], 1)

    def _from_anchors(points: torch.Tensor, each: int, scale: int) -> torch.Tensor:
        """Up to yolo12 a keypoint is 2 v − 0.5 strides from its anchor, in yolo26 it is v."""
        if scale == 1:
            return points
        moved = points * 2 - 0.5
        if each == 2:
            return moved
        place = torch.arange(points.shape[2]) % each == 2
        return torch.where(place.view(1, 1, -1).to(points.device), points, moved)

    return Raw().eval().requires_grad_(False)
