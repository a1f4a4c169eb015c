"""Weights of the family: which architecture they are of, and whether they are whole."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from groundlook.core.errors import InvalidWeights
from groundlook.models.sam.architectures import ARCHS, ONNX
from groundlook.models.weights.file import read

if TYPE_CHECKING:
    import torch

Shapes = Mapping[str, tuple[int, ...]]


@cache
def shapes(arch: str) -> Shapes:
    """Name → shape of every tensor of `arch`. Nothing is allocated. Raises InvalidWeights for an unknown name."""
    if arch not in ARCHS:
        raise InvalidWeights(f"there is no SAM {arch!r}; there are: {', '.join(ARCHS)}")
    import torch

    with torch.device("meta"):
        return {name: tuple(value.shape) for name, value in ARCHS[arch].build().state_dict().items()}


def read_fitting(path: Path, arch: str = "", sha256: str = "") -> tuple[str, dict[str, torch.Tensor]]:
    """(architecture, its tensors) of the weights at `path`, read without running them (`weights.file.read`).

    `arch`: what they must be, "" to go by the shapes. Raises InvalidWeights that names the first tensor that does not
    fit and the architecture that would, or the first with a number that is not finite.
    """
    given = read(path, sha256 or None)
    found = {name: tuple(value.shape) for name, value in given.state.items()}
    chosen = arch or given.arch or _nearest(found)
    if (misfit := _misfit(chosen, found)) is not None:
        fits = next((name for name in ARCHS if name != ONNX and _misfit(name, found) is None), None)
        remedy = f"they fit {fits}: name that" if fits else f"they are of none of {', '.join(ARCHS)}"
        raise InvalidWeights(f"weights {path} don't fit SAM {chosen}: {misfit}; {remedy}")
    wanted = shapes(chosen)
    for name in wanted:
        value = given.state[name]
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise InvalidWeights(f"weights {path} hold numbers that are not finite, in {name}: fetch them again")
    return chosen, {name: given.state[name] for name in wanted}


def _nearest(found: Shapes) -> str:
    """The architecture of which the largest share of tensors fits; the first of equals."""
    named = [name for name in ARCHS if name != ONNX]  # its decoder is in each of the large ones
    return max(named, key=lambda arch: _share(shapes(arch), found))


def _share(wanted: Shapes, found: Shapes) -> float:
    return sum(found.get(name) == shape for name, shape in wanted.items()) / max(len(wanted), len(found), 1)


def _misfit(arch: str, found: Shapes) -> str | None:
    """What of the tensors does not fit `arch`; None if they all do. Of "onnx", whose encoder is a file of its own,
    encoder tensors are passed over."""
    wanted = shapes(arch)
    for name, shape in wanted.items():
        if found.get(name) != shape:
            return f"{name} is missing" if name not in found else f"{name} is {found[name]}, not {shape}"
    passed = "image_encoder." if arch == ONNX else ()
    extra = next((name for name in found if name not in wanted and not name.startswith(passed)), None)
    return None if extra is None else f"it has no {extra}"
