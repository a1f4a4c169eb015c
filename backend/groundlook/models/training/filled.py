"""A network of ours with a user's tensors in it: what the models that predict with one have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from groundlook.core.types import ModelCard
from groundlook.models.labels import map_classes
from groundlook.models.training.tensors import load_strictly, named
from groundlook.models.weights.file import read

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Filled:
    """`module` predicts on `device`. `labels`: the project's; `classes`: for each of the network's, in order, the place
    of its label, None where it has none."""

    module: torch.nn.Module
    labels: tuple[str, ...]
    classes: tuple[int | None, ...]
    device: str


def filled(
    build: Callable[[str, int], torch.nn.Module],
    card: ModelCard,
    weights: Path,
    labels: Sequence[str] | None,
    mapping: Mapping[str, str] | None,
    device: str | None,
) -> Filled:
    """What `build(arch, classes)` makes, with the tensors at `weights`, checked against `card.sha256` where that is
    given; what the card leaves empty, the file must say. `labels`: by default the network's classes; `mapping`: see
    `labels.map_classes`; `device`: by default CUDA where there is one. Raises InvalidWeights, InvalidConfig,
    InvalidInput."""
    import torch

    content = read(weights, card.sha256 or None)
    arch, names = named(card, content, weights)
    wanted = tuple(labels if labels is not None else names)
    classes = map_classes(names, wanted, mapping)
    module = build(arch, len(names))
    load_strictly(module, content.state, arch, len(names))
    place = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return Filled(module.eval().requires_grad_(False).to(place), wanted, classes, place)
