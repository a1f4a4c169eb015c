"""A worker in a process of its own: `python -m tests.jobs.child WHERE NOTES READY [key=value …]`.

What its handlers did lies in files under NOTES: "began-PID" and "ended-PID" hold a line "ID:ATTEMPT" each. A long job
goes on until there is a file "go", telling how far it is; with deaf=1 it tells nothing.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path

from groundlook.core.ports import Progress
from groundlook.core.types import Job
from tests.jobs.houses import LEASE, engine


def main(where: str, notes: Path, ready: str, *words: str) -> None:
    given = dict(word.split("=") for word in words)

    def note(what: str, job: Job) -> None:
        with (notes / f"{what}-{os.getpid()}").open("a") as file:
            file.write(f"{job.id}:{job.attempts}\n")

    def quick(job: Job, progress: Progress) -> str:
        note("began", job)
        time.sleep(float(given.get("sleep", "0")))
        note("ended", job)
        return "done"

    def long(job: Job, progress: Progress) -> str:
        note("began", job)
        while not (notes / "go").exists():
            if "deaf" not in given:
                progress(0.3, "at it")
            time.sleep(0.02)
        note("ended", job)
        return "done"

    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    jobs = engine(where, float(given.get("lease", LEASE)))
    grace = float(given["grace"]) if "grace" in given else None
    handlers = {"quick": quick, "count": quick, "long": long, "other": long}
    with jobs.working(handlers, threads=int(given.get("threads", "1")), grace=grace):
        (notes / ready).touch()
        stop.wait(120)
    jobs.close()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
