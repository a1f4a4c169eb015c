"""A worker at work: threads that take jobs out of a ledger, one that keeps what they hold alive, and an orderly end."""

from __future__ import annotations

import errno
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from groundlook.core.errors import Busy, Cancelled, InvalidImage, InvalidInput, InvalidRaster, NotAllowed
from groundlook.core.ports import Handler
from groundlook.core.types import Done
from groundlook_adapters.jobs.ledger import Ledger
from groundlook_adapters.jobs.run import Run
from groundlook_adapters.jobs.watch import Watch

log = logging.getLogger("groundlook.jobs")

TICK_S = 0.2
"""How often progress is written, and a lane that has nothing to do looks again."""
BEAT_S = 0.6
"""How often a job is kept alive whose progress does not change; also how late it hears that it was cancelled."""
MAX_BACKOFF = 60.0
_STOPPING_S = 0.5
"""That a job which was told to stop has to do so, before another worker may take it."""
_TELL_S = 30.0
_ENDS = "again: its worker ended"


class Shift:
    """One worker from its first job to its last. `slots`: the kinds of job that each of its threads takes.
    `attempts`: after so many a job is a dead letter; `lease`: seconds without a sign of life after which it is taken
    from a worker. `seen` is called now and then with the worker's name, to say that it is there."""

    def __init__(
        self,
        ledger: Ledger,
        handlers: Mapping[str, Handler],
        slots: Sequence[Sequence[str]],
        attempts: int,
        lease: float,
        seen: Callable[[str], None],
    ) -> None:
        self.name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._ledger, self._handlers = ledger, handlers
        self._attempts, self._lease, self._seen = attempts, lease, seen
        self._runs: dict[str, Run] = {}
        self._told = -_TELL_S
        self._ending, self._over = threading.Event(), threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="jobs-keeper", daemon=True)
        self._threads = [
            threading.Thread(target=self._work, args=(f"{self.name}/{i}", kinds), name=f"jobs-{i}", daemon=True)
            for i, kinds in enumerate(slots)
        ]

    def begin(self) -> None:
        """Take jobs from now on."""
        for thread in (self._keeper, *self._threads):
            thread.start()

    def end(self, grace: float) -> None:
        """Take no more jobs; those that run have `grace` seconds to end. The rest is told to stop, and handed back:
        it is queued again at once, and the attempt does not count."""
        self._ending.set()
        self._join(grace)
        for run in list(self._runs.values()):
            run.stop(_ENDS)
        self._join(_STOPPING_S)
        for run in list(self._runs.values()):
            run.over = True
            self._hand_back(run)
        self._over.set()
        self._keeper.join()

    def _join(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(end - time.monotonic(), 0.0))

    # a thread that works

    def _work(self, slot: str, kinds: Sequence[str]) -> None:
        while not self._ending.is_set():
            try:
                job = self._ledger.claim(kinds, slot)
            except Exception as error:
                self._away(error)
                job = None
            if job is None:
                self._ending.wait(TICK_S)
                continue
            self._runs[slot] = run = Run(job, self._ledger, self._lease)
            if self._ending.is_set():
                run.stop(_ENDS)
                self._hand_back(run)
            else:
                self._do(run)
            del self._runs[slot]

    def _do(self, run: Run) -> None:
        job, started = run.job, time.monotonic()
        try:
            answer = self._handlers[job.kind](job, run)
        except BaseException as error:  # whatever a handler raises must not end the thread
            self._stopped(run, error)
            return
        done = answer if isinstance(answer, Done) else Done(answer)
        log.info("%s of project %s: %s (%.1f s)", job.kind, job.project, done.message, time.monotonic() - started)
        self._settle(run, lambda: self._ledger.finish(job, "done", done.message, done.body))

    def _stopped(self, run: Run, error: BaseException) -> None:
        job, text = run.job, _reason(error)
        if run.stopped:  # one that somebody cancelled ends here, too: the ledger knows
            log.info("%s of project %s: %s", job.kind, job.project, run.stopped)
            self._settle(run, lambda: self._ledger.requeue(job, run.stopped, 0.0, counted=False))
            return
        if isinstance(error, Cancelled):
            log.info("%s of project %s: %s", job.kind, job.project, error)
            self._settle(run, lambda: self._ledger.finish(job, "cancelled", str(error)))
            return
        log.warning("%s of project %s failed (attempt %s)", job.kind, job.project, job.attempts, exc_info=error)
        if job.attempts >= self._attempts or _hopeless(error):
            self._settle(run, lambda: self._ledger.finish(job, "failed", text))
            return
        delay = min(2.0 ** (job.attempts - 1), MAX_BACKOFF)
        self._settle(run, lambda: self._ledger.requeue(job, f"will retry: {text}", delay, counted=True))

    def _settle(self, run: Run, write: Callable[[], bool]) -> None:
        """Write down what came of it, however long the ledger is away."""
        while not run.over:
            try:
                if not write():
                    log.info("job %s had been taken from this worker: what came of it here is dropped", run.job.id)
                return
            except Exception as error:
                self._away(error)
                time.sleep(TICK_S)

    # the thread that keeps what they hold alive

    def _keep(self) -> None:
        watch, looked = Watch(self._lease), 0.0
        while not self._over.wait(TICK_S):
            try:
                for run in list(self._runs.values()):
                    if run.news or time.monotonic() - run.beaten >= min(BEAT_S, self._lease / 5):
                        run.beat()
                if time.monotonic() - looked >= self._lease / 5:
                    looked = time.monotonic()
                    self._seen(self.name)
                    self._look(watch)
            except Exception as error:
                self._away(error)

    def _look(self, watch: Watch) -> None:
        for job, mark in watch.look(self._ledger.running(), time.monotonic()).items():
            if self._ledger.release(job, mark, self._attempts):
                log.warning("the worker of job %s gave no sign of life for %.0f s", job, self._lease)

    def _hand_back(self, run: Run) -> None:
        try:
            self._ledger.requeue(run.job, run.stopped, 0.0, counted=False)
        except Busy as error:
            log.warning("job %s was not handed back, and waits until its lease ends: %s", run.job.id, error)

    def _away(self, error: Exception) -> None:
        """Say now and then what the matter is; the caller tries again."""
        if time.monotonic() - self._told < _TELL_S:
            return
        self._told = time.monotonic()
        if isinstance(error, Busy):
            log.warning("%s", error)
        else:
            log.error("the job queue failed", exc_info=error)


def _reason(error: BaseException) -> str:
    """What the job's message says: of a full disk, which any step may meet, also what to do."""
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return f"{type(error).__name__}: {error}" + ("; make room on the disk of GROUNDLOOK_HOME" if full else "")


def _hopeless(error: BaseException) -> bool:
    """Whether trying again can't help. Pictures and rasters may be out of reach for a while only."""
    return isinstance(error, InvalidInput | NotAllowed) and not isinstance(error, InvalidImage | InvalidRaster)
