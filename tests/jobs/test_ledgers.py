"""Two ledgers, one behaviour: whatever is done to them, both show the same. Clocks that jump, and workers that lost
what they held."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from groundlook.core.errors import Busy, Cancelled, InvalidInput, NotFound
from groundlook.core.types import Job
from groundlook_adapters.jobs import redis_ledger
from groundlook_adapters.jobs.ledger import KEPT, KEPT_S, Ledger
from groundlook_adapters.jobs.redis_ledger import RedisLedger
from groundlook_adapters.jobs.run import Run
from groundlook_adapters.jobs.sqlite_ledger import SqliteLedger
from tests.jobs.houses import Clock
from tests.redis_server import Server

KINDS = ["a", "b"]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def book(where: str, clock: Clock) -> Iterator[Ledger]:
    found: Ledger = RedisLedger(where, clock) if "://" in where else SqliteLedger(Path(where), clock)
    yield found
    found.close()


def put(book: Ledger, kind: str = "a", delay: float = 0.0, priority: int = 0, key: str = "") -> int:
    return book.put(kind, 1, delay, priority, key, b"")


def claim(book: Ledger, worker: str = "one/0") -> Job:
    job = book.claim(KINDS, worker)
    assert job is not None
    return job


# one behaviour

_job = st.integers(0, 5)
_worker = st.sampled_from(["one/0", "one/1", "two/0"])
_steps = st.one_of(
    st.tuples(
        st.just("put"),
        st.sampled_from(KINDS),
        st.integers(1, 2),
        st.sampled_from([0.0, 1.0, 60.0]),
        st.integers(-2, 2),
        st.sampled_from(["", "k"]),
    ),
    st.tuples(st.just("claim"), st.sampled_from([["a"], ["b"], ["a", "b"]]), _worker),
    st.tuples(st.just("beat"), _worker, st.floats(0, 1, width=16)),
    st.tuples(st.just("finish"), _worker, st.sampled_from(["done", "failed", "cancelled"])),
    st.tuples(st.just("requeue"), _worker, st.sampled_from([0.0, 1.0, 60.0]), st.booleans()),
    st.tuples(st.just("release"), _job, st.booleans(), st.integers(1, 3)),
    st.tuples(st.sampled_from(["cancel", "retry"]), _job),
    st.tuples(st.just("clock"), st.sampled_from([0.5, 1.0, 60.0, -0.5, -90.0, 4000.0])),
)


class Both:
    """Does a step to a ledger, and remembers what each worker believes to hold."""

    def __init__(self, book: Ledger) -> None:
        self.book = book
        self.held: dict[str, Job] = {}
        self.asked: list[int] = []

    def do(self, what: str, *words: Any) -> Any:
        if what == "put":
            kind, project, delay, priority, key = words
            job = self.book.put(kind, project, delay, priority, key, f"{len(self.asked)}".encode())
            self.asked.append(job)
            return self.asked.index(job)
        if what == "claim":
            found = self.book.claim(*words)
            if found is not None:
                self.held[words[1]] = found
            return self.plain(found)
        if what in ("beat", "finish", "requeue"):
            mine = self.held.get(words[0])
            if mine is None:
                return None
            if what == "beat":
                return self.book.beat(mine, words[1], "on")
            if what == "finish":
                return self.book.finish(mine, words[1], "ended", b"body")
            return self.book.requeue(mine, "again", words[1], words[2])
        job = self.asked[words[0] % len(self.asked)] if self.asked else 99
        try:
            if what == "release":
                mark = self.book.running().get(job, (1, 0))
                return self.book.release(job, mark if words[1] else (mark[0], mark[1] + 1), words[2])
            return getattr(self.book, what)(job)
        except NotFound:
            return "unknown"

    def plain(self, job: Job | None) -> Job | None:
        """Ids of both count from 1, but Redis's go on from test to test."""
        return None if job is None else replace(job, id=self.asked.index(job.id), message=job.message.partition(";")[0])

    def shows(self) -> Any:
        known = sorted(set(self.asked))
        return (
            [self.plain(job) for job in self.book.jobs(None)],
            [self.plain(job) for job in self.book.jobs(2)],
            [self.plain(job) for job in self.book.dead(None)],
            [self.plain(self.book.job(job)) for job in known],
            {self.asked.index(job): mark for job, mark in self.book.running().items()},
        )


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(_steps, max_size=40))
def test_whatever_is_done_both_ledgers_show_the_same(redis: Server, steps: list[tuple[Any, ...]]) -> None:
    redis.client.flushall()
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        books = [SqliteLedger(Path(folder) / "jobs.db", clock), RedisLedger(redis.url, clock)]
        both = [Both(book) for book in books]
        for step in steps:
            if step[0] == "clock":
                clock.now += step[1]
                continue
            answers = [one.do(*step) for one in both]
            assert answers[0] == answers[1], step
            shown = [one.shows() for one in both]
            assert shown[0] == shown[1], step
            _holds(both[0].book)
        for book in books:
            book.close()


def _holds(book: Ledger) -> None:
    """What is true at any time: of the same work one runs, one waits for its first attempt; one dead letter."""
    jobs = book.jobs(None)
    for these in (
        [j for j in jobs if j.state == "running"],
        book.dead(None),
    ):
        same = [(j.kind, j.project, j.key) for j in these]
        assert len(same) == len(set(same))
    workers = [j.worker for j in jobs if j.state == "running"]
    assert len(workers) == len(set(workers))


# clocks


def test_a_clock_that_is_set_back_delays_nothing(book: Ledger, clock: Clock) -> None:
    put(book, delay=30.0)
    clock.now += 10
    assert book.claim(KINDS, "one/0") is None
    clock.now -= 3600
    assert claim(book).attempts == 1


def test_a_clock_that_is_set_back_does_not_hold_up_what_failed(book: Ledger, clock: Clock) -> None:
    put(book)
    assert book.requeue(claim(book), "will retry", 60.0, counted=True)
    assert book.claim(KINDS, "one/0") is None
    clock.now -= 86_400
    assert claim(book).attempts == 2


def test_a_clock_that_jumps_on_takes_nothing_from_its_worker(book: Ledger, clock: Clock) -> None:
    put(book)
    job = claim(book)
    clock.now += 86_400 * 365
    assert book.beat(job, 0.5, "on") == "go"
    assert book.claim(KINDS, "two/0") is None
    assert book.finish(job, "done", "")


# who holds what


def test_an_answer_that_got_lost_costs_nothing(book: Ledger) -> None:
    """The worker asks again, and gets what it holds already; what it said twice counts once."""
    put(book)
    put(book, key="k")
    job = claim(book)
    assert claim(book) == job
    assert book.finish(job, "done", "yes", b"1")
    assert book.finish(job, "done", "yes", b"1")
    assert book.job(job.id).body == b"1"
    assert not book.finish(job, "failed", "no")
    assert book.job(job.id).state == "done"


@pytest.mark.parametrize("other", ["two/0", "one/0"])
def test_who_lost_a_job_cant_write_to_it(book: Ledger, other: str) -> None:
    """Not even where its own worker took it again: the older attempt is not the newer one."""
    put(book)
    old = claim(book)
    (mark,) = book.running().values()
    assert book.release(old.id, mark, 12)
    assert book.beat(old, 0.9, "still here") == "lost"
    new = claim(book, other)
    assert new.id == old.id
    assert book.beat(old, 0.9, "still here") == "lost"
    assert not book.finish(old, "done", "old", b"old")
    assert not book.requeue(old, "again", 0.0, counted=True)
    assert book.job(new.id).message == ""
    assert book.finish(new, "done", "new")
    assert book.job(new.id).message == "new"
    assert not book.finish(old, "done", "old")


def test_who_gave_a_sign_of_life_keeps_its_job(book: Ledger) -> None:
    put(book)
    job = claim(book)
    (mark,) = book.running().values()
    assert book.beat(job, 0.1, "") == "go"
    assert not book.release(job.id, mark, 12)
    assert book.job(job.id).state == "running"


def test_a_job_that_kills_its_workers_is_given_up(book: Ledger) -> None:
    number = put(book)
    for attempt in (1, 2, 3):
        assert claim(book, f"worker/{attempt}").attempts == attempt
        assert book.release(number, book.running()[number], 3)
    assert book.job(number).state == "failed"
    assert "its worker was gone in the middle of it, 3 times" in book.job(number).message


def test_a_cancel_outlives_its_worker(book: Ledger) -> None:
    for end in ("release", "requeue"):
        number = put(book)
        job = claim(book)
        assert book.cancel(number)
        if end == "release":
            assert book.release(number, book.running()[number], 12)
        else:
            assert book.requeue(job, "will retry", 1.0, counted=True)
        assert book.job(number).state == "cancelled"
    put(book)
    assert book.beat(claim(book), 0.0, "") == "go", "of the next attempt nobody said so"


# what is kept


def test_what_ended_long_ago_is_forgotten_but_for_the_last_of_each_project(book: Ledger, clock: Clock) -> None:
    dead = put(book, key="dead")
    book.finish(claim(book), "failed", "")
    first = [_done(book, clock) for _ in range(KEPT + 20)]
    assert book.job(first[0]).body == b"body"
    other = book.put("a", 2, 0.0, 0, "", b"")
    book.finish(claim(book), "done", "")
    clock.now += KEPT_S + 1
    waiting = put(book, key="waits")
    last = [_done(book, clock) for _ in range(5)]
    kept = [n for n in [*first, *last] if _known(book, n)]
    assert len(kept) == KEPT
    assert kept == [*first, *last][-KEPT:]
    assert book.job(kept[-1]).body == b"body"
    assert all(_known(book, n) for n in (dead, other, waiting))


def _done(book: Ledger, clock: Clock) -> int:
    clock.now += 0.001
    number = put(book, "b", priority=1)
    assert book.finish(claim(book), "done", "", b"body")
    return number


def _known(book: Ledger, job: int) -> bool:
    try:
        book.job(job)
    except NotFound:
        return False
    return True


def test_what_a_job_gave_back_is_kept_for_an_hour(tmp_path: Path, clock: Clock, redis: Server) -> None:
    """In Redis it lapses by itself, by the server's clock."""
    for book in (SqliteLedger(tmp_path / "jobs.db", clock), RedisLedger(redis.url, clock)):
        number = _done(book, clock)
        clock.now += KEPT_S + 1
        _done(book, clock)
        if isinstance(book, SqliteLedger):
            assert book.job(number).body == b""
        else:
            (ttl,) = {redis.client.ttl(key) for key in redis.client.keys("groundlook:jobs:body:*")}
            assert KEPT_S - 10 < ttl <= KEPT_S
        book.close()


# out of reach


def test_an_older_home_is_taken_over(tmp_path: Path) -> None:
    import sqlite3

    with sqlite3.connect(tmp_path / "jobs.db") as db:
        db.execute("create table job (id integer primary key, kind text, project integer, state text)")
        db.execute("create table task (id integer primary key)")
    db.close()
    book = SqliteLedger(tmp_path / "jobs.db")
    assert [j.id for j in book.jobs(None)] == []
    put(book)
    book.close()
    again = SqliteLedger(tmp_path / "jobs.db")
    assert len(again.jobs(None)) == 1
    again.close()


def test_a_closed_queue_and_one_that_cant_be_written_are_told(tmp_path: Path) -> None:
    book = SqliteLedger(tmp_path / "jobs.db")
    book._connection.execute("pragma max_page_count = 20")  # as a disk without room
    with pytest.raises(Busy, match=r"jobs\.db can't be used now \(database or disk is full\): see that its disk"):
        book.put("a", 1, 0.0, 0, "", bytes(1_000_000))
    assert book.jobs(None) == [], "not half of it"
    put(book)
    book.close()
    with pytest.raises(Busy):
        put(book)


def test_a_redis_that_is_away_is_told_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_ledger, "PATIENCE_S", 0.3)
    book = RedisLedger("redis://me:hunter2@127.0.0.1:1/0")
    with pytest.raises(Busy, match=r"Redis at 127\.0\.0\.1:1 can't be used now .*then try again") as caught:
        put(book)
    assert "hunter2" not in str(caught.value)
    book.close()


@pytest.mark.parametrize("url", ["http://somewhere", "redis://host:port/0", "nonsense"])
def test_a_url_that_cant_be_used_says_how_to_write_one(url: str) -> None:
    with pytest.raises(InvalidInput, match="write redis://host:6379/0"):
        RedisLedger(url)


def test_a_full_redis_is_told_and_nothing_is_half_written(redis: Server, book: Ledger, where: str) -> None:
    if "://" not in where:
        return
    put(book)
    redis.client.config_set("maxmemory", "1mb")
    try:
        with pytest.raises(Busy, match="see that it runs and has room"):
            put(book, key="k")
    finally:
        redis.client.config_set("maxmemory", "0")
    assert len(book.jobs(None)) == 1
    assert put(book, key="k")


def test_after_a_long_pause_the_first_progress_asks_whether_the_job_is_still_ours(book: Ledger) -> None:
    put(book)
    job = claim(book)
    run = Run(job, book, lease=60.0)
    run(0.1, "nobody took it")
    assert book.release(job.id, book.running()[job.id], 12)
    run(0.2, "not paused: the keeper's next beat will tell")
    run.beaten -= 61.0
    with pytest.raises(Cancelled, match="it was taken from this worker"):
        run(0.3, "paused")
