"""The embedded job queue: a ledger in one SQLite file, and one worker process beside it."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from groundlook.core.errors import Busy
from groundlook.core.ports import Handler
from groundlook_adapters.jobs.alive import worker_alive
from groundlook_adapters.jobs.engine import LEASE_S, MAX_ATTEMPTS, Engine
from groundlook_adapters.jobs.sqlite_ledger import SqliteLedger

GRACE = 1.5
"""Seconds that running jobs have to end when the worker ends."""


class EmbeddedJobs(Engine):
    """Implements `core.ports.Jobs` over the file `path`, for the processes of one machine."""

    def __init__(
        self,
        path: Path,
        lanes: Mapping[str, str],
        attempts: int = MAX_ATTEMPTS,
        grace: float = GRACE,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(SqliteLedger(path, clock), lanes, attempts, LEASE_S, grace)
        self._path = path

    def unworked(self) -> list[str]:
        """See `Engine`."""
        return [] if worker_alive(self._path) else sorted(set(self._lanes.values()))

    @contextmanager
    def working(
        self,
        handlers: Mapping[str, Handler],
        wait: float = 30.0,
        lanes: Collection[str] | None = None,
        threads: int = 1,
        grace: float | None = None,
    ) -> Iterator[None]:
        """See `Engine`. One worker per queue file: a second waits up to `wait` seconds for the first to end, then
        raises Busy. What was running with one that was killed runs again at once."""
        with _only_worker(self._path.with_suffix(".lock"), wait):
            for job, mark in self._ledger.running().items():
                self._ledger.release(job, mark, self._attempts)
            with super().working(handlers, wait, lanes, threads, grace):
                yield

    def _seen(self, worker: str, lanes: Sequence[str], there: bool) -> None:
        """Its lock says it."""


@contextmanager
def _only_worker(lock: Path, wait: float) -> Iterator[None]:
    """Hold the lock file; the kernel lets go of it however this process ends."""
    with lock.open("a") as handle:
        end = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise Busy(f"another worker runs the jobs of {lock.parent}; stop it or use another home") from None
                time.sleep(0.1)
        yield
