"""The worker: a process that runs the jobs, and looks at Label Studio now and then for events that never arrived."""

from __future__ import annotations

import logging
import signal
import threading
from types import FrameType

from groundlook.core.process import die_with_parent, lower_priority
from groundlook.loop import handlers
from groundlook.service.wiring import Wired

log = logging.getLogger("groundlook.worker")


def run_worker(wired: Wired, attached: bool) -> None:
    """Run until SIGTERM or SIGINT. `attached`: end with the parent process, and leave the machine to it."""
    stop = threading.Event()

    def ended(number: int, frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, ended)
    signal.signal(signal.SIGINT, ended)
    if attached:
        die_with_parent()
        lower_priority(5)
    wired.brought.warm()
    with wired.jobs.working(handlers(wired.loop)):
        log.info("worker of %s is ready", wired.settings.home)
        while True:
            for project in wired.store.projects():
                wired.jobs.submit("sync", project.id)
            if stop.wait(wired.settings.reconcile):
                return
