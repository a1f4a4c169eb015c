"""How far jobs are, without what they carry."""

from __future__ import annotations

import threading

from groundlook.core.ports import Progress
from groundlook.core.types import Job
from groundlook_adapters.jobs.engine import Engine
from tests.waiting import until


def test_states_are_those_that_each_job_tells(jobs: Engine) -> None:
    go = threading.Event()

    def work(job: Job, progress: Progress) -> str:
        assert job.key != "waits" or go.wait(30)
        return "ok"

    with jobs.working({"quick": work}):
        done, waits, queued = (jobs.submit("quick", 1, key=key, payload=b"x") for key in ("done", "waits", "queued"))
        gone = jobs.submit("quick", 1, delay=600, key="gone")
        jobs.cancel(gone)
        until(lambda: jobs.job(waits).state == "running")
        found = jobs.states([queued, 999_999, done, waits, gone])
        go.set()
    assert found == {done: "done", waits: "running", queued: "queued", gone: "cancelled"}
    assert jobs.states([]) == {}
