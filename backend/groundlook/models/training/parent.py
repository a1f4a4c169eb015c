"""A training in a process of its own: the side that waits for it."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from groundlook.core.errors import InvalidWeights, TrainingFailed
from groundlook.core.ports import Progress
from groundlook.core.process import run_child

_SIDE = 256


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train. `epochs`: None for enough for the size of the set. `seed`: same seed, same examples, same weights
    on one machine with as many threads. `threads`: of the process, by default all cores but one, which is for the
    people who work meanwhile. `device`: "cpu", "cuda", or "" for CUDA where there is one. `largest`: side in px beyond
    which a tile is cut. `batch`: pictures a step; `rate`: AdamW's highest learning rate."""

    epochs: int | None = None
    seed: int = 0
    threads: int | None = None
    device: str = ""
    largest: int = 512
    batch: int = 8
    rate: float = 1e-3


def epochs(pictures: int, side: int, budget: float, least: int = 8, most: int = 120) -> int:
    """How often to show every picture, so that a training takes about as long whatever their number and size: `budget`
    pictures of 256 px in all, within bounds."""
    shown = budget / max(pictures, 1) * min(1.0, (_SIDE / side) ** 2 * 2)
    return round(min(max(shown, least), most))


def train_in_child(
    module: str,
    arch: str,
    start: Path | None,
    out: Path,
    progress: Progress,
    prepare: Callable[[Path], dict[str, Any]],
) -> Path:
    """Run `python -m module spec.json` on what `prepare(folder)` wrote; return `out`/weights.safetensors.

    `prepare` returns the spec's own part, with "message": a sentence about the set. An error raised by `progress` ends
    the child. Raises TrainingFailed with the child's last lines, InvalidWeights where `start` is missing.
    """
    if start is not None and not start.is_file():
        raise InvalidWeights(f"start weights {start} don't exist: give another path, or none")
    out.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=out, prefix=".train-"))
    try:
        spec = {
            **prepare(work / "data"),
            "arch": arch,
            "data": str(work / "data"),
            "start": str(start.resolve()) if start else None,
            "weights": str((out / "weights.safetensors").resolve()),
        }
        (work / "spec.json").write_text(json.dumps(spec), encoding="utf-8")
        progress(0.0, str(spec["message"]))
        # Waiting threads that spin are ruinous beside other work (models/yolo/train.py).
        result = run_child(module, [str(work / "spec.json")], progress, {"OMP_WAIT_POLICY": "PASSIVE"})
    finally:
        shutil.rmtree(work, ignore_errors=True)
    path = Path(str(result.get("weights", "")))
    if not path.is_file():
        raise TrainingFailed(f"the training of {arch} ended without weights at {path}: try again")
    return path
