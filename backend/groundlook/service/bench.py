"""The frame of every bench: cases with a peer and a goal, timed in turns in one run, threads pinned.

Benches live in the repository's tests/bench, one file `bench_NAME.py` each with `run(quick) -> Iterator[Result]`, and
are not shipped. They run in a process of their own: threads are pinned before anything numeric is imported.
"""

from __future__ import annotations

import importlib.util
import json
import operator
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any, Literal

from groundlook.core.errors import NotFound

_POOLS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_MARK = "@bench "
_OPERATORS: dict[str, Callable[[float, float], bool]] = {"<": operator.lt, ">": operator.gt}


@dataclass(frozen=True, slots=True)
class Goal:
    """`ours` or `ratio` below or above `limit`."""

    of: Literal["ours", "ratio"]
    sign: Literal["<", ">"]
    limit: float

    def __str__(self) -> str:
        return f"{self.of} {self.sign} {self.limit:g}"


@dataclass(frozen=True, slots=True)
class Result:
    """What a case measured. `peer`: the same of `peer_name`, None where nothing compares. `best` and `repeats`: of
    the measurements that `ours` sums up."""

    case: str
    ours: float
    unit: str
    goal: Goal
    repeats: int
    peer: float | None = None
    peer_name: str | None = None
    best: float | None = None

    @property
    def ratio(self) -> float | None:
        """ours / peer."""
        return None if not self.peer else self.ours / self.peer

    @property
    def holds(self) -> bool:
        """Whether the goal is reached. A ratio without a peer never is."""
        value = self.ours if self.goal.of == "ours" else self.ratio
        return value is not None and _OPERATORS[self.goal.sign](value, self.goal.limit)

    def body(self) -> dict[str, Any]:
        """As it stands in the bench's line."""
        told = {"case": self.case, "ours": self.ours, "peer": self.peer, "peer_name": self.peer_name}
        sums = {"unit": self.unit, "ratio": self.ratio, "goal": str(self.goal), "holds": self.holds}
        return {**told, **sums, "best": self.best, "repeats": self.repeats}


@dataclass(frozen=True, slots=True)
class Turns:
    """Seconds of each turn, pair by pair."""

    ours: tuple[float, ...]
    peer: tuple[float, ...]

    @property
    def differences(self) -> list[float]:
        """ours − peer of each pair, seconds."""
        return [a - b for a, b in zip(self.ours, self.peer, strict=True)]


def in_turns(ours: Callable[[int], object], peer: Callable[[int], object], repeats: int, warm: int = 1) -> Turns:
    """Time both on inputs 0…`repeats`−1, one after the other and every second time the other way round, so that what
    else the machine does hits both. The first `warm` inputs are run before, untimed."""
    for i in range(warm):
        ours(i)
        peer(i)
    pairs: list[tuple[float, float]] = []
    for i in range(repeats):
        if i % 2:
            late = timed(peer, i)
            pairs.append((timed(ours, i), late))
        else:
            pairs.append((timed(ours, i), timed(peer, i)))
    return Turns(tuple(a for a, _ in pairs), tuple(b for _, b in pairs))


def timed(work: Callable[[int], object], i: int) -> float:
    """Seconds that `work(i)` takes."""
    started = time.perf_counter()
    work(i)
    return time.perf_counter() - started


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` (0…1) of `values` don't exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]


def result(case: str, unit: str, goal: Goal, turns: Turns, peer_name: str, scale: float = 1.0) -> Result:
    """Median of both, and our best; `scale`: units per second."""
    ours, peer = median(turns.ours) * scale, median(turns.peer) * scale
    return Result(case, ours, unit, goal, len(turns.ours), peer, peer_name, min(turns.ours) * scale)


def bench_folder() -> Path:
    """tests/bench of this checkout. Raises NotFound where Groundlook was installed without one."""
    import groundlook

    folder = Path(groundlook.__file__).resolve().parents[2] / "tests" / "bench"
    if not folder.is_dir():
        raise NotFound("benches live in the repository: clone it and run `uv run groundlook bench NAME` there")
    return folder


def names() -> list[str]:
    """Every bench there is. Raises NotFound outside a checkout."""
    return sorted(p.stem.removeprefix("bench_") for p in bench_folder().glob("bench_*.py"))


def run_bench(name: str, quick: bool, threads: int, each: Callable[[dict[str, Any]], None]) -> tuple[list[Any], str]:
    """Run a bench in a process of its own with `threads` threads; its results, each told to `each` as it comes, and
    why it ended early, "" if it did not. Raises NotFound."""
    if name not in names():
        raise NotFound(f"there is no bench {name!r}; there are: {', '.join(names()) or 'none'}")
    command = [sys.executable, "-m", "groundlook.service.bench", name, "quick" if quick else "full"]
    return collect(command, threads, each)


def collect(command: Sequence[str], threads: int, each: Callable[[dict[str, Any]], None]) -> tuple[list[Any], str]:
    """`run_bench`, of a command that prints results."""
    pinned = {pool: str(threads) for pool in _POOLS}
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **pinned})
    results: list[Any] = []
    try:
        for line in child.stdout or ():
            if line.startswith(_MARK):
                results.append(json.loads(line[len(_MARK) :]))
                each(results[-1])
        code = child.wait()
    finally:
        if child.poll() is None:
            child.terminate()
            child.wait()
        if child.stdout:
            child.stdout.close()
    return results, "" if code == 0 else f"it ended with code {code} after {len(results)} cases"


def load(name: str) -> ModuleType:
    """The bench's module."""
    path = bench_folder() / f"bench_{name}.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise NotFound(f"{path} can't be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


def _child(name: str, quick: bool) -> None:
    found: Iterator[Result] = load(name).run(quick)
    for one in found:
        sys.stdout.write(_MARK + json.dumps(one.body(), allow_nan=False) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _child(sys.argv[1], sys.argv[2] == "quick")
