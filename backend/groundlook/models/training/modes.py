"""How much of a network learns: its head only, or all of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from groundlook.models.weights.file import is_founded

if TYPE_CHECKING:
    import torch

Mode = Literal["auto", "frozen", "full"]
FEW = 150
"""Pictures below which "auto" freezes the backbone. On OpenAerialMap buildings (sites 1, 4 and 5, tested on 2 and 3,
COCO start of yolov5n, one or two seeds) 16 tiles give mAP50 .38 and .30 with the head only and .36 and .24 with all
of it, 48 tiles .41 and .40, and .39 and .34, 144 tiles .43 and .35. More were not measured, nor other networks."""


def chosen(mode: Mode, pictures: int, start: Path | None) -> Literal["frozen", "full"]:
    """What "auto" means: the backbone stays as it came where it learned elsewhere, from more than a project's tiles,
    and there are few pictures to learn from. One of random numbers is never frozen, whatever was asked for."""
    if start is None:
        return "full"
    if mode == "auto":
        return "frozen" if pictures < FEW and is_founded(start) else "full"
    return mode


def freeze(module: torch.nn.Module, prefix: str) -> None:
    """Keep the parameters below `prefix` as they are."""
    for name, parameter in module.named_parameters():
        if name.startswith(prefix):
            parameter.requires_grad = False


def learning(module: torch.nn.Module, frozen: str, still: bool = False) -> None:
    """Set `module` to learn; batch norms below `frozen` keep the statistics that they came with ("" for none), all of
    them where `still`: for pictures that are measured, or come alone."""
    from torch import nn

    module.train()
    quiet = (nn.modules.batchnorm._BatchNorm, nn.Dropout, nn.Dropout2d)
    for name, part in module.named_modules():
        below = bool(frozen) and f"{name}.".startswith(frozen)
        if isinstance(part, quiet) and (still or below):
            part.eval()
