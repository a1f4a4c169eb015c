"""The one loop of all networks of ours: epochs, early stop, checkpoints, one or several processes."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from groundlook.core.process import report
from groundlook.models.training import balance, checkpoint, memory, modes, ranks

if TYPE_CHECKING:
    import torch

_DECAY, _CLIP, _WARM = 0.01, 5.0, 0.05

Batch = Sequence[tuple[Path, np.random.Generator | None]]
"""Files of the spool, each with the randomness to change its picture with; None: as it is, to be measured."""
Loss = Callable[[Any, Batch], "torch.Tensor"]
"""(network, batch) → its mean loss, with its graph."""


@dataclass(slots=True)
class Course:
    """Where a training stands: `epoch`s done, the last one's mean `loss`; of the pictures set aside the `best` mean
    loss, after which epoch, and the weights then; None where none are."""

    epoch: int = 0
    loss: float = 0.0
    best: float = math.inf
    best_epoch: int = 0
    state: dict[str, Any] | None = None

    def stopped(self, patience: int) -> bool:
        """Whether nothing got better for `patience` epochs."""
        return self.state is not None and self.epoch - self.best_epoch >= patience


def fit(module: torch.nn.Module, spec: dict[str, Any], loss_of: Loss) -> Course:
    """Train with AdamW, a short warm-up and a cosine to zero; leave the best epoch's weights in `module`, the last's
    where nothing is set aside.

    A batch is computed `spec["micro"]` pictures at a time, and stepped with as a whole. Goes on after the epoch of a
    checkpoint of the same training. Ends the process with a sentence where the loss is not finite.
    """
    import torch

    files = sorted(Path(spec["data"]).glob("*.npz"))
    aside = [files[i] for i in spec["aside"]]
    learn = [i for i in range(len(files)) if i not in set(spec["aside"])]
    factor = np.asarray(spec["factors"], dtype=np.float64)[learn]
    optimizer = torch.optim.AdamW(
        [p for p in module.parameters() if p.requires_grad], lr=spec["rate"], weight_decay=_DECAY
    )
    key = checkpoint.key_of(spec)
    course = _resumed(module, optimizer, spec, key)
    network = ranks.spread(module, spec)
    memory.limit(spec["memory"])
    epochs, last = int(spec["epochs"]), time.monotonic()
    while course.epoch < epochs and not course.stopped(spec["patience"]):
        # An epoch's randomness is its own: whoever starts here draws what the others would have.
        torch.manual_seed(spec["seed"] * 1_000_003 + course.epoch * 1009 + ranks.rank())
        order = balance.order(factor, np.random.default_rng([spec["seed"], course.epoch]))
        course.loss = _epoch(module, network, optimizer, spec, [files[learn[i]] for i in order], course.epoch, loss_of)
        course.epoch += 1
        if not math.isfinite(course.loss):
            sys.exit(
                f"the training diverged (loss {course.loss} in epoch {course.epoch}): "
                f"take a lower rate than {spec['rate']}"
            )
        said = _measured(module, spec, course, aside, loss_of)
        if time.monotonic() - last >= spec["keep"] and course.epoch < epochs and not ranks.rank():
            checkpoint.keep(Path(spec["checkpoint"]), key, _standing(module, optimizer, course))
            last = time.monotonic()
        report(course.epoch / epochs * 0.98, f"epoch {course.epoch} of {epochs}, loss {course.loss:.3f}{said}")
    if course.state is not None:
        if course.best_epoch < course.epoch:
            report(0.98, f"epoch {course.best_epoch} was the best on the {len(aside)} pictures set aside")
        module.load_state_dict(course.state)
    return course


def _epoch(
    module: Any,
    network: Any,
    optimizer: torch.optim.Optimizer,
    spec: dict[str, Any],
    files: list[Path],
    epoch: int,
    loss_of: Loss,
) -> float:
    """Every one of `files` once, in this order; the mean loss."""
    import torch

    size, world = int(spec["batch"]), int(spec["world"])
    size = -(-size // world) * world
    steps = -(-len(files) // size)
    # Full batches only, filled up from the front: a batch norm can't learn from one picture.
    places = np.resize(np.arange(len(files)), max(steps * size, 2))
    modes.learning(module, spec["frozen"], still=spec["micro"] == 1)
    losses = []
    for step, chosen in enumerate(np.array_split(places, steps)):
        rate = spec["rate"] * _share(epoch * steps + step, steps * spec["epochs"])
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad()
        mine = chosen[ranks.rank() :: world]
        total = 0.0
        for part in np.array_split(mine, -(-len(mine) // spec["micro"])):
            batch = [(files[i], np.random.default_rng([spec["seed"], epoch, step, i])) for i in part.tolist()]
            with _precision(spec["device"]):
                loss = loss_of(network, batch) * (len(part) / len(mine))
            loss.backward()
            total += float(loss.detach())
        torch.nn.utils.clip_grad_norm_(network.parameters(), _CLIP)
        optimizer.step()
        losses.append(total)
    return float(np.mean(losses))


def _measured(module: Any, spec: dict[str, Any], course: Course, aside: list[Path], loss_of: Loss) -> str:
    """Note the mean loss on what is set aside, and the weights where it is the best so far; say it. Every process
    measures the same, so that all stop at the same epoch."""
    import torch

    if not aside:
        return ""
    modes.learning(module, spec["frozen"], still=True)
    total = 0.0
    with torch.no_grad(), torch.random.fork_rng(), _precision(spec["device"]):
        torch.manual_seed(spec["seed"])  # (a detector draws which anchors it looks at)
        for part in np.array_split(np.arange(len(aside)), -(-len(aside) // spec["micro"])):
            total += float(loss_of(module, [(aside[i], None) for i in part])) * len(part)
    found = total / len(aside)
    if found < course.best:
        state = {name: value.detach().cpu().clone() for name, value in module.state_dict().items()}
        course.best, course.best_epoch, course.state = found, course.epoch, state
    return f", {found:.3f} on {len(aside)} pictures set aside"


def _standing(module: Any, optimizer: torch.optim.Optimizer, course: Course) -> dict[str, Any]:
    return {
        "module": module.state_dict(),
        "optimizer": optimizer.state_dict(),
        "course": [course.epoch, course.loss, course.best, course.best_epoch, course.state],
    }


def _resumed(module: Any, optimizer: torch.optim.Optimizer, spec: dict[str, Any], key: str) -> Course:
    found = checkpoint.kept(Path(spec["checkpoint"]), key)
    if found is None:
        return Course()
    module.load_state_dict(found["module"])
    optimizer.load_state_dict(found["optimizer"])
    course = Course(*found["course"])
    report(course.epoch / spec["epochs"] * 0.98, f"goes on after epoch {course.epoch} of {spec['epochs']}")
    return course


def _precision(device: str) -> Any:
    """bfloat16 where a GPU computes it, which needs no scaling of the loss; float32 elsewhere."""
    import torch

    fast = device.startswith("cuda") and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.autocast("cuda" if fast else "cpu", torch.bfloat16, enabled=fast)


def _share(step: int, steps: int) -> float:
    """Of the highest rate: a short rise, then a cosine to zero."""
    warm = max(1, round(_WARM * steps))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
