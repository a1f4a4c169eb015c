"""`groundlook jobs` and `groundlook worker`, as an admin uses them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from groundlook.core.errors import InvalidInput, InvalidWeights
from groundlook.core.ports import Progress
from groundlook.core.types import Control, Job, LabelConfig, Project
from groundlook.service.cli import app
from groundlook.service.settings import read_settings
from groundlook.service.wiring.parts import Wired, wire
from groundlook.service.worker import look
from tests.jobs.houses import ended
from tests.redis_server import Server
from tests.waiting import until

CONFIG = LabelConfig(
    "label", "RectangleLabels", "image", "image", ("x",), (Control("label", "RectangleLabels", ("x",)),)
)


@pytest.fixture(params=["embedded", "redis"])
def wired(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wired]:
    """A home with two projects of a Label Studio that does not answer."""
    monkeypatch.setenv("GROUNDLOOK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GROUNDLOOK_RECONCILE", "2")
    if request.param == "redis":
        server: Server = request.getfixturevalue("redis")
        monkeypatch.setenv("GROUNDLOOK_REDIS", server.url)
    with wire(read_settings(os.environ)) as parts:
        for number in (1, 2):
            parts.store.put_project(Project(number, "http://127.0.0.1:9", "t", CONFIG))
        yield parts


def told(*words: str) -> str:
    result = CliRunner().invoke(app, ["jobs", *words])
    if result.exception is not None:
        raise result.exception
    return result.output


def test_jobs_are_listed_with_what_matters(wired: Wired) -> None:
    assert told() == ""
    calm, urgent = wired.jobs.submit("learn", 1), wired.jobs.submit("sync", 2, priority=7)
    assert told().splitlines() == [
        f"{urgent:>6} sync     project 2 queued      0% [priority 7] ",
        f"{calm:>6} learn    project 1 queued      0% ",
    ]
    assert told("--project", "1").splitlines() == [f"{calm:>6} learn    project 1 queued      0% "]
    bodies = json.loads(told("--json"))
    assert [(b["id"], b["state"], b["priority"], b["left"]) for b in bodies] == [
        (urgent, "queued", 7, None),
        (calm, "queued", 0, None),
    ]
    assert all("payload" not in b and "body" not in b for b in bodies)


def test_a_running_job_tells_how_long_it_still_takes(wired: Wired) -> None:
    go = False

    def train(job: Job, progress: Progress) -> str:
        while not go:
            progress(0.25, "epoch 1 of 4")
            time.sleep(0.02)
        return ""

    with wired.jobs.working({"learn": train}):
        number = wired.jobs.submit("learn", 1)
        until(lambda: wired.jobs.job(number).progress == 0.25)
        time.sleep(1.0)
        (body,) = json.loads(told("--json"))
        assert 3.0 <= body["left"] < 30.0
        assert " 25% [" in told()
        assert " s left] epoch 1 of 4" in told()
        assert f"job {number} (learn of project 1) is told to stop" in told("cancel", str(number))
        until(lambda: wired.jobs.job(number).state == "cancelled")
        go = True
        assert told("retry", str(number)) == f"queued again: {number}\n"
        until(lambda: ended(wired.jobs))
    assert wired.jobs.job(number).state == "done"


def test_what_was_given_up_stays_in_sight_until_it_is_tried_again(wired: Wired) -> None:
    def work(job: Job, progress: Progress) -> str:
        if job.kind == "learn":
            raise InvalidWeights("yolo.pt is gone")
        return ""

    with wired.jobs.working({"learn": work, "sync": work}):
        dead = wired.jobs.submit("learn", 1)
        until(lambda: wired.jobs.job(dead).state == "failed")
        for i in range(25):
            wired.jobs.submit("sync", 1, key=str(i))
        until(lambda: ended(wired.jobs))
    lines = told().splitlines()
    assert len(lines) == 22
    assert lines[-2] == f"{dead:>6} learn    project 1 GIVEN UP    0% InvalidWeights: yolo.pt is gone"
    assert lines[-1] == "1 given up: put right what they say, then groundlook jobs retry --failed"
    assert told("retry", "--failed", "--project", "2") == "queued again: nothing, no job was given up\n"
    assert told("retry", "--failed") == f"queued again: {dead}\n"
    assert "given up" not in told()


def test_wrong_words_are_told(wired: Wired) -> None:
    number = wired.jobs.submit("learn", 1)
    with pytest.raises(InvalidInput, match="needs the ID of a job, or --failed"):
        told("retry")
    with pytest.raises(InvalidInput, match=f"job {number} is queued: there is nothing to queue again"):
        told("retry", str(number))
    told("cancel", str(number))
    with pytest.raises(InvalidInput, match=f"job {number} has ended already: it is cancelled"):
        told("cancel", str(number))


def start(*words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "groundlook", "worker", *words], stderr=subprocess.PIPE)


def stop(process: subprocess.Popen[bytes]) -> str:
    """What it had to say, after an orderly end."""
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=40)
    assert process.returncode == 0, said.decode()
    return said.decode()


@pytest.fixture
def refusing() -> Iterator[str]:
    """The URL of a server that refuses everybody: it says so at once, while one that does not answer is waited for."""

    class Refuses(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(401)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Refuses)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_a_worker_looks_at_every_project(wired: Wired, refusing: str) -> None:
    for number in (1, 2):
        wired.store.put_project(Project(number, refusing, "t", CONFIG))
    worker = start()
    try:
        until(lambda: {(j.kind, j.project) for j in wired.jobs.jobs()} == {("sync", 1), ("sync", 2)})
        until(lambda: wired.jobs.unworked() == [])
        until(lambda: any(j.message.startswith("will retry: LabelStudioError") for j in wired.jobs.jobs()))
    finally:
        stop(worker)
    assert wired.jobs.unworked() == ["fast", "shards", "slow", "spare"]


def test_several_workers_do_not_look_more_often(wired: Wired) -> None:
    with wired.jobs.working({"sync": lambda job, progress: ""}):
        for fresh, expected in ((0.0, 1), (30.0, 1), (30.0, 1), (0.0, 2)):
            look(wired, fresh)
            until(lambda: ended(wired.jobs))
            assert len(wired.jobs.jobs(1)) == expected


def test_a_worker_of_some_lanes_needs_redis(wired: Wired) -> None:
    worker = start("--lanes", "shards", "--threads", "4")
    if not wired.settings.redis:
        _, said = worker.communicate(timeout=60)
        assert worker.returncode == 1
        assert b"--lanes shares the work of several workers, which need GROUNDLOOK_REDIS" in said
        return
    try:
        until(lambda: wired.jobs.unworked() == ["fast", "slow", "spare"])
        assert wired.jobs.jobs(1)[0].state == "queued"
    finally:
        stop(worker)
