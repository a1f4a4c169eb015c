"""One attempt at a job, as its handler's progress callback."""

from __future__ import annotations

import time

from groundlook.core.errors import Busy, Cancelled
from groundlook.core.types import Job
from groundlook_adapters.jobs.ledger import Ledger

_LOST = "it was taken from this worker, which gave no sign of life"


class Run:
    """Keeps what the handler said last, for the thread that writes it, and raises Cancelled where it shall stop.
    `over`: what becomes of it is of no interest any more."""

    def __init__(self, job: Job, ledger: Ledger, lease: float) -> None:
        self.job = job
        self.beaten = time.monotonic()
        self.stopped = ""
        self.over = False
        self._ledger, self._lease = ledger, lease
        self._said: tuple[float, str] = (0.0, "")
        self._told = self._said

    def __call__(self, done: float, text: str) -> None:
        """The progress callback. Asks the ledger itself only after a pause that may have cost us the job."""
        self._said = (min(1.0, max(0.0, done)), text)
        if not self.stopped and time.monotonic() - self.beaten > self._lease:
            try:
                self.beat()
            except Busy:
                self.beaten = time.monotonic()  # nobody can take it from us either: go on, and ask after a while
        if self.stopped:
            raise Cancelled(f"job {self.job.id}: {self.stopped}")

    @property
    def news(self) -> bool:
        """Whether something was said that is not written yet."""
        return self._said != self._told

    def beat(self) -> None:
        """Write down how far it is, and hear whether to go on. Raises Busy."""
        said = self._said
        answer = self._ledger.beat(self.job, *said)
        self.beaten, self._told = time.monotonic(), said
        if answer == "stop":
            self.stop("somebody cancelled it")
        elif answer == "lost" and not self.over:
            self.stop(_LOST)

    def stop(self, why: str) -> None:
        """Let the next progress raise Cancelled."""
        self.stopped = self.stopped or why
