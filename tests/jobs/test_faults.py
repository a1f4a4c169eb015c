"""Faults, with real processes: killed and paused workers, a Redis that is killed, cut off or slow. Each time nothing is
lost, nobody writes over another's work, and work goes on by itself."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from groundlook.core.errors import Busy
from groundlook.core.ports import Progress
from groundlook.core.types import Job
from groundlook_adapters.jobs.embedded import EmbeddedJobs
from groundlook_adapters.jobs.engine import Engine
from groundlook_adapters.jobs.remote import RedisJobs
from tests.jobs.houses import LANES, LEASE, ended, engine, notes, one, runs, states, worker
from tests.redis_server import Server
from tests.waiting import until


@pytest.fixture
def safe(redis: Server) -> Server:
    """A Redis that writes everything down before it answers."""
    redis.client.config_set("appendfsync", "always")
    return redis


@pytest.fixture
def shared(safe: Server) -> Iterator[RedisJobs]:
    found = RedisJobs(safe.url, LANES, lease=LEASE)
    yield found
    found.close()


@pytest.mark.fault("worker killed", "one job runs and others wait")
def test_a_killed_worker_loses_nothing(where: str, jobs: Engine, tmp_path: Path) -> None:
    """SIGKILL while one job runs, another of its kind waits behind it, and a third has a delay."""
    with worker(where, tmp_path) as first:
        running = jobs.submit("long", 1)
        until(runs(jobs, running))
        behind = jobs.submit("long", 1)
        later = jobs.submit("quick", 2, delay=5)
        first.kill()
        first.wait()
    (tmp_path / "go").touch()
    with worker(where, tmp_path):
        if "://" not in where:  # there is one worker only: nothing has to be waited for
            until(lambda: f"{running}:2" in notes(tmp_path, "ended"), 5)
        until(lambda: ended(jobs))
    assert states(jobs) == {running: "done", behind: "done", later: "done"}
    assert sorted(notes(tmp_path, "ended")) == sorted([f"{running}:2", f"{behind}:1", f"{later}:1"])


def test_only_one_worker_runs_the_jobs_of_a_home(tmp_path: Path) -> None:
    jobs = EmbeddedJobs(tmp_path / "jobs.db", LANES)
    with (
        worker(str(tmp_path / "jobs.db"), tmp_path),
        pytest.raises(Busy, match="another worker runs the jobs"),
        jobs.working({}, wait=0.3),
    ):
        pass
    with jobs.working({}):
        assert jobs.unworked() == []
    assert jobs.unworked() == ["fast", "slow"]
    jobs.close()


@pytest.mark.fault("worker told to end", "a long job")
def test_a_worker_that_ends_hands_back_what_it_cant_finish(where: str, jobs: Engine, tmp_path: Path) -> None:
    """SIGTERM: what is nearly done ends, what is not is told to stop and runs again, and no attempt is counted."""
    with worker(where, tmp_path, "grace=1", "sleep=0.6") as first:
        long = jobs.submit("long", 1)
        until(runs(jobs, long))
        short = jobs.submit("quick", 1)
        until(runs(jobs, short))
        waits = jobs.submit("quick", 2)
        start = time.monotonic()
        first.terminate()
        assert first.wait(10) == 0
        assert time.monotonic() - start < 4
    assert states(jobs) == {long: "queued", short: "done", waits: "queued"}
    assert (jobs.job(long).attempts, jobs.job(waits).attempts) == (0, 0)
    (tmp_path / "go").touch()
    with worker(where, tmp_path):
        until(lambda: ended(jobs))
    assert jobs.job(long).attempts == 1


def test_four_workers_do_each_of_a_thousand_jobs_once(redis: Server, tmp_path: Path) -> None:
    jobs = engine(redis.url, 15.0)
    with (
        worker(redis.url, tmp_path, "threads=2", "lease=15"),
        worker(redis.url, tmp_path, "threads=2", "lease=15"),
        worker(redis.url, tmp_path, "threads=2", "lease=15"),
        worker(redis.url, tmp_path, "threads=2", "lease=15"),
    ):
        numbers = [jobs.submit("count", i % 3, key=str(i)) for i in range(1000)]
        until(lambda: len(notes(tmp_path, "ended")) >= 1000, 60)
        until(lambda: ended(jobs))
    jobs.close()
    assert sorted(notes(tmp_path, "ended")) == sorted(f"{n}:1" for n in numbers)
    assert len(list(tmp_path.glob("ended-*"))) == 4, "everybody helped"


def test_of_two_workers_one_trains_a_project_at_a_time(redis: Server, tmp_path: Path) -> None:
    jobs = engine(redis.url)
    with worker(redis.url, tmp_path), worker(redis.url, tmp_path):
        first = jobs.submit("long", 1)
        until(runs(jobs, first))
        second = jobs.submit("long", 1)
        other = jobs.submit("long", 2)
        until(runs(jobs, other))
        time.sleep(0.6)
        assert states(jobs) == {first: "running", second: "queued", other: "running"}
        (tmp_path / "go").touch()
        until(lambda: ended(jobs))
    jobs.close()


@pytest.mark.fault("worker paused beyond its lease", "a long job")
def test_a_worker_that_was_paused_too_long_is_left_out(safe: Server, shared: RedisJobs, tmp_path: Path) -> None:
    """SIGSTOP beyond the lease: its job goes to another; when it wakes it can't finish, and hears that it lost."""
    number = shared.submit("long", 1)
    with worker(safe.url, tmp_path) as paused, worker(safe.url, tmp_path):
        until(runs(shared, number))
        holder = shared.job(number).worker
        until(lambda: len(notes(tmp_path, "began")) == 1)
        pid = int(next(tmp_path.glob("began-*")).name.partition("-")[2])
        os.kill(pid, signal.SIGSTOP)
        try:
            until(lambda: len(notes(tmp_path, "began")) == 2)
            after = shared.job(number)
            assert (after.state, after.attempts) == ("running", 2)
            assert after.worker != holder
        finally:
            os.kill(pid, signal.SIGCONT)
        time.sleep(1.0)
        (tmp_path / "go").touch()
        until(lambda: ended(shared))
        assert paused.poll() is None
        again = shared.submit("long", 2)
        until(lambda: shared.job(again).state == "done")
    assert notes(tmp_path, "ended").count(f"{number}:2") == 1
    assert f"{number}:1" not in notes(tmp_path, "ended"), "the paused one stopped at its next progress"


@pytest.mark.fault("worker paused beyond its lease", "a job that hears nothing")
def test_a_worker_that_was_paused_and_hears_nothing_cant_finish(
    safe: Server, shared: RedisJobs, tmp_path: Path
) -> None:
    number = shared.submit("long", 1)
    with worker(safe.url, tmp_path, "deaf=1") as first:
        until(lambda: len(notes(tmp_path, "began")) == 1)
        first.send_signal(signal.SIGSTOP)
        with shared.working({"long": lambda job, progress: "by another"}):
            until(lambda: shared.job(number).state == "done")
        first.send_signal(signal.SIGCONT)
        (tmp_path / "go").touch()
        until(lambda: notes(tmp_path, "ended") == [f"{number}:1"])
        time.sleep(0.5)
    assert (shared.job(number).message, shared.job(number).attempts) == ("by another", 2)


@pytest.mark.fault("Redis killed and started again", "20 jobs wait and one is submitted")
def test_redis_killed_and_started_again_has_lost_nothing(safe: Server, shared: RedisJobs, tmp_path: Path) -> None:
    """SIGKILL while one job runs and others wait, and for longer than a call has patience: what ends meanwhile is
    written down afterwards, and who submits asks again. Workers go on by themselves."""
    with worker(safe.url, tmp_path):
        running = shared.submit("long", 1)
        until(runs(shared, running))
        waiting = [shared.submit("long", 1, key=str(i), payload=bytes(1000)) for i in range(20)]
        safe.kill()
        (tmp_path / "go").touch()
        with pytest.raises(Busy, match="then try again"):
            shared.submit("quick", 9)
        asked: list[int] = []
        asks = threading.Thread(target=lambda: asked.append(shared.submit("quick", 9)))
        asks.start()
        time.sleep(2.0)
        safe.start()
        asks.join(20)
        until(lambda: ended(shared))
    assert set(states(shared)) == {running, *waiting, *asked}
    assert set(states(shared).values()) == {"done"}
    done = Counter(line.partition(":")[0] for line in notes(tmp_path, "ended"))
    assert done == Counter(str(n) for n in [running, *waiting, *asked]), "and each ran once"


@pytest.mark.fault("Redis cut off", "jobs run on two workers")
def test_redis_cut_off_stops_nothing_for_good(safe: Server, shared: RedisJobs, tmp_path: Path) -> None:
    """For four leases and more: nobody is taken for dead, because nobody could look; who submits is told what to do."""
    with worker(safe.url, tmp_path), worker(safe.url, tmp_path):
        running = shared.submit("long", 1)
        until(runs(shared, running))
        behind = shared.submit("long", 1)
        safe.signal(signal.SIGSTOP)
        start = time.monotonic()
        (tmp_path / "go").touch()  # it ends while nobody can be told
        try:
            with pytest.raises(Busy, match=r"can't be used now .*see that it runs and has room, then try again"):
                shared.submit("quick", 5)
            assert time.monotonic() - start < 8
            time.sleep(max(4.5 * LEASE - (time.monotonic() - start), 0))
        finally:
            safe.signal(signal.SIGCONT)
        until(lambda: ended(shared))
        fresh = shared.submit("count", 1)
        until(lambda: shared.job(fresh).state == "done")
    assert {shared.job(n).state for n in (running, behind)} == {"done"}
    refused = [line for line in notes(tmp_path, "ended") if int(line.partition(":")[0]) not in (running, behind, fresh)]
    assert len(refused) <= 1, "Redis may do late what it was asked for in time"
    assert sorted(set(notes(tmp_path, "ended")) - set(refused)) == sorted(f"{n}:1" for n in (running, behind, fresh))
    assert len(notes(tmp_path, "ended")) == 3 + len(refused), "each ran once"


def test_two_hundred_webhooks_a_second_are_a_few_jobs(where: str, jobs: Engine, tmp_path: Path) -> None:
    """With a worker that keeps pace: each is deduplicated, and what the last one asked for is still done after it."""
    began: list[float] = []

    def sync(job: Job, progress: Progress) -> str:
        began.append(time.monotonic())
        time.sleep(0.05)
        return ""

    with jobs.working({"quick": sync}):
        start = last = time.monotonic()
        count = 0
        while (last := time.monotonic()) - start < 3.0:
            jobs.submit("quick", count % 2, delay=0.2)
            count += 1
            time.sleep(max(start + count / 200 - time.monotonic(), 0))
        until(lambda: ended(jobs))
    assert count > 400
    assert len(began) <= 2 * (3.0 / 0.2 + 2)
    assert began[-1] >= last


@pytest.mark.fault("clock jumps by a day back and a year on", "jobs run")
def test_clocks_that_jump_while_workers_work(redis: Server, tmp_path: Path) -> None:
    """Set back by a day, and on by a year, in the middle of a job: it stays its worker's, and what waits goes on."""
    now = [time.time()]
    for found in (
        RedisJobs(redis.url, LANES, lease=1.0, clock=lambda: now[0]),
        EmbeddedJobs(tmp_path / "jobs.db", LANES, clock=lambda: now[0]),
    ):
        go, begun = threading.Event(), threading.Event()

        def long(job: Job, progress: Progress, go: threading.Event = go, begun: threading.Event = begun) -> str:
            begun.set()
            while not go.wait(0.02):
                progress(0.5, "half")
            return "done"

        with found.working({"long": long, "quick": lambda job, progress: ""}):
            number = found.submit("long", 1)
            assert begun.wait(10)
            for jump in (-86_400.0, 365 * 86_400.0):
                found.submit("quick", 1, delay=60)
                now[0] += jump
                until(lambda: not any(j.kind == "quick" and j.state != "done" for j in found.jobs()))  # noqa: B023
            time.sleep(1.5)
            assert found.job(number).state == "running"
            go.set()
            until(lambda: ended(found))  # noqa: B023
        assert found.job(number).attempts == 1
        found.close()


def test_many_processes_may_open_a_new_home_at_once(tmp_path: Path) -> None:
    """The service, its worker and a command line start together."""
    path = str(tmp_path / "jobs.db")
    jobs = engine(path)
    number = jobs.submit("quick", 1)
    opened: list[Engine] = []
    threads = [threading.Thread(target=lambda: opened.append(engine(path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 8
    assert {one(found).id for found in opened} == {number}
    for found in [jobs, *opened]:
        found.close()


def test_a_job_that_tells_nothing_for_long_stays_its_workers(redis: Server, tmp_path: Path) -> None:
    jobs = engine(redis.url, 1.0)
    with worker(redis.url, tmp_path, "lease=1", "sleep=4"), worker(redis.url, tmp_path, "lease=1", "sleep=4"):
        number = jobs.submit("quick", 1)
        until(lambda: ended(jobs))
    assert notes(tmp_path, "began") == [f"{number}:1"]
    assert jobs.job(number).attempts == 1
    jobs.close()
