"""Whether a worker runs the jobs of a queue file."""

from __future__ import annotations

import fcntl
from pathlib import Path


def worker_alive(queue: Path) -> bool:
    """True while some process holds the lock of `queue` (see `embedded.EmbeddedJobs.working`). The look itself holds
    it for an instant only; a worker that starts just then waits that long."""
    lock = queue.with_suffix(".lock")
    if not lock.exists():
        return False
    with lock.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
