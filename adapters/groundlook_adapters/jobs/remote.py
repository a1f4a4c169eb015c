"""The job queue of many machines: a ledger in Redis, and any number of workers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence

from groundlook.core.errors import Busy
from groundlook_adapters.jobs.engine import LEASE_S, MAX_ATTEMPTS, Engine
from groundlook_adapters.jobs.redis_ledger import RedisLedger

GRACE = 30.0
"""Seconds that running jobs have to end when a worker ends: long ones are handed to another."""


class RedisJobs(Engine):
    """Implements `core.ports.Jobs` over the Redis at `url`. `lease`: seconds without a sign of life, after which a
    worker's jobs are given to others. `clock`: None for the server's."""

    def __init__(
        self,
        url: str,
        lanes: Mapping[str, str],
        attempts: int = MAX_ATTEMPTS,
        grace: float = GRACE,
        lease: float = LEASE_S,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._workers = RedisLedger(url, clock)
        super().__init__(self._workers, lanes, attempts, lease, grace)

    def unworked(self) -> list[str]:
        """See `Engine`."""
        return sorted(set(self._lanes.values()) - set(self._workers.seen("", (), True)))

    def _seen(self, worker: str, lanes: Sequence[str], there: bool) -> None:
        with contextlib.suppress(Busy):
            self._workers.seen(worker, lanes, there)
