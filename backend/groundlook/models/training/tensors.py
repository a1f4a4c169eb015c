"""Tensors of a file into a network: those that fit, or all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from groundlook.core.errors import InvalidWeights

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from groundlook.core.types import ModelCard
    from groundlook.models.weights.file import Weights


def named(card: ModelCard, content: Weights, path: Path) -> tuple[str, tuple[str, ...]]:
    """The network's name and its classes: what the card leaves empty, the file must say. Raises InvalidWeights."""
    arch, classes = card.arch or content.arch or "", card.labels or content.names or ()
    if not arch or not classes:
        what = "network: give its arch" if not arch else "classes: give them in their order"
        raise InvalidWeights(f"weights {path} don't name their {what}")
    return arch, classes


def transfer(module: torch.nn.Module, state: Mapping[str, torch.Tensor], prefix: str = "") -> tuple[int, int]:
    """Copy the tensors of `state` whose name, or name after `prefix`, and shape fit into `module`; return how many
    fitted, of how many it has. Raises InvalidWeights when none fits."""
    own = module.state_dict()
    fitting = {}
    for name, value in state.items():
        for candidate in (name, prefix + name):
            if candidate in own and own[candidate].shape == value.shape:
                fitting[candidate] = value
    if not fitting:
        raise InvalidWeights(
            f"none of the {len(state)} tensors of the weights fits the network's {len(own)}: "
            "start from weights of the same architecture, or from none"
        )
    module.load_state_dict(fitting, strict=False)
    return len(fitting), len(own)


def load_strictly(module: torch.nn.Module, state: Mapping[str, torch.Tensor], arch: str, classes: int) -> None:
    """Load every tensor, or raise InvalidWeights that names the first that does not fit or is not finite."""
    own = module.state_dict()
    for name, value in own.items():
        given = state.get(name)
        if given is None or given.shape != value.shape:
            found = "is missing" if given is None else f"is {tuple(given.shape)}, not {tuple(value.shape)}"
            raise InvalidWeights(f"the weights don't fit {arch} with {classes} classes: {name} {found}; check both")
        if given.is_floating_point() and not bool(given.isfinite().all()):
            raise InvalidWeights(f"the weights hold numbers that are not finite, in {name}: fetch or train them again")
    extra = sorted(state.keys() - own.keys())
    if extra:
        raise InvalidWeights(f"the weights have {len(extra)} tensors that {arch} lacks, the first is {extra[0]!r}")
    module.load_state_dict(dict(state))
