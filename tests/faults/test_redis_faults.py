"""Redis killed, and cut off, while a refresh hands its pieces to two `groundlook worker`s: it goes on by itself, and what
is known in the end is what a worker alone would have found."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

pytest.importorskip("ultralytics")

from groundlook.core.errors import Busy
from groundlook.core.types import Job
from groundlook.loop import handlers, pieces
from groundlook.loop.refresh import refresh
from groundlook.service.wiring import Wired
from tests.faults.table import row
from tests.jobs.houses import Server, until
from tests.service.test_shards import Studio, Town, _nobody_looks_here, _same, _workers, home, redis

__all__ = ["home", "redis"]


@pytest.fixture(scope="module")
def alone(home: Town) -> Iterator[tuple[Wired, Studio]]:
    """What a refresh comes to where nothing goes wrong, and no Redis is."""
    with ExitStack() as stack:
        wired, studio = home.wired(stack, "alone")
        refresh(wired.loop, 7, lambda share, text: None)
        yield wired, studio


def shards(wired: Wired) -> list[Job]:
    return [job for job in wired.jobs.jobs(7) if job.kind == "shard"]




@pytest.mark.parametrize(
    ("what", "seconds"),
    [("killed", 3.0), ("cut off", 5.0), pytest.param("cut off", 30.0, marks=pytest.mark.slow)],
)
def test_a_refresh_outlives_a_redis_that_is_killed_or_cut_off(
    what: str,
    seconds: float,
    home: Town,
    redis: Server,
    alone: tuple[Wired, Studio],
    monkeypatch: pytest.MonkeyPatch,
    record_property: Any,
) -> None:
    monkeypatch.setattr(pieces, "PIECE", 8)  # 25 pieces
    with ExitStack() as stack:
        name = f"{what.split()[0]}-{seconds:.0f}"
        asking, studio = home.wired(stack, f"asking-{name}", redis.url)
        monkeypatch.setattr("groundlook.loop.pieces.look", _nobody_looks_here)
        workers = [home.worker(stack, f"worker-{name}-{i}", redis.url) for i in range(2)]
        until(lambda: _workers(redis) == {worker.pid for worker in workers}, 120)
        stack.enter_context(asking.jobs.working({"refresh": handlers(asking.loop)["refresh"]}, lanes=["slow"]))
        number = asking.jobs.submit("refresh", 7)
        until(lambda: any(job.state == "done" for job in shards(asking)), 120)
        hit = asking.jobs.job(number)
        assert hit.state == "running"
        if what == "killed":
            redis.kill()
            time.sleep(seconds)
            redis.start()
        else:
            redis.signal(signal.SIGSTOP)
            time.sleep(seconds)
            redis.signal(signal.SIGCONT)
        back = time.monotonic()
        until(lambda: _ended(asking, number), 120)
        record_property("fault", row(f"Redis {what} for {seconds:.0f} s", "predict in shards", time.monotonic() - back))
        assert asking.jobs.job(number).state == "done"
        assert [worker.poll() for worker in workers] == [None, None], "no worker needs to be started again"
        assert asking.jobs.dead(7) == []
        _same(asking, alone[0])
        assert [t.task_id for t in studio.windows[-1].tasks] == [t.task_id for t in alone[1].windows[-1].tasks]
        assert len(studio.windows) == 1


def _ended(wired: Wired, number: int) -> bool:
    try:
        return wired.jobs.job(number).state not in ("queued", "running")
    except Busy:
        return False
