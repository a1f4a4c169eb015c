"""Error and time of a runner on the example inputs."""

from __future__ import annotations

import os
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groundlook.models.runtime.network import Runner
from groundlook.models.runtime.record import Trial

_RUNS = 40
"""Many, where they are short: of a few, all may be disturbed on a busy machine, and the choice is kept."""
_BUDGET = 1.5
_SHORT = 0.2
_REFERENCE = "reference.npz"


def trial(
    runtime: str, runner: Runner, inputs: Sequence[NDArray[Any]], expected: Sequence[NDArray[Any]] | None
) -> tuple[Trial, Sequence[NDArray[Any]]]:
    """Run it some times; one that takes seconds once or twice. Its answers too; None expects those themselves."""
    found, best = _timed(runner, inputs)
    error = 0.0 if expected is None else relative_error(found, expected)
    spent = best
    for _ in range(_RUNS):
        if spent + best > _BUDGET * (1 if expected is None else 4):
            break
        seconds = _timed(runner, inputs)[1]
        best, spent = min(best, seconds), spent + seconds
    return Trial(runtime, error, best, peak_mb()), found


def _timed(runner: Runner, inputs: Sequence[NDArray[Any]]) -> tuple[Sequence[NDArray[Any]], float]:
    """The answers, and the seconds that they take on a machine that does nothing else.

    Others' share of the cores, as the kernel counts it, is taken off: the choice outlives the moment it was made in.
    Never below the time that the process computed, spread over all cores.
    """
    busy, computed, started = _busy(), time.process_time(), time.perf_counter()
    found = runner(inputs)
    seconds = time.perf_counter() - started
    computed = time.process_time() - computed
    cores = os.cpu_count() or 1
    share = max(0.0, _busy() - busy - computed) / (cores * seconds)
    # The kernel counts in hundredths of a second: of shorter runs, the fastest is undisturbed.
    return found, seconds if seconds < _SHORT else max(seconds * (1 - min(share, 1.0)), computed / cores)


def _busy() -> float:
    """Seconds that the machine's cores were busy with anything, also with other guests of the same hardware."""
    try:
        ticks = [int(v) for v in Path("/proc/stat").read_text(encoding="utf-8").split("\n", 1)[0].split()[1:9]]
    except (OSError, ValueError):
        return 0.0
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")  # but idle and waiting for disks


def relative_error(found: Sequence[NDArray[Any]], expected: Sequence[NDArray[Any]]) -> float:
    """‖found − expected‖₂ / ‖expected‖₂, the largest of the outputs; infinite where shapes differ or a number is not
    finite."""
    if len(found) != len(expected):
        return float("inf")
    return max((_error(a, b) for a, b in zip(found, expected, strict=True)), default=0.0)


def _error(found: NDArray[Any], expected: NDArray[Any]) -> float:
    if found.shape != expected.shape or not np.isfinite(found).all():
        return float("inf")
    truth = expected.astype(np.float64).ravel()
    off = float(np.linalg.norm(found.astype(np.float64).ravel() - truth))
    size = float(np.linalg.norm(truth))
    return off / size if size else off


def peak_mb() -> float | None:
    """The most memory that this process has held, in MB; None where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), None)


def put_reference(folder: Path, inputs: Sequence[NDArray[Any]], outputs: Sequence[NDArray[Any]]) -> None:
    """Keep the example and its answers."""
    partial = folder / f".{os.getpid()}-{_REFERENCE}"
    named = {f"{kind}{i:03d}": v for kind, values in (("i", inputs), ("o", outputs)) for i, v in enumerate(values)}
    np.savez(partial, **named)  # type: ignore[arg-type]
    partial.replace(folder / _REFERENCE)


def reference(folder: Path) -> tuple[list[NDArray[Any]], list[NDArray[Any]]] | None:
    """What `put_reference` kept; None where nothing is, or it is not whole."""
    try:
        with np.load(folder / _REFERENCE, allow_pickle=False) as kept:
            both = [[kept[name] for name in sorted(kept.files) if name.startswith(kind)] for kind in "io"]
    except (OSError, ValueError, zipfile.BadZipFile):
        return None
    return both[0], both[1]
