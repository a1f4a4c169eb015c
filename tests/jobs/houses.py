"""What the tests of the jobs share: a Redis that keeps everything, a clock, workers in processes of their own."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from groundlook.core.types import Job
from groundlook_adapters.jobs.embedded import EmbeddedJobs
from groundlook_adapters.jobs.engine import Engine
from groundlook_adapters.jobs.remote import RedisJobs

LANES = {"quick": "fast", "count": "fast", "long": "slow", "other": "slow"}
LEASE = 2.0


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


class Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class Server:
    """A redis-server on a free port of this machine, whose append-only file is written before it answers."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client = Redis.from_url(self.url)

    def start(self) -> None:
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        command += ["--appendonly", "yes", "--appendfsync", "always"]
        self._process = subprocess.Popen(command, cwd=self._folder, stdout=subprocess.DEVNULL)
        until(self._answers)

    def kill(self) -> None:
        """As a crash would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.signal(signal.SIGCONT)
            self.kill()
        self.client.close()

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except (RedisError, OSError):
            return False


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
