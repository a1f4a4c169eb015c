"""A training in a process of its own: the side that computes. Started by parent.py."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import GroundlookError
from groundlook.core.process import die_with_parent, lower_priority, report
from groundlook.models.training import memory, modes, ranks
from groundlook.models.training.loop import Course
from groundlook.models.training.tensors import transfer
from groundlook.models.weights.file import Weights, read, save

if TYPE_CHECKING:
    import torch


def run(main: Callable[[dict[str, Any]], None]) -> None:
    """Be the child: read the spec that the command line names, and let `main` train. A sentence, not a traceback, for
    the person who reads what went wrong; a file for the parent where memory ran out."""
    die_with_parent()
    lower_priority(10)
    path = sys.argv[1]
    spec: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    try:
        with memory.watched(spec):
            _prepare(spec)
            with ranks.started(spec, path) as spec["world"]:
                main(spec)
    except GroundlookError as error:
        sys.exit(str(error))


def _prepare(spec: dict[str, Any]) -> None:
    import torch

    torch.set_num_threads(int(spec["threads"] or max(1, cores() - 1)))
    torch.manual_seed(spec["seed"])
    spec["device"] = spec["device"] or ("cuda" if torch.cuda.is_available() else "cpu")
    if spec["device"].startswith("cuda"):
        torch.use_deterministic_algorithms(True, warn_only=True)


def begin(module: torch.nn.Module, spec: dict[str, Any], prefix: str) -> torch.nn.Module:
    """The network on its device, from the start weights where they fit, its encoder frozen where the spec says so.
    `prefix`: the encoder's name in it, so that a plain backbone's weights fit, too."""
    if spec["start"]:
        fitted, total = transfer(module, read(Path(spec["start"])).state, prefix)
        report(0.0, f"{fitted} of {total} tensors start from {Path(spec['start']).name}")
    spec["frozen"] = prefix if spec["mode"] == "frozen" else ""
    if spec["frozen"]:
        modes.freeze(module, prefix)
    if spec["world"] > 1 and spec["device"] == "cuda":
        spec["device"] = f"cuda:{ranks.rank()}"
    return module.to(spec["device"])


def end(module: torch.nn.Module, spec: dict[str, Any], course: Course) -> None:
    """Write the weights, and report where."""
    import torch

    state = module.state_dict()
    if not all(torch.isfinite(value).all() for value in state.values() if value.is_floating_point()):
        sys.exit(f"the training diverged (weights that are not finite): take a lower rate than {spec['rate']}")
    if ranks.rank():
        return
    path = save(Path(spec["weights"]), Weights(state, tuple(spec["labels"]), spec["arch"], spec["founded"]))
    report(1.0, "trained", {"weights": str(path), "epochs": course.epoch, "loss": course.loss})


def lit(picture: NDArray[np.uint8], rng: np.random.Generator | None, strength: float = 0.2) -> NDArray[np.float32]:
    """The picture in another light, float32 0…255: contrast and brightness of each band changed by up to `strength`;
    in its own without `rng`."""
    if rng is None:
        return picture.astype(np.float32)
    contrast = 1 + rng.uniform(-strength, strength) + rng.uniform(-strength, strength, 3) / 4
    shift = 255 * (rng.uniform(-strength, strength) + rng.uniform(-strength, strength, 3) / 4) / 2
    middle = picture.mean()
    changed: NDArray[np.float32] = np.clip((picture - middle) * contrast + middle + shift, 0, 255).astype(np.float32)
    return changed


def way(rng: np.random.Generator | None) -> int:
    """One of `turned`'s, 0 without `rng`."""
    return 0 if rng is None else int(rng.integers(8))


def turned(array: NDArray[Any], way: int) -> NDArray[Any]:
    """One of the eight ways (0…7) to look at the ground; x and y are the last two axes. There is no "up" there."""
    array = np.rot90(array, way % 4, axes=(-2, -1))
    return (array[..., ::-1] if way >= 4 else array).copy()


def cores() -> int:
    """Of the machine, those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
