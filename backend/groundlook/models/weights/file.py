"""Weights in and out, without running anything that a file says: safetensors, state dicts, ultralytics checkpoints."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groundlook.core.errors import InvalidWeights
from groundlook.models.weights import pickled
from groundlook.models.weights.whole import write_whole

if TYPE_CHECKING:
    import torch

_ABOUT = "groundlook"
_SUFFIXES = (".safetensors", ".pt", ".pth")


@dataclass(frozen=True, slots=True)
class Weights:
    """What a weights file holds. `names`: its classes in order, `arch`: its network's yaml name; None where the file
    does not say. `founded`: its backbone learned from more than a project's own tiles. Tensors are on the CPU, floats
    are float32."""

    state: dict[str, torch.Tensor]
    names: tuple[str, ...] | None = None
    arch: str | None = None
    founded: bool = False


def digest(path: Path) -> str:
    """Sha256 of a file, in hex. Raises InvalidWeights where it can't be read."""
    seen = sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                seen.update(block)
    except OSError as error:
        raise InvalidWeights(f"weights {path} can't be read: {error.strerror or error}") from error
    return seen.hexdigest()


def check(path: Path, expected: str) -> None:
    """Raises InvalidWeights, naming both hashes, where the file is not the one that was meant."""
    found = digest(path)
    if found != expected.strip().lower():
        raise InvalidWeights(f"weights {path} have sha256 {found}, expected {expected}: fetch them again")


def read(path: Path, expected: str | None = None) -> Weights:
    """The weights at `path`; `expected` is the sha256 they must have.

    Takes .safetensors and .pt/.pth files: a plain state dict, or a full ultralytics checkpoint of which only tensors,
    class names and the network's name are taken. No code of a checkpoint runs. Raises InvalidWeights.
    """
    if not path.is_file():
        raise InvalidWeights(f"weights {path} don't exist: give the path of a file ending in {', '.join(_SUFFIXES)}")
    if expected:
        check(path, expected)
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix in _SUFFIXES:
        state, names, arch = pickled.read(path)
        return Weights(_floats(state, path), names, arch)
    raise InvalidWeights(f"weights {path}: {path.suffix or 'no suffix'} is not one of {', '.join(_SUFFIXES)}")


def save(path: Path, weights: Weights) -> Path:
    """Write `weights` as safetensors, names and network in its metadata; equal weights
    give equal bytes, and nobody ever sees half a file. Raises TrainingFailed where the disk is full."""
    from safetensors.torch import save as as_bytes

    # One entry only: safetensors writes several in random order, and equal weights must have equal hashes.
    about: dict[str, Any] = {"names": None if weights.names is None else list(weights.names), "arch": weights.arch}
    if weights.founded:
        about["founded"] = True
    # clone(): safetensors refuses tensors that share memory
    state = {name: value.detach().cpu().clone().contiguous() for name, value in weights.state.items()}
    return write_whole(path, as_bytes(state, {_ABOUT: json.dumps(about)}))


def is_founded(path: Path) -> bool:
    """Whether a backbone in the file at `path` learned from more than a project's own tiles: of what we trained it is
    noted, and it is what others trained (COCO, ImageNet) wherever it comes from."""
    from safetensors import SafetensorError, safe_open

    if path.suffix != ".safetensors":
        return True
    try:
        with safe_open(path, framework="numpy") as file:
            about = _about((file.metadata() or {}).get(_ABOUT))
    except (SafetensorError, OSError):
        return False  # whoever reads it will say so
    return bool(about.get("founded", not about))


def _read_safetensors(path: Path) -> Weights:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            about = _about((file.metadata() or {}).get(_ABOUT))
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError, ValueError) as error:
        raise InvalidWeights(f"weights {path} are no whole safetensors file ({error}): fetch them again") from error
    names, arch = about.get("names"), about.get("arch")
    return Weights(
        _floats(state, path),
        tuple(str(name) for name in names) if isinstance(names, list) else None,
        arch if isinstance(arch, str) else None,
    )


def _about(text: str | None) -> dict[str, Any]:
    """What `save` noted, nothing for a file that somebody else wrote."""
    try:
        about = json.loads(text) if text else {}
    except ValueError:
        return {}
    return about if isinstance(about, dict) else {}


def _floats(state: Mapping[str, torch.Tensor], path: Path) -> dict[str, torch.Tensor]:
    """Checkpoints are often half precision, which a CPU computes slowly or not at all. Raises InvalidWeights."""
    try:
        odd = next((name for name, value in state.items() if not _whole(value)), None)
        if odd is None:
            return {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
    except Exception as error:  # whatever torch raises for a tensor of a kind that no network has
        raise InvalidWeights(f"weights {path} hold tensors that can't be read ({error}): fetch them again") from error
    raise InvalidWeights(f"weights {path} claim more numbers than they hold, in {odd}: fetch them again")


def _whole(value: torch.Tensor) -> bool:
    """Whether every number of it is in the file: one that is repeated (stride 0) or described would fill any memory."""
    held = int(value.untyped_storage().nbytes())
    return str(value.device) == "cpu" and int(value.numel()) * int(value.element_size()) <= held
