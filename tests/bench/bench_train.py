"""`groundlook bench train`: what fine-tuning costs here and in ultralytics' own loop, on the same pictures.

Both sides run in a process of their own, one thread, same network, same arguments, batch, epochs and workers (none), in
turns. Seconds are the processor's: our training lowers its priority, so that on a busy machine the clock would tell of
others. An epoch is the median between two ends of epochs, so that neither side's start counts; all of it is from the
call to the weights on disk, pictures written and start included. The peer's first rows do without its validation (as
ours, which the gate does) and checkpoints (of ours there is one every ten seconds); its second are what
`YOLO(…).train()` does unasked.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil

from groundlook.core.geo import Tile
from groundlook.core.geometry import Box
from groundlook.core.types import Region
from groundlook.models.yolo import dataset, recipe
from groundlook.models.yolo.train import YoloTrainer
from groundlook.service.bench import Goal, Result

ARCH, LABELS = "yolov5n.yaml", ("roof",)
CHILD = "groundlook.models.yolo.train_child"
PEER = """
import json, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
spec = json.loads(sys.argv[1])
from groundlook.models.yolo import offline
offline.ultralytics(Path(spec.pop("config")), 1)
from ultralytics import YOLO
model = YOLO(spec.pop("arch"))
model.add_callback("on_fit_epoch_end", lambda trainer: print("@epoch", flush=True))
model.train(**spec)
"""


def run(quick: bool) -> Iterator[Result]:
    """The epoch and the whole, against both ways of the peer."""
    side, count, epochs, repeats = (96, 16, 4, 1) if quick else (256, 48, 6, 3)
    examples = [_roofs(i, side) for i in range(count)]
    ours: list[tuple[float, float]] = []
    peers: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    with tempfile.TemporaryDirectory(prefix="groundlook-bench-") as folder:
        for turn in range(repeats):
            work = Path(folder) / str(turn)
            sides = [lambda w=work: ours.append(_ours(examples, epochs, w / "ours"))]
            sides += [lambda w=work, v=v: peers[v].append(_peer(examples, epochs, v, w / f"peer{v}")) for v in peers]
            for one in sides if turn % 2 == 0 else sides[::-1]:
                one()
    what = f"{count} pictures of {side} px, {epochs} epochs"
    for val, name in ((False, "ultralytics, val, save = False"), (True, "ultralytics, its defaults")):
        for k, case in enumerate((f"an epoch, {what}", f"all of it, {what}")):
            mine, theirs = [row[k] for row in ours], [row[k] for row in peers[val]]
            yield Result(
                case, median(mine), "CPU s", Goal("ratio", "<", 1.05), repeats, median(theirs), name, min(mine)
            )


def _ours(examples: list[tuple[Tile, list[Region]]], epochs: int, out: Path) -> tuple[float, float]:
    """Processor seconds of an epoch, and of all."""
    ends: list[float] = []

    def progress(fraction: float, message: str) -> None:
        if message.startswith("epoch"):
            ends.append(_used(trainer()))

    started = _all()
    YoloTrainer(ARCH, epochs=epochs, threads=1, device="cpu", patience=0).train(examples, LABELS, None, out, progress)
    return _epoch(ends), _all() - started


def _peer(examples: list[tuple[Tile, list[Region]]], epochs: int, val: bool, out: Path) -> tuple[float, float]:
    """The same of ultralytics' own. Its pictures are written by ours, in its time, too."""
    started = _all()
    out.mkdir(parents=True)
    written = dataset.write(examples, LABELS, out / "data")
    same: dict[str, Any] = {"workers": 0, "plots": False, "cache": "ram", "amp": False, "device": "cpu", "seed": 0}
    own = {"data": str(written.yaml), "imgsz": written.side, "epochs": epochs, "project": str(out), "name": "run"}
    spec = {**recipe.arguments(), **same, **own, "val": val, "save": val, "arch": ARCH, "config": str(out / "config")}
    command = [sys.executable, "-c", PEER, json.dumps(spec)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:
        process = psutil.Process(child.pid)
        ends = [_used(process) for line in child.stdout or () if line.startswith("@epoch")]
    if child.returncode:
        raise RuntimeError(f"the peer ended with code {child.returncode}")
    return _epoch(ends[:epochs]), _all() - started


def trainer() -> psutil.Process:
    """The process that trains; this one may have other children."""
    for child in psutil.Process().children():
        with suppress(psutil.Error):  # one that ends just now
            if CHILD in child.cmdline():
                return child
    raise RuntimeError("no process of ours trains")


def _used(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _all() -> float:
    """Of this process and of its children that ended."""
    return sum(
        r.ru_utime + r.ru_stime for r in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def _epoch(ends: list[float]) -> float:
    return median(late - early for early, late in pairwise(ends))


def _roofs(seed: int, side: int) -> tuple[Tile, list[Region]]:
    """Grass with three bright roofs."""
    rng = np.random.default_rng(seed)
    pixels = rng.normal((70, 110, 60), 12, (side, side, 3))
    regions = []
    for _ in range(3):
        w, h = (int(v) for v in rng.integers(side // 8, side // 4, 2))
        x, y = (int(v) for v in rng.integers(0, side - side // 4, 2))
        pixels[y : y + h, x : x + w] = rng.normal((190, 90, 70), 8, (h, w, 3))
        regions.append(Region(Box(float(x), float(y), float(w), float(h)), "roof"))
    return Tile(np.clip(pixels, 0, 255).astype(np.uint8)), regions
