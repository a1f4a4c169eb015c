"""The job engine: the port's calls, and working, over any ledger. Handlers must be idempotent, and are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

from groundlook.core.errors import InvalidInput
from groundlook.core.ports import Handler
from groundlook.core.types import Job, JobState
from groundlook_adapters.jobs.ledger import Ledger
from groundlook_adapters.jobs.shift import Shift

MAX_ATTEMPTS = 12
"""Of a job, before it is a dead letter: seven minutes of trying."""
LEASE_S = 15.0
"""A worker that gives no sign of life for so long is taken for dead."""


class Engine(ABC):
    """Implements `core.ports.Jobs`. `lanes`: which lane each kind of job runs in: in one lane, a job after the other.
    `grace`: seconds that running jobs have to end when the worker ends."""

    def __init__(self, ledger: Ledger, lanes: Mapping[str, str], attempts: int, lease: float, grace: float) -> None:
        self._ledger = ledger
        self._lanes = dict(lanes)
        self._attempts, self._lease, self._grace = attempts, lease, grace

    def submit(
        self, kind: str, project: int, delay: float = 0.0, *, priority: int = 0, key: str = "", payload: bytes = b""
    ) -> int:
        """See `core.ports.Jobs`. Raises Busy where nobody says that it was written down; asking again is safe."""
        if kind not in self._lanes:
            raise InvalidInput(f"there is no kind of job {kind!r}; there are: {', '.join(sorted(self._lanes))}")
        return self._ledger.put(kind, project, delay, priority, key, payload)

    def job(self, job: int) -> Job:
        """See `core.ports.Jobs`."""
        return self._ledger.job(job)

    def states(self, jobs: Sequence[int]) -> dict[int, JobState]:
        """See `core.ports.Jobs`."""
        return self._ledger.states(jobs)

    def jobs(self, project: int | None = None) -> list[Job]:
        """See `core.ports.Jobs`."""
        return self._ledger.jobs(project)

    def dead(self, project: int | None = None) -> list[Job]:
        """The dead letters: what was given up and waits for a person, however old; newest first. One of each (kind,
        project, key), and none where the same work was done since."""
        return self._ledger.dead(project)

    def cancel(self, job: int) -> bool:
        """See `core.ports.Jobs`. Raises NotFound."""
        return self._ledger.cancel(job)

    def retry(self, job: int) -> bool:
        """See `core.ports.Jobs`. Raises NotFound."""
        return self._ledger.retry(job)

    def close(self) -> None:
        """Let go of the ledger; the object must not be used afterwards."""
        self._ledger.close()

    @abstractmethod
    def unworked(self) -> list[str]:
        """The lanes whose jobs no worker runs."""

    @contextmanager
    def working(
        self,
        handlers: Mapping[str, Handler],
        wait: float = 30.0,
        lanes: Collection[str] | None = None,
        threads: int = 1,
        grace: float | None = None,
    ) -> Iterator[None]:
        """Run jobs in the background of this process while the block lasts: those of `lanes` (all), `threads` at a
        time in each lane. At its end no more jobs are taken; what runs has `grace` seconds (the constructor's) to end,
        and is handed back otherwise. `wait`: seconds to wait where only one worker may run; then it raises Busy."""
        known = sorted(set(self._lanes.values()))
        chosen = known if lanes is None else sorted(set(lanes))
        for lane in chosen:
            if lane not in known:
                raise InvalidInput(f"there is no lane {lane!r}; there are: {', '.join(known)}")
        slots = [self._kinds(lane, handlers) for lane in chosen for _ in range(threads)]
        shift = Shift(
            self._ledger, handlers, slots, self._attempts, self._lease, lambda name: self._seen(name, chosen, True)
        )
        shift.begin()
        try:
            yield
        finally:
            shift.end(self._grace if grace is None else grace)
            self._seen(shift.name, chosen, False)

    def _kinds(self, lane: str, handlers: Mapping[str, Handler]) -> Sequence[str]:
        return [kind for kind, its in self._lanes.items() if its == lane and kind in handlers]

    @abstractmethod
    def _seen(self, worker: str, lanes: Sequence[str], there: bool) -> None:
        """Hears now and then that a worker is there, and at its end that it is not any more."""
