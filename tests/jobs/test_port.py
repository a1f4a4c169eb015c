"""The promises of `core.ports.Jobs`, kept by both engines alike."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from groundlook.core.errors import (
    Cancelled,
    InvalidConfig,
    InvalidImage,
    InvalidInput,
    LabelStudioError,
    NotAllowed,
    NotFound,
)
from groundlook.core.ports import Handler, Progress
from groundlook.core.ports import Jobs as Port
from groundlook.core.types import Done, Job
from groundlook_adapters.jobs.engine import Engine
from tests.jobs.houses import ended, one, runs
from tests.waiting import until

Make = Callable[[], Engine]


def working(go: threading.Event, seen: threading.Event) -> Handler:
    """Tells how far it is, again and again, until `go`."""

    def work(job: Job, progress: Progress) -> str:
        seen.set()
        while not go.wait(0.01):
            progress(0.5, "half")
        return "done"

    return work


def test_a_job_runs_and_tells_how_far_it_is(jobs: Engine) -> None:
    port: Port = jobs
    go, seen = threading.Event(), threading.Event()
    with jobs.working({"quick": working(go, seen)}):
        number = port.submit("quick", 3)
        until(lambda: port.job(number).progress == 0.5)
        running = port.job(number)
        assert (running.state, running.message, running.attempts) == ("running", "half", 1)
        assert running.worker
        assert running.started is not None
        assert running.created <= running.started
        go.set()
        until(lambda: ended(jobs))
    done = one(jobs)
    assert (done.id, done.kind, done.project, done.state) == (number, "quick", 3, "done")
    assert (done.message, done.progress) == ("done", 1.0)
    assert done.finished is not None
    assert jobs.jobs(3) == [done]
    assert jobs.jobs(4) == []


def test_payload_and_body_go_there_and_back_whole(jobs: Engine) -> None:
    """Tens of MB, of every byte there is; listings leave them out."""
    payload = bytes(range(256)) * 40_000

    def work(job: Job, progress: Progress) -> Done:
        return Done("turned round", job.payload[::-1] + bytes(20_000_000))

    with jobs.working({"quick": work}):
        number = jobs.submit("quick", 1, key="a", payload=payload)
        until(lambda: ended(jobs))
    found = jobs.job(number)
    assert found.payload == payload
    assert found.body == payload[::-1] + bytes(20_000_000)
    assert (one(jobs).payload, one(jobs).body, found.message) == (b"", b"", "turned round")


def test_asking_again_while_it_waits_is_one_job(jobs: Engine) -> None:
    first = [jobs.submit("quick", 1, 0.3, payload=str(i).encode()) for i in range(10)]
    assert len(set(first)) == 1
    assert len({*first, jobs.submit("quick", 2), jobs.submit("quick", 1, key="k"), jobs.submit("count", 1)}) == 4
    ran: list[tuple[str, int, str, bytes]] = []

    def work(job: Job, progress: Progress) -> str:
        ran.append((job.kind, job.project, job.key, job.payload))
        return ""

    expected = [("count", 1, "", b""), ("quick", 1, "", b"0"), ("quick", 1, "k", b""), ("quick", 2, "", b"")]
    with jobs.working({"quick": work, "count": work}):
        until(lambda: ended(jobs))
        assert sorted(ran) == expected
        assert jobs.submit("quick", 1) not in first
        until(lambda: len(ran) == 5 and ended(jobs))


def test_what_is_asked_for_while_it_runs_runs_after_it_and_never_beside_it(jobs: Engine) -> None:
    go, begun = threading.Event(), threading.Event()
    at_once, most, ran = 0, 0, 0

    def work(job: Job, progress: Progress) -> str:
        nonlocal at_once, most, ran
        at_once += 1
        most, ran = max(most, at_once), ran + 1
        begun.set()
        go.wait(10)
        time.sleep(0.05)
        at_once -= 1
        return ""

    with jobs.working({"quick": work}, threads=3):
        first = jobs.submit("quick", 1)
        assert begun.wait(10)
        second = {jobs.submit("quick", 1) for _ in range(5)}
        assert len(second | {first}) == 2
        other = jobs.submit("quick", 2)
        until(runs(jobs, other))  # another project does not wait
        assert jobs.job(*second).state == "queued"
        go.set()
        until(lambda: ended(jobs))
    assert ran == 3
    assert most == 2  # of two projects


def test_the_urgent_first_then_the_oldest(jobs: Engine) -> None:
    order: list[str] = []

    def work(job: Job, progress: Progress) -> str:
        order.append(job.key)
        return ""

    for key, priority in (("a", 0), ("b", 0), ("c", 5), ("d", -1), ("e", 5), ("f", 0)):
        jobs.submit("quick", 1, priority=priority, key=key)
    jobs.submit("count", 1, priority=1, key="of another kind in the lane")
    jobs.submit("quick", 1, priority=9, key="f")  # it became urgent
    jobs.submit("quick", 1, priority=-9, key="c")  # it did not become less so
    with jobs.working({"quick": work, "count": work}):
        until(lambda: ended(jobs))
    assert order == ["f", "c", "e", "of another kind in the lane", "a", "b", "d"]


def test_a_delay_is_the_earliest_start_and_asking_again_may_shorten_it(jobs: Engine) -> None:
    begun: dict[int, float] = {}

    def work(job: Job, progress: Progress) -> str:
        begun[job.project] = time.monotonic()
        return ""

    start = time.monotonic()
    with jobs.working({"quick": work}):
        jobs.submit("quick", 1, 0.8)
        jobs.submit("quick", 1, 60.0)
        jobs.submit("quick", 2, 60.0)
        jobs.submit("quick", 2)
        until(lambda: ended(jobs))
    assert begun[1] - start >= 0.75
    assert begun[2] - start < 0.7


def test_quick_work_does_not_wait_behind_long_work(jobs: Engine) -> None:
    go, seen, quick = threading.Event(), threading.Event(), threading.Event()

    def short(job: Job, progress: Progress) -> str:
        quick.set()
        return ""

    with jobs.working({"long": working(go, seen), "quick": short}):
        jobs.submit("long", 1)
        assert seen.wait(10)
        jobs.submit("quick", 1)
        assert quick.wait(10)
        go.set()


def test_a_worker_may_take_some_lanes_only_and_several_jobs_of_one_at_a_time(jobs: Engine) -> None:
    go, there = threading.Event(), threading.Barrier(3)

    def together(job: Job, progress: Progress) -> str:
        there.wait(10)
        return ""

    slow = jobs.submit("long", 1)
    with jobs.working({"long": working(go, go), "quick": together}, lanes=["fast"], threads=3):
        until(lambda: jobs.unworked() in ([], ["slow"]))  # the embedded one knows whether there is a worker
        for project in range(3):
            jobs.submit("quick", project)
        until(lambda: sum(j.state == "done" for j in jobs.jobs()) == 3)
        assert jobs.job(slow).state == "queued"
    assert jobs.unworked() == ["fast", "slow"]
    assert jobs.job(slow).attempts == 0
    with pytest.raises(InvalidInput, match="no lane 'fats'; there are: fast, slow"), jobs.working({}, lanes=["fats"]):
        pass


def test_a_failure_is_tried_again_later_and_later(jobs: Engine) -> None:
    tries: list[float] = []

    def work(job: Job, progress: Progress) -> str:
        tries.append(time.monotonic())
        if len(tries) < 3:
            raise LabelStudioError("Label Studio is down")
        return "at last"

    with jobs.working({"quick": work}):
        jobs.submit("quick", 1)
        until(lambda: len(tries) == 1 and one(jobs).state == "queued")
        assert one(jobs).message == "will retry: LabelStudioError: Label Studio is down"
        jobs.submit("quick", 1, priority=3)  # asking again does not wear the server out
        until(lambda: one(jobs).state == "done")
    assert tries[2] - tries[1] > tries[1] - tries[0] > 0.9
    assert (one(jobs).message, one(jobs).attempts) == ("at last", 3)


HOPELESS = (InvalidConfig("no Image tag"), NotAllowed("/etc/passwd"))
MAY_MEND = (InvalidImage("the host does not answer"), NotFound("no model"), MemoryError(), SystemExit(3))


def test_what_cant_get_better_by_trying_waits_for_a_person(jobs: Engine) -> None:
    errors: dict[str, BaseException] = {type(error).__name__: error for error in (*HOPELESS, *MAY_MEND)}
    hopeless = {type(error).__name__ for error in HOPELESS}
    broken = True

    def work(job: Job, progress: Progress) -> str:
        if broken:
            raise errors[job.key]
        return "mended"

    with jobs.working({"quick": work}):
        numbers = {name: jobs.submit("quick", 1, key=name) for name in errors}
        for name, number in numbers.items():
            state, told = ("failed", name) if name in hopeless else ("queued", f"will retry: {name}")
            until(lambda: jobs.job(number).state == state and jobs.job(number).message.startswith(told))  # noqa: B023
        assert {j.id for j in jobs.dead(1)} == {numbers[name] for name in hopeless}
        broken = False
        assert {name for name, number in numbers.items() if jobs.retry(number)} == hopeless
        until(lambda: {j.state for j in jobs.jobs()} == {"done"})
    assert {j.id for j in jobs.jobs()} == set(numbers.values())
    for name, number in numbers.items():
        assert jobs.job(number).attempts == 1 if name in hopeless else jobs.job(number).attempts >= 2
    assert jobs.dead() == []
    assert not any(jobs.retry(number) for number in numbers.values())


def test_of_the_same_work_there_is_one_dead_letter_and_none_once_it_was_done(jobs: Engine) -> None:
    broken = True

    def work(job: Job, progress: Progress) -> str:
        if broken:
            raise InvalidInput("broken")
        return ""

    with jobs.working({"quick": work}):
        numbers = []
        for project in (1, 1, 2):
            numbers.append(jobs.submit("quick", project))
            until(lambda: ended(jobs))
        assert [j.id for j in jobs.dead()] == [numbers[2], numbers[1]]
        assert [j.id for j in jobs.dead(1)] == [numbers[1]]
        assert jobs.job(numbers[0]).state == "cancelled"
        assert f"job {numbers[1]} did it later" in jobs.job(numbers[0]).message
        broken = False
        jobs.submit("quick", 1)
        until(lambda: ended(jobs))
    assert [j.id for j in jobs.dead()] == [numbers[2]]


def test_what_waits_can_be_cancelled_and_taken_up_again(jobs: Engine) -> None:
    ran = threading.Event()

    def work(job: Job, progress: Progress) -> str:
        ran.set()
        return ""

    number = jobs.submit("quick", 1)
    assert jobs.cancel(number)
    assert not jobs.cancel(number)
    assert one(jobs).state == "cancelled"
    with jobs.working({"quick": work}):
        assert not ran.wait(0.7)
        assert jobs.retry(number)
        assert ran.wait(10)
        until(lambda: one(jobs).state == "done")
    assert not jobs.cancel(number)


def test_what_runs_hears_of_a_cancel_within_a_second(jobs: Engine) -> None:
    go, seen, raised = threading.Event(), threading.Event(), threading.Event()

    def work(job: Job, progress: Progress) -> str:
        seen.set()
        try:
            while not go.wait(0.01):
                progress(0.5, "half")
        except Cancelled:
            raised.set()
            raise RuntimeError("the training was ended") from None
        return ""

    with jobs.working({"quick": work}):
        number = jobs.submit("quick", 1)
        assert seen.wait(10)
        start = time.monotonic()
        assert jobs.cancel(number)
        assert raised.wait(10)
        assert time.monotonic() - start < 1.5
        until(lambda: jobs.job(number).state == "cancelled")
        assert jobs.job(number).attempts == 1, "a cancelled job is not tried again"


def test_a_handler_may_cancel_its_own_work(jobs: Engine) -> None:
    def work(job: Job, progress: Progress) -> str:
        raise Cancelled("the project is gone")

    with jobs.working({"quick": work}):
        jobs.submit("quick", 1)
        until(lambda: ended(jobs))
    assert (one(jobs).state, one(jobs).message) == ("cancelled", "the project is gone")


def test_progress_may_be_told_a_million_times(jobs: Engine) -> None:
    def work(job: Job, progress: Progress) -> str:
        for _ in range(200_000):
            progress(float("nan"), "nothing known")
        progress(7.0, "beyond")
        return ""

    with jobs.working({"quick": work}):
        start = time.monotonic()
        jobs.submit("quick", 1)
        until(lambda: ended(jobs))
    assert time.monotonic() - start < 5.0
    assert one(jobs).state == "done"


def test_unknown_jobs_and_kinds_are_told(jobs: Engine) -> None:
    for call in (jobs.job, jobs.cancel, jobs.retry):
        with pytest.raises(NotFound, match="no job 4711"):
            call(4711)
    with pytest.raises(InvalidInput, match="no kind of job 'slow'; there are: count, long, other, quick"):
        jobs.submit("slow", 1)


def test_the_end_of_a_worker_waits_for_what_is_nearly_done(jobs: Engine) -> None:
    begun = threading.Event()

    def work(job: Job, progress: Progress) -> str:
        begun.set()
        time.sleep(0.5)
        return ""

    with jobs.working({"quick": work}, grace=5.0):
        jobs.submit("quick", 1)
        assert begun.wait(10)
    assert one(jobs).state == "done"


def test_what_does_not_end_in_time_is_handed_back_and_told_to_stop(make: Make) -> None:
    """And closing the queue under a thread that still runs is harmless."""
    jobs, other = make(), make()
    begun, go, raised = threading.Event(), threading.Event(), threading.Event()

    def deaf(job: Job, progress: Progress) -> str:
        begun.set()
        go.wait(20)
        try:
            progress(0.9, "late")
        except Cancelled:
            raised.set()
            raise
        return ""

    with jobs.working({"quick": deaf}, grace=0.1):
        number = jobs.submit("quick", 1)
        assert begun.wait(10)
    left = other.job(number)
    assert (left.state, left.attempts, left.message) == ("queued", 0, "again: its worker ended")
    jobs.close()
    with other.working({"quick": lambda job, progress: "by another"}):
        until(lambda: other.job(number).state == "done")
    go.set()
    assert raised.wait(10)
    time.sleep(0.3)
    assert (other.job(number).message, other.job(number).attempts) == ("by another", 1)


def test_only_the_newest_are_listed(jobs: Engine) -> None:
    numbers = [jobs.submit("quick", i % 2, key=str(i)) for i in range(520)]
    assert [j.id for j in jobs.jobs()] == numbers[:-501:-1]
    assert [j.id for j in jobs.jobs(1)] == numbers[1::2][::-1]
