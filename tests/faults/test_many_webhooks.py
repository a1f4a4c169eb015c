"""Two hundred events a second at the real service: each is answered at once and kept once, and jobs stay few."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from groundlook.core.types import Project
from groundlook.demo.backend import Backend
from groundlook.service.wiring import Wired, wire
from tests.faults.table import row
from tests.service.conftest import CONFIG
from tests.waiting import until

RATE = 200
TWICE = 10
"""Every so many events arrive a second time: a proxy may repeat what it got no answer to."""
GROWS_MB = 80.0


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Backend, Wired]]:
    """A service with its worker, whose Label Studio is away: so nothing mends what an event did not bring."""
    environ = {"GROUNDLOOK_DEBOUNCE": "0.5", "GROUNDLOOK_RECONCILE": "600", "GROUNDLOOK_LOG": "error"}
    backend = Backend(tmp_path / "home", [tmp_path], environ)
    with wire(backend.settings) as wired:
        wired.store.put_project(Project(7, "http://127.0.0.1:9", "0" * 40, CONFIG))
        with backend:
            yield backend, wired


@pytest.mark.parametrize("seconds", [5, pytest.param(60, marks=pytest.mark.slow)])
def test_two_hundred_webhooks_a_second_lose_nothing_by_that_fault(
    seconds: int, served: tuple[Backend, Wired], record_property: Any
) -> None:
    backend, wired = served
    assert backend.pid is not None
    process = psutil.Process(backend.pid)
    asyncio.run(storm(backend.settings.url, [event(-n, "warm") for n in range(1, 51)]))
    before = process.memory_info().rss / 1e6
    events = [event(n, "ANNOTATION_CREATED") for n in range(1, RATE * seconds + 1)]
    events += events[::TWICE]
    took, predicts, most = asyncio.run(storm(backend.settings.url, events, wired))
    ended = time.monotonic()
    expected = {n: n for n in range(1, RATE * seconds + 1)}
    until(lambda: {a.id: a.task_id for a in wired.store.served(7)} == expected, 30.0, 0.1)
    after = process.memory_info().rss / 1e6
    assert len(wired.store.served(7)) == len(expected), "each once"
    p50, p99 = np.quantile(took, [0.5, 0.99]) * 1000
    print(f"{len(took)} webhooks: p50 {p50:.0f} ms, p99 {p99:.0f} ms, slowest {max(took) * 1000:.0f} ms")
    print(f"{len(predicts)} predictions meanwhile: slowest {max(predicts) * 1000:.0f} ms; {after - before:+.0f} MB")
    assert p50 < 1000, "Label Studio waits for one second"
    assert most <= 4, "jobs of the project that wait or run"
    assert after - before < GROWS_MB
    record_property("fault", row(f"{RATE} webhooks a second for {seconds} s", "serving", time.monotonic() - ended))


def event(number: int, action: str) -> dict[str, Any]:
    annotation = {"id": number, "completed_by": 1, "result": [], "lead_time": 1.0, "was_cancelled": False}
    created = {"created_at": "2026-11-21T10:00:00Z"}
    task = {"id": number, "data": {"image": "http://127.0.0.1:9/x.png"}}
    return {"action": action, "project": {"id": 7}, "task": task, "annotation": {**annotation, **created}}


async def storm(
    url: str, events: list[dict[str, Any]], wired: Wired | None = None
) -> tuple[list[float], list[float], int]:
    """Send them at RATE; how long each took, how long predictions took meanwhile, and the most jobs there were."""
    took: list[float] = []
    predicts: list[float] = []
    most = 0
    limits = httpx.Limits(max_connections=64)
    async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False, limits=limits) as client:

        async def send(body: dict[str, Any]) -> None:
            began = time.monotonic()
            answer = await client.post("/webhook", json=body)
            took.append(time.monotonic() - began)
            assert answer.status_code == 200, answer.text

        async def predict() -> None:
            began = time.monotonic()
            tasks = [{"id": n, "data": {"image": "http://127.0.0.1:9/x.png"}} for n in (1, 2)]
            answer = await client.post("/predict", json={"tasks": tasks, "project": "7", "label_config": ""})
            predicts.append(time.monotonic() - began)
            assert answer.status_code == 200, answer.text
            assert len(answer.json()["results"]) == 2

        start = time.monotonic()
        sent: list[asyncio.Task[None]] = []
        for number, body in enumerate(events):
            sent.append(asyncio.create_task(send(body)))
            if number % RATE == 0:
                sent.append(asyncio.create_task(predict()))
                if wired is not None:
                    jobs = await asyncio.to_thread(wired.jobs.jobs, 7)
                    most = max(most, sum(job.state in ("queued", "running") for job in jobs))
            await asyncio.sleep(max(start + (number + 1) / RATE - time.monotonic(), 0))
        await asyncio.gather(*sent)
    return took, predicts, most
