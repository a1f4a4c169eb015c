"""A training in a process of its own: the side that waits for it."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from groundlook.core.errors import Cancelled, InvalidWeights, TrainingFailed
from groundlook.core.ports import Progress
from groundlook.core.process import run_child
from groundlook.models.training import balance
from groundlook.models.training.aside import set_aside
from groundlook.models.training.modes import Mode
from groundlook.models.weights.file import is_founded

KEEP = 10.0
"""Seconds between two checkpoints: what a kill costs at most, beside the epoch that it ends."""
_SIDE = 256
_LEAST_PATIENCE = 5
_REPEATABLE = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
"""What cuBLAS needs to compute the same twice."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train. `epochs`: None for enough for the size of the set. `seed`: same seed, same examples, same weights
    on one machine with as many threads. `threads`: of the process, by default all cores but one, which is for the
    people who work meanwhile. `device`: "cpu", "cuda", or "" for CUDA where there is one. `largest`: side in px beyond
    which a tile is cut. `batch`: pictures a step; `rate`: AdamW's highest learning rate. `mode`: "frozen" lets the
    head learn only, "full" everything; "auto" by the number of pictures. `patience`: epochs without getting better
    after which it ends, where pictures are set aside to see that; None for a third of the epochs, 0 sets none aside.
    `keep`: least seconds between two checkpoints. `memory`: bytes that learning may take beyond what
    its libraries and the network do. `processes`: by default one
    for each GPU."""

    epochs: int | None = None
    seed: int = 0
    threads: int | None = None
    device: str = ""
    largest: int = 512
    batch: int = 8
    rate: float = 1e-3
    mode: Mode = "auto"
    patience: int | None = None
    keep: float = KEEP
    memory: int | None = None
    processes: int | None = None


def epochs(pictures: int, side: int, budget: float, least: int = 8, most: int = 120) -> int:
    """How often to show every picture, so that a training takes about as long whatever their number and size: `budget`
    pictures of 256 px in all, within bounds."""
    shown = budget / max(pictures, 1) * min(1.0, (_SIDE / side) ** 2 * 2)
    return round(min(max(shown, least), most))


def shown(recipe: Recipe, places: Sequence[Hashable], classes: Sequence[Collection[int]]) -> dict[str, Any]:
    """The spec's part that says which pictures are shown how often, and which are set aside."""
    aside = [] if recipe.patience == 0 else set_aside(places, classes, recipe.seed)
    return {"aside": aside, "factors": balance.factors(classes).tolist()}


def train_in_child(
    module: str,
    arch: str,
    start: Path | None,
    out: Path,
    progress: Progress,
    prepare: Callable[[Path], dict[str, Any]],
    env: Callable[[Path], Mapping[str, str]] | None = None,
) -> Path:
    """Run `python -m module spec.json` on what `prepare(folder)` wrote; return `out`/weights.safetensors.

    `prepare` returns the spec's own part: "message", a sentence about the set; "batch", "epochs", "patience",
    "memory". `env`: what the process's environment holds besides, made of its folder.

    Where memory runs out, half as many pictures are computed at a time, a step stays as large, and `progress` is told.
    A checkpoint stays in `out` until there are weights, so that a training that was killed goes on; not of one that
    was cancelled. An error raised by `progress` ends the child. Raises TrainingFailed with the child's last lines,
    InvalidWeights where `start` is missing.
    """
    if start is not None and not start.is_file():
        raise InvalidWeights(f"start weights {start} don't exist: give another path, or none")
    out.mkdir(parents=True, exist_ok=True)
    for left in out.glob(".train-*"):  # by one that was killed
        shutil.rmtree(left, ignore_errors=True)
    work = Path(tempfile.mkdtemp(dir=out, prefix=".train-"))
    checkpoint = out / "checkpoint.pt"
    try:
        spec = {
            "arch": arch,
            **prepare(work / "data"),
            "module": module,
            "data": str(work / "data"),
            "start": str(start.resolve()) if start else None,
            "founded": start is not None and is_founded(start),
            "weights": str((out / "weights.safetensors").resolve()),
            "checkpoint": str(checkpoint.resolve()),
            "short": str(work / "short-of-memory"),
        }
        spec["patience"] = spec["patience"] or max(_LEAST_PATIENCE, -(-spec["epochs"] // 3))
        progress(0.0, str(spec["message"]))
        # Waiting threads that spin are ruinous beside other work: on two busy cores, 5.1 s an epoch instead of 0.3.
        environment = {"OMP_WAIT_POLICY": "PASSIVE", **_REPEATABLE, **(env(work) if env else {})}
        result = _run(spec, work, _rising(progress), environment)
        path = Path(str(result.get("weights", "")))
        if not path.is_file():
            raise TrainingFailed(f"the training of {arch} ended without weights at {path}: try again")
        checkpoint.unlink(missing_ok=True)
    except Cancelled:
        checkpoint.unlink(missing_ok=True)
        raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return path


def _run(spec: dict[str, Any], work: Path, progress: Progress, env: Mapping[str, str]) -> dict[str, Any]:
    """The child's result; again with half as many pictures at a time as long as memory runs out."""
    micro, short = int(spec["batch"]), Path(spec["short"])
    while True:
        (work / "spec.json").write_text(json.dumps({**spec, "micro": micro}), encoding="utf-8")
        try:
            return run_child(spec["module"], [str(work / "spec.json")], progress, env)
        except TrainingFailed as error:
            if not short.exists():
                raise
            if micro == 1:
                raise TrainingFailed(
                    f"{spec['arch']} ran out of memory with one picture at a time: free some, give it more, cut tiles "
                    f"smaller, or take a smaller network ({error})"
                ) from error
        short.unlink()
        progress(0.0, f"out of memory with {micro} pictures at a time: goes on with {micro // 2}, steps stay as large")
        micro //= 2


def _rising(progress: Progress) -> Progress:
    """`progress`, which a second start does not set back."""
    most = 0.0

    def told(fraction: float, message: str) -> None:
        nonlocal most
        most = max(most, fraction)
        progress(most, message)

    return told
