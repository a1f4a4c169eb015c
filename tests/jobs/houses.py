"""What the tests of the jobs share: a clock, engines, workers in processes of their own."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from groundlook.core.types import Job
from groundlook_adapters.jobs.embedded import EmbeddedJobs
from groundlook_adapters.jobs.engine import Engine
from groundlook_adapters.jobs.remote import RedisJobs
from tests.waiting import until

LANES = {"quick": "fast", "count": "fast", "long": "slow", "other": "slow"}
LEASE = 2.0


class Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def engine(where: str, lease: float = LEASE) -> Engine:
    """Over the Redis or the file that `where` names."""
    return RedisJobs(where, LANES, lease=lease) if "://" in where else EmbeddedJobs(Path(where), LANES)


@contextlib.contextmanager
def worker(where: str, notes: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker in a process of its own (tests/jobs/child.py), ready; killed at the end."""
    ready = notes / f"ready-{time.monotonic_ns()}"
    child = subprocess.Popen([sys.executable, "-m", "tests.jobs.child", where, str(notes), ready.name, *words])
    try:
        until(ready.exists)
        yield child
    finally:
        child.kill()
        child.wait()


def notes(folder: Path, what: str) -> list[str]:
    """What the workers wrote down: a line each, in the order of files' names."""
    return [line for path in sorted(folder.glob(f"{what}-*")) for line in path.read_text().split()]


def states(jobs: Engine) -> dict[int, str]:
    return {job.id: job.state for job in jobs.jobs()}


def ended(jobs: Engine) -> bool:
    return not any(job.state in ("queued", "running") for job in jobs.jobs())


def runs(jobs: Engine, job: int) -> Callable[[], bool]:
    return lambda: jobs.job(job).state == "running"


def one(jobs: Engine) -> Job:
    (job,) = jobs.jobs()
    return job
