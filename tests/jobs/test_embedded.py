"""The job queue: nothing is lost, whatever is killed; nothing runs twice at once."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from groundlook.core.errors import Busy
from groundlook.core.ports import Progress
from groundlook_adapters.jobs.embedded import EmbeddedJobs

LANES = {"quick": "fast", "long": "slow"}


Make = Callable[[], EmbeddedJobs]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Opens the same queue file, as often as it is called."""
    opened: list[EmbeddedJobs] = []

    def one() -> EmbeddedJobs:
        opened.append(EmbeddedJobs(tmp_path / "jobs.db", LANES))
        return opened[-1]

    yield one
    for jobs in opened:
        jobs.close()


def until(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def test_a_job_runs_and_tells_how_far_it_is(make: Make) -> None:
    jobs = make()
    go, seen = threading.Event(), threading.Event()

    def work(project: int, progress: Progress) -> str:
        progress(0.5, "half")
        seen.set()
        go.wait(10)
        return f"done {project}"

    with jobs.working({"quick": work}):
        jobs.submit("quick", 3)
        assert seen.wait(10)
        (running,) = jobs.jobs(3)
        assert (running.state, running.progress, running.message) == ("running", 0.5, "half")
        go.set()
        until(lambda: jobs.jobs(3)[0].state == "done")
    (job,) = jobs.jobs()
    assert (job.message, job.progress, job.attempts) == ("done 3", 1.0, 1)


def test_asking_again_while_it_waits_is_one_job(make: Make) -> None:
    jobs = make()
    ran: list[int] = []
    for _ in range(10):
        jobs.submit("quick", 1, delay=0.3)
    jobs.submit("quick", 2)

    def work(project: int, progress: Progress) -> str:
        ran.append(project)
        return ""

    with jobs.working({"quick": work}):
        until(lambda: sorted(ran) == [1, 2])
        jobs.submit("quick", 1)
        until(lambda: sorted(ran) == [1, 1, 2])


def test_quick_work_does_not_wait_behind_long_work(make: Make) -> None:
    jobs = make()
    go, quick = threading.Event(), threading.Event()

    def long(project: int, progress: Progress) -> str:
        go.wait(20)
        return ""

    def short(project: int, progress: Progress) -> str:
        quick.set()
        return ""

    with jobs.working({"long": long, "quick": short}):
        jobs.submit("long", 1)
        jobs.submit("quick", 1)
        assert quick.wait(10)
        go.set()


def test_a_failure_is_tried_again(make: Make) -> None:
    jobs = make()
    tries: list[float] = []

    def work(project: int, progress: Progress) -> str:
        tries.append(time.monotonic())
        if len(tries) < 3:
            raise RuntimeError("Label Studio is down")
        return "at last"

    with jobs.working({"quick": work}):
        jobs.submit("quick", 1)
        until(lambda: jobs.jobs()[0].state == "done", 30)
    assert len(tries) == 3
    assert tries[2] - tries[1] > tries[1] - tries[0] > 0.5, "it backs off"
    assert jobs.jobs()[0].message == "at last"


def test_a_second_worker_is_refused(make: Make) -> None:
    first, second = make(), make()
    with first.working({}), pytest.raises(Busy, match="another worker runs the jobs"), second.working({}, wait=0.3):
        pass


CHILD = textwrap.dedent("""
    import sys, time
    from pathlib import Path
    from groundlook_adapters.jobs.embedded import EmbeddedJobs
    def work(project, progress):
        progress(0.3, "at it")
        time.sleep(60)
        return ""
    jobs = EmbeddedJobs(Path(sys.argv[1]), {"quick": "fast", "long": "slow"})
    with jobs.working({"long": work, "quick": work}):
        time.sleep(60)
""")


def test_a_killed_worker_loses_nothing(make: Make, tmp_path: Path) -> None:
    """SIGKILL while one job runs and another of its kind, and one with a delay, wait."""
    path = tmp_path / "jobs.db"
    jobs = make()
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(path)])
    try:
        jobs.submit("long", 1)
        until(lambda: any(j.state == "running" for j in jobs.jobs()))
        jobs.submit("long", 1)
        jobs.submit("quick", 2, delay=60)
    finally:
        child.kill()
        child.wait()
    ran: list[tuple[str, int]] = []

    def remember(kind: str) -> Callable[[int, Progress], str]:
        def work(project: int, progress: Progress) -> str:
            ran.append((kind, project))
            return ""

        return work

    with jobs.working({"long": remember("long"), "quick": remember("quick")}):
        until(lambda: len(ran) >= 2)
        until(lambda: all(j.state == "done" for j in jobs.jobs()))
    assert sorted(ran) == [("long", 1), ("quick", 2)]


def test_the_end_of_the_worker_waits_for_work_that_is_nearly_done(make: Make) -> None:
    """And closing the queue under a thread that still writes to it is harmless."""
    jobs, slow = make(), make()
    begun, go, ended = threading.Event(), threading.Event(), threading.Event()

    def nearly(project: int, progress: Progress) -> str:
        begun.set()
        time.sleep(0.3)
        return ""

    with jobs.working({"quick": nearly}):
        jobs.submit("quick", 1)
        assert begun.wait(10)
    assert jobs.jobs()[0].state == "done"

    def late(project: int, progress: Progress) -> str:
        begun.set()
        go.wait(20)
        progress(0.9, "late")
        ended.set()
        return ""

    begun.clear()
    with slow.working({"long": late}):
        slow.submit("long", 1)
        assert begun.wait(10)
    slow.close()
    go.set()
    assert ended.wait(10)
