"""What the engine writes its jobs into. Each call is atomic, whoever else calls; two ledgers do it, one engine uses it.

A worker holds a job by (worker, attempts): who lost it can't write to it any more. Every call of one that holds a job
may be made twice, as after an answer that got lost on the way, and changes nothing the second time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from groundlook.core.types import Job, JobState

Mark = tuple[int, int]
"""(attempts, beats) of a running job: while it changes, somebody works on it."""

KEPT = 1000
"""Ended jobs of a project that are always kept; what ended within KEPT_S is kept beyond that."""
KEPT_S = 3600.0
"""What a job gave back is kept for an hour."""
LISTED = 500


class Ledger(Protocol):
    """The jobs, as they stand. All calls raise Busy, which says what to do, while the ledger can't be reached."""

    def put(self, kind: str, project: int, delay: float, priority: int, key: str, payload: bytes) -> int:
        """See `core.ports.Jobs.submit`."""

    def claim(self, kinds: Sequence[str], worker: str) -> Job | None:
        """The next job of `kinds`, running now: of those that are due and of whose (kind, project, key) none runs, the
        one of the highest priority, then the oldest. `worker` names one thread of one process: if it holds a job, that
        one. A job that was asked for in the future (the clock was set back) is due."""

    def beat(self, job: Job, progress: float, message: str) -> Literal["go", "stop", "lost"]:
        """Say that the worker is alive, and how far it is. "stop": somebody cancelled the job; "lost": it is no longer
        this worker's."""

    def finish(self, job: Job, state: JobState, message: str, body: bytes = b"") -> bool:
        """End it: done, failed or cancelled. An older dead letter of the same (kind, project, key) is of no use after
        one that was done or failed, and becomes "cancelled". False where the job was lost."""

    def requeue(self, job: Job, message: str, delay: float, counted: bool) -> bool:
        """Queue it again; one that somebody cancelled ends. `counted`: as a failed attempt. False where the job was
        lost."""

    def running(self) -> Mapping[int, Mark]:
        """What runs anywhere, by id."""

    def release(self, job: int, mark: Mark, most: int) -> bool:
        """Queue again what ran with a worker that is gone; failed, where that was its `most`th attempt. False where
        its mark is another by now: somebody works on it."""

    def job(self, job: int) -> Job:
        """See `core.ports.Jobs`."""

    def states(self, jobs: Sequence[int]) -> dict[int, JobState]:
        """See `core.ports.Jobs`."""

    def jobs(self, project: int | None) -> list[Job]:
        """See `core.ports.Jobs`."""

    def dead(self, project: int | None) -> list[Job]:
        """The dead letters: failed jobs, newest first; one of each (kind, project, key)."""

    def cancel(self, job: int) -> bool:
        """See `core.ports.Jobs`."""

    def retry(self, job: int) -> bool:
        """See `core.ports.Jobs`. Its attempts count from 0 again."""

    def close(self) -> None: ...
