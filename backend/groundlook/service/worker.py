"""The worker: a process that runs the jobs, and looks at Label Studio now and then for events that never arrived."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Collection
from types import FrameType

from groundlook.core.errors import Busy, InvalidInput
from groundlook.core.process import die_with_parent, lower_priority
from groundlook.core.types import Job
from groundlook.loop import handlers
from groundlook.service.wiring import Wired

log = logging.getLogger("groundlook.worker")

ATTACHED_GRACE = 1.5
"""Seconds that jobs have to end where a service ends, which waits for its worker for 5 s."""


def run_worker(wired: Wired, attached: bool, lanes: Collection[str] = (), threads: int = 1) -> None:
    """Run until SIGTERM or SIGINT. `attached`: end with the parent process, and leave the machine to it. `lanes`: run
    the jobs of these only, `threads` at a time in each. Raises InvalidInput for lanes without Redis, where one worker
    does everything."""
    if lanes and not wired.settings.redis:
        raise InvalidInput("--lanes shares the work of several workers, which need GROUNDLOOK_REDIS: set it, or leave")
    stop = threading.Event()

    def ended(number: int, frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, ended)
    signal.signal(signal.SIGINT, ended)
    if attached:
        die_with_parent()
        lower_priority(5)
    wired.brought.warm()
    grace = ATTACHED_GRACE if attached else None
    with wired.jobs.working(handlers(wired.loop), lanes=lanes or None, threads=threads, grace=grace):
        log.info("worker of %s is ready", wired.settings.home)
        look(wired, 0.0)
        while not stop.wait(wired.settings.reconcile):
            look(wired, wired.settings.reconcile / 2)


def look(wired: Wired, fresh: float) -> None:
    """Ask for a look at every project that nobody, here or on another machine, asked for in the last `fresh` s."""
    for project in wired.store.projects():
        try:
            if not any(_recent(j, fresh) for j in wired.jobs.jobs(project.id)):
                wired.jobs.submit("sync", project.id)
        except Busy as error:
            log.warning("project %s is not looked at: %s", project.id, error)


def _recent(job: Job, fresh: float) -> bool:
    """A job of the future (the clock was set back) is not."""
    return job.kind == "sync" and 0 <= time.time() - job.created < fresh
