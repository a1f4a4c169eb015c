"""A training in a process of its own: the side that computes. Started by parent.py."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import GroundlookError
from groundlook.core.process import die_with_parent, lower_priority, report
from groundlook.models.training.tensors import transfer
from groundlook.models.weights.file import Weights, read, save

if TYPE_CHECKING:
    import torch

_DECAY, _CLIP, _WARM = 0.01, 5.0, 0.05

Batch = tuple[Sequence[Path], np.random.Generator]
"""Files of the spool, and the randomness to change their pictures with."""


def run(main: Callable[[dict[str, Any]], None]) -> None:
    """Be the child: read the spec that the command line names, and let `main` train. A sentence, not a traceback, for
    the person who reads what went wrong."""
    die_with_parent()
    lower_priority(10)
    spec: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    import torch

    torch.set_num_threads(int(spec["threads"] or max(1, _cores() - 1)))
    torch.manual_seed(spec["seed"])
    spec["device"] = spec["device"] or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        main(spec)
    except GroundlookError as error:
        sys.exit(str(error))


def begin(module: torch.nn.Module, spec: dict[str, Any], prefix: str) -> torch.nn.Module:
    """The network on its device, from the start weights where they fit. `prefix`: the encoder's name in it, so that
    a plain backbone's weights fit, too."""
    if spec["start"]:
        fitted, total = transfer(module, read(Path(spec["start"])).state, prefix)
        report(0.0, f"{fitted} of {total} tensors start from {Path(spec['start']).name}")
    return module.to(spec["device"])


def fit(module: torch.nn.Module, spec: dict[str, Any], loss_of: Callable[[Batch], torch.Tensor]) -> float:
    """Train with AdamW, a short warm-up and a cosine to zero; return the last epoch's mean loss. `loss_of`: the loss of
    a batch, with its graph. Ends the process with a sentence where it is not finite."""
    import torch

    files = sorted(Path(spec["data"]).glob("*.npz"))
    rng = np.random.default_rng(spec["seed"])
    size, epochs = int(spec["batch"]), int(spec["epochs"])
    steps = -(-len(files) // size)
    optimizer = torch.optim.AdamW(module.parameters(), lr=spec["rate"], weight_decay=_DECAY)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _curve(steps * epochs))
    module.train()
    mean = 0.0
    for epoch in range(epochs):
        order = rng.permutation(len(files))
        # Full batches only, filled up from the front: a batch norm can't learn from one picture.
        order = np.resize(order, max(steps * size, 2))
        losses = []
        for chosen in np.array_split(order, steps):
            loss = loss_of(([files[i] for i in chosen], rng))
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(module.parameters(), _CLIP)
            optimizer.step()
            schedule.step()
            losses.append(float(loss.detach()))
        mean = float(np.mean(losses))
        if not math.isfinite(mean):
            sys.exit(f"the training diverged (loss {mean} in epoch {epoch + 1}): take a lower rate than {spec['rate']}")
        report((epoch + 1) / epochs * 0.98, f"epoch {epoch + 1} of {epochs}, loss {mean:.3f}")
    return mean


def end(module: torch.nn.Module, spec: dict[str, Any], loss: float) -> None:
    """Write the weights, and report where."""
    import torch

    state = module.state_dict()
    if not all(torch.isfinite(value).all() for value in state.values() if value.is_floating_point()):
        sys.exit(f"the training diverged (weights that are not finite): take a lower rate than {spec['rate']}")
    path = save(Path(spec["weights"]), Weights(state, tuple(spec["labels"]), spec["arch"]))
    report(1.0, "trained", {"weights": str(path), "epochs": spec["epochs"], "loss": loss})


def lit(picture: NDArray[np.uint8], rng: np.random.Generator, strength: float = 0.2) -> NDArray[np.float32]:
    """The picture in another light, float32 0…255: contrast and brightness of each band changed by up to `strength`."""
    contrast = 1 + rng.uniform(-strength, strength) + rng.uniform(-strength, strength, 3) / 4
    shift = 255 * (rng.uniform(-strength, strength) + rng.uniform(-strength, strength, 3) / 4) / 2
    middle = picture.mean()
    changed: NDArray[np.float32] = np.clip((picture - middle) * contrast + middle + shift, 0, 255).astype(np.float32)
    return changed


def turned(array: NDArray[Any], way: int) -> NDArray[Any]:
    """One of the eight ways (0…7) to look at the ground; x and y are the last two axes. There is no "up" there."""
    array = np.rot90(array, way % 4, axes=(-2, -1))
    return (array[..., ::-1] if way >= 4 else array).copy()


def _curve(steps: int) -> Callable[[int], float]:
    warm = max(1, round(_WARM * steps))

    def share(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))

    return share


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
