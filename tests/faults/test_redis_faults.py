"""Redis killed, and cut off, while a refresh hands its pieces to two `groundlook worker`s: it goes on by itself, and
what is known in the end is what a worker alone would have found."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

pytest.importorskip("ultralytics")

from groundlook.core.errors import Busy
from groundlook.loop import handlers, pieces
from groundlook.loop.refresh import refresh
from groundlook.service.wiring import Wired
from tests.faults.table import row
from tests.redis_server import Server
from tests.service.test_shards import Studio, Town, _nobody_looks_here, _same, _workers, home
from tests.waiting import until

__all__ = ["home"]


@pytest.fixture(scope="module")
def alone(home: Town) -> Iterator[tuple[Wired, Studio]]:
    """What a refresh comes to where nothing goes wrong, and no Redis is."""
    with ExitStack() as stack:
        wired, studio = home.wired(stack, "alone")
        refresh(wired.loop, 7, lambda share, text: None)
        yield wired, studio


@pytest.mark.parametrize(
    "faults", [[("killed", 3.0), ("cut off", 5.0)], pytest.param([("cut off", 30.0)], marks=pytest.mark.slow)]
)
def test_a_refresh_outlives_the_faults_of_redis(
    faults: list[tuple[str, float]],
    home: Town,
    redis: Server,
    alone: tuple[Wired, Studio],
    monkeypatch: pytest.MonkeyPatch,
    record_property: Any,
) -> None:
    monkeypatch.setattr(pieces, "PIECE", 8)  # 25 pieces
    monkeypatch.setattr("groundlook.loop.pieces.look", _nobody_looks_here)
    redis.client.config_set("appendfsync", "always")
    with ExitStack() as stack:
        names = [f"worker-{seconds:.0f}-{i}" for _, seconds in faults[:1] for i in range(2)]
        workers = [home.worker(stack, name, redis.url) for name in names]
        until(lambda: _workers(redis) == {worker.pid for worker in workers}, 120)
        for what, seconds in faults:
            with ExitStack() as one:
                asking, studio = home.wired(one, f"asking-{seconds:.0f}", redis.url)
                one.enter_context(asking.jobs.working({"refresh": handlers(asking.loop)["refresh"]}, lanes=["slow"]))
                number = asking.jobs.submit("refresh", 7)
                until(lambda: _handed_back(asking, number), 120)  # noqa: B023 (called at once)
                assert asking.jobs.job(number).state == "running"
                back = struck(redis, what, seconds)
                until(lambda: _ended(asking, number), 120)  # noqa: B023
                told = row(f"Redis {what} for {seconds:.0f} s", "predict in shards", time.monotonic() - back)
                record_property("fault", told)
                assert asking.jobs.job(number).state == "done"
                assert [worker.poll() for worker in workers] == [None, None], "nobody has to start a worker again"
                assert asking.jobs.dead(7) == []
                _same(asking, alone[0])
                (window,) = studio.windows
                assert [t.task_id for t in window.tasks] == [t.task_id for t in alone[1].windows[-1].tasks]


def struck(redis: Server, what: str, seconds: float) -> float:
    """When Redis is back, on the monotonic clock."""
    if what == "killed":
        redis.kill()
        time.sleep(seconds)
        redis.start()
    else:
        redis.signal(signal.SIGSTOP)
        time.sleep(seconds)
        redis.signal(signal.SIGCONT)
    return time.monotonic()


def _handed_back(wired: Wired, since: int) -> bool:
    """Whether a first piece of the work is done."""
    return any(j.kind == "shard" and j.id > since and j.state == "done" for j in wired.jobs.jobs(7))


def _ended(wired: Wired, number: int) -> bool:
    try:
        return wired.jobs.job(number).state not in ("queued", "running")
    except Busy:
        return False
