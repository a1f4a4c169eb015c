"""How much of a network learns: its head only, or all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

Mode = Literal["auto", "frozen", "full"]
FEW = 16
"""Pictures below which "auto" freezes the backbone."""


def chosen(mode: Mode, pictures: int, started: bool) -> Literal["frozen", "full"]:
    """What "auto" means: the backbone stays as it came where it came from somewhere (`started`) and there are few
    pictures to learn from. A backbone of random numbers is never frozen, whatever was asked for."""
    if not started:
        return "full"
    if mode == "auto":
        return "frozen" if pictures < FEW else "full"
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
