"""Every runtime that may serve a network, tried in child processes."""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from groundlook.core.errors import TrainingFailed
from groundlook.core.process import run_child
from groundlook.models.runtime.network import Network
from groundlook.models.runtime.record import Prepared, Trial, digests
from groundlook.models.runtime.runtimes import missing, of_torch

log = logging.getLogger("groundlook.runtime")

_CHILD = "groundlook.models.runtime.child"
_FAR_AHEAD = 3.0
_SECONDS = 900.0
"""The most that a trial, or making ready for them, may take; a network that takes that long serves nobody."""


def prepare(network: Network, folder: Path, threads: int | None) -> Prepared:
    """Reference answers and the export, under `folder`. Raises TrainingFailed."""
    log.info("%s is exported and tried in the runtimes that are installed, once", network.build)
    folder.mkdir(parents=True, exist_ok=True)
    made = _run(network, folder, (), None, threads)
    return Prepared.of({**made, "files": digests(folder)})


def run(
    network: Network, folder: Path, runtimes: Sequence[str], eager: Trial, device: str | None, threads: int | None
) -> list[Trial]:
    """A trial of each of `runtimes`. Of several, those of PyTorch on the CPU are left out where another is far ahead
    of `eager`: they would need to gain what they never do."""
    done: list[Trial] = []
    for _, group in groupby(runtimes, lambda name: name.partition(" ")[0]):
        out = {name: missing(name) or _hopeless(name, done, eager) for name in group}
        able = [name for name, why in out.items() if not why]
        tried = [Trial(name, note=why) for name, why in out.items() if why]
        tried += _tried(network, folder, able, device, threads) if able else []
        for one in tried:
            log.info("%s", one)
        done += tried
    return done


def _hopeless(runtime: str, done: Sequence[Trial], eager: Trial) -> str:
    best = min((one.seconds for one in done if one.seconds is not None), default=float("inf"))
    late = of_torch(runtime) and "cuda" not in runtime and best * _FAR_AHEAD < (eager.seconds or 0.0)
    return "not tried: another is far ahead" if late else ""


def _tried(
    network: Network, folder: Path, runtimes: Sequence[str], device: str | None, threads: int | None
) -> list[Trial]:
    """One process for all; where that dies, one for each, so that only the one that kills it is out."""
    try:
        return [Trial(**one) for one in _run(network, folder, runtimes, device, threads)["trials"]]
    except TrainingFailed as error:
        if len(runtimes) == 1:
            return [Trial(runtimes[0], note=str(error)[-300:])]
    return [one for name in runtimes for one in _tried(network, folder, [name], device, threads)]


def _run(
    network: Network, folder: Path, runtimes: Sequence[str], device: str | None, threads: int | None
) -> dict[str, Any]:
    spec = {"network": network.body(), "folder": str(folder.resolve()), "runtimes": list(runtimes), "device": device}
    with tempfile.TemporaryDirectory(prefix="groundlook-runtime-") as work:
        path = Path(work) / "spec.json"
        path.write_text(json.dumps({**spec, "threads": threads}), encoding="utf-8")
        # The child finds `build` where this process does.
        env = {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        return run_child(_CHILD, [str(path)], lambda done, said: None, env, _SECONDS * max(len(runtimes), 1))
