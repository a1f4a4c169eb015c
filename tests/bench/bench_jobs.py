"""`groundlook bench jobs`: what asking for work costs, embedded and over Redis, and what workers add.

The peers are the least that the same promise costs: one row into a SQLite file in WAL mode, one write to the same
Redis. Redis runs here, with its append-only file synced every second, and only where redis-server is installed.
"""

from __future__ import annotations

import itertools
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from groundlook.service.bench import Goal, Result, Turns, in_turns, percentile
from groundlook_adapters.jobs.embedded import EmbeddedJobs
from groundlook_adapters.jobs.engine import Engine
from groundlook_adapters.jobs.remote import RedisJobs

sys.path.insert(0, str(Path(__file__).parent))
from jobs_bulk import bulk
from jobs_house import LANES, redis_server, seconds_with

FAST = Goal("ours", "<", 5.0)


def run(quick: bool) -> Iterator[Result]:
    """The cases, one after the other."""
    yield from bulk(quick)
    with tempfile.TemporaryDirectory(prefix="groundlook-bench-") as name:
        folder = Path(name)
        yield from _embedded(folder, 200 if quick else 2000)
        if shutil.which("redis-server") is not None:
            with redis_server(folder) as url:
                yield from _redis(url, 200 if quick else 2000)
                yield _workers(url, 40 if quick else 240)


# asking


def _embedded(folder: Path, repeats: int) -> Iterator[Result]:
    jobs = EmbeddedJobs(folder / "jobs.db", LANES)
    with closing(sqlite3.connect(folder / "bare.db", isolation_level=None)) as db, closing(jobs):
        db.execute("pragma journal_mode=wal")
        db.execute("pragma synchronous=normal")
        db.execute("create table job (id integer primary key, name text)")
        turns = in_turns(_asks(jobs), lambda i: db.execute("insert into job (name) values (?)", (str(i),)), repeats, 20)
    yield from _told("embedded", turns, "one row into SQLite")


def _redis(url: str, repeats: int) -> Iterator[Result]:
    from redis import Redis

    jobs = RedisJobs(url, LANES)
    with Redis.from_url(url) as bare, closing(jobs):
        turns = in_turns(_asks(jobs), lambda i: bare.set(f"bare:{i}", "1"), repeats, 20)
    yield from _told("Redis", turns, "SET")


def _asks(jobs: Engine) -> Callable[[int], object]:
    """Submits a job that no other is the same as."""
    keys = itertools.count()
    return lambda at: jobs.submit("nap", 1, key=str(next(keys)))


def _told(engine: str, turns: Turns, peer: str) -> Iterator[Result]:
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        ours, theirs = (percentile(seconds, share) * 1000 for seconds in (turns.ours, turns.peer))
        case = f"{name} of asking for a job, {engine}"
        yield Result(case, ours, "ms", FAST, len(turns.ours), theirs, f"{peer}, {name}", min(turns.ours) * 1000)


# working


def _workers(url: str, jobs: int) -> Result:
    """One worker's seconds over four workers', on jobs that sleep for 50 ms."""
    one, four = seconds_with(url, 1, jobs), seconds_with(url, 4, jobs)
    goal = Goal("ours", ">", 3.4)
    return Result(f"4 workers against one, {jobs} jobs of 50 ms, Redis", one / four, "x", goal, 1, 1.0, "one worker")
