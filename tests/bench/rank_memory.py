"""The part of `bench rank` whose memory is looked at: each run a process of its own, which imports no peer."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from groundlook.core.pool import Pool
from groundlook.strategies.catalog import DEFAULTS, strategy_of

WIDE, LABELLED, BATCH, KINDS = 512, 100, 100, 20
DEFAULT = DEFAULTS["classification"]


def child(*what: str) -> tuple[float, float]:
    """Seconds and MB that `what` of this file took, in a process of its own."""
    command = [sys.executable, str(Path(__file__)), *what]
    seconds, mb = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return float(seconds), float(mb)


def write_half(path: Path, size: int) -> None:
    """`size` × 512 float16, in 50 loose clusters."""
    rng = np.random.default_rng(1)
    middles = 0.7 * rng.standard_normal((50, WIDE), dtype=np.float32)
    with path.open("wb") as file:
        for start in range(0, size, 20_000):
            count = min(20_000, size - start)
            rows = middles[rng.integers(0, 50, count)] + rng.standard_normal((count, WIDE), dtype=np.float32)
            file.write(rows.astype(np.float16).tobytes())


def _memory(what: str) -> float:
    """MB: "VmRSS" now or "VmHWM" at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(what)) / 1024


def _streamed(path: str, size: int) -> tuple[float, float]:
    """A full ranking of `size` embeddings on disk by the default strategy: seconds, and the most memory in all."""
    vectors = np.memmap(path, np.float16, "r", shape=(size, WIDE))
    strategy_of(DEFAULT).rank(_pool(vectors[:500]), BATCH, np.random.default_rng(0))  # imports
    pool = _pool(vectors)
    start = time.perf_counter()
    found = strategy_of(DEFAULT).rank(pool, BATCH, np.random.default_rng(0))
    seconds = time.perf_counter() - start
    if len(np.unique(found.rows)) != size or found.chosen != BATCH:
        raise AssertionError("not a full ranking")
    return seconds, _memory("VmHWM")


def _pool(vectors: NDArray[np.floating]) -> Pool:
    """Any probabilities will do."""
    rng = np.random.default_rng(0)
    done = np.asarray(vectors[rng.choice(len(vectors), LABELLED, replace=False)], np.float32)
    proba = rng.random((len(vectors), KINDS), dtype=np.float32)
    proba /= proba.sum(axis=1, keepdims=True)
    return Pool(np.arange(len(vectors)), np.full(len(vectors), np.nan), vectors, done, "classification", proba)


def _extra(name: str, size: int) -> tuple[float, float]:
    """A ranking by `name`: seconds, and the most memory beyond what the pool takes."""
    pool = _pool(np.random.default_rng(1).standard_normal((size, WIDE), dtype=np.float32))
    strategy_of(name).rank(_pool(pool.embedding[:500]), BATCH, np.random.default_rng(0))  # imports
    before = _memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    start = time.perf_counter()
    strategy_of(name).rank(pool, BATCH, np.random.default_rng(0))
    return time.perf_counter() - start, _memory("VmHWM") - before


if __name__ == "__main__":
    run = {"streamed": _streamed, "extra": _extra}[sys.argv[1]]
    sys.stdout.write("{} {}".format(*run(sys.argv[2], int(sys.argv[3]))))
