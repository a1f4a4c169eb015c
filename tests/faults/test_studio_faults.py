"""One round of learning with a real Label Studio, service, worker and YOLO, each of which is killed on the way."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
import rasterio

pytest.importorskip("ultralytics")

from groundlook.core.types import Job
from groundlook.demo.backend import Backend
from groundlook.demo.house import create_project
from groundlook.demo.studio import Studio
from groundlook.learning.registry import file_sha256
from groundlook.service.wiring import Wired, wire
from tests.e2e.test_retrain import START, XML, Site, runner
from tests.faults.table import row
from tests.weights.make_yolo import SIDE, town

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1500)]
ACROSS, DOWN, LABELLED = 6, 10, 27
PATIENCE_S = 400.0
EPOCHS = "3"


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    """One that is killed, and so is nobody else's."""
    with Studio(tmp_path / "label-studio") as server:
        yield server


@dataclass
class Round:
    """The project, the service, and what people were told to look at while things were killed."""

    site: Site
    backend: Backend
    wired: Wired
    told: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def jobs(self, kind: str) -> list[Job]:
        return [job for job in self.wired.jobs.jobs(self.site.project) if job.kind == kind]

    def during(self, kind: str, *words: str) -> str:
        """What a running job of `kind` says, if it is at one of `words`, or "": then it is not."""
        for job in self.jobs(kind):
            if job.state == "running" and (not words or any(word in job.message for word in words)):
                return f"{kind}: {job.message}"
        return ""

    def progress(self) -> set[tuple[int, int, str]]:
        """What was done and is being done by now, in words; tries that failed are not among it."""
        jobs = [job for job in self.wired.jobs.jobs(self.site.project) if job.state in ("running", "done")]
        return {(job.id, job.attempts, job.message) for job in jobs if not job.message.startswith("will retry")}

    def learned(self) -> bool:
        return any(job.state in ("done", "failed", "cancelled") for job in self.jobs("learn"))

    def idle(self) -> bool:
        return not any(job.state in ("queued", "running") for job in self.wired.jobs.jobs(self.site.project))

    def worker(self) -> psutil.Process:
        children = psutil.Process(self.backend.pid).children()
        return next(child for child in children if "worker" in child.cmdline())

    def look(self) -> None:
        """No version is told, by us or by Label Studio, that does not exist or has nothing to show."""
        number = self.site.project
        try:
            setup = httpx.post(f"{self.backend.settings.url}/setup", json={"project": str(number)}, trust_env=False)
            if setup.status_code == 200:
                self._known("/setup", setup.json()["model_version"])
            served = str(self.site.call("GET", f"/api/projects/{number}")["model_version"])
            shown = [p["model_version"] for task in self.site.tasks() for p in task["predictions"]]
        except (httpx.HTTPError, AssertionError, StopIteration):
            return  # it is down
        self._known("Label Studio", served)
        now = str(self.site.call("GET", f"/api/projects/{number}")["model_version"])
        if served == now and served and served not in shown:
            self.wrong.append(f"nothing carries {served}")

    def _known(self, who: str, version: str) -> None:
        self.told[who] = version
        versions = {str(card.version) for card in self.wired.registry.cards(self.site.project)}
        if version and version.partition("+")[0] not in versions:
            self.wrong.append(f"{who} tells of {version}, which does not exist")


@pytest.fixture
def round_(studio: Studio, tmp_path: Path) -> Iterator[Round]:
    count = ACROSS * DOWN
    towns = [town(7000 + i) for i in range(count)]
    rows = [np.concatenate([t.pixels for t, _ in towns[i : i + ACROSS]], 1) for i in range(0, count, ACROSS)]
    (tmp_path / "rasters").mkdir()
    scene = tmp_path / "rasters" / "scene.tif"
    place = {"crs": "EPSG:32631", "transform": rasterio.Affine(0.5, 0, 500000, 0, -0.5, 5400000)}
    size = {"count": 3, "dtype": "uint8", "width": ACROSS * SIDE, "height": DOWN * SIDE}
    with rasterio.open(scene, "w", driver="GTiff", **size, **place) as out:
        out.write(np.concatenate(rows).transpose(2, 0, 1))
    environ = {
        "GROUNDLOOK_LABEL_STUDIO_URL": studio.url,
        "GROUNDLOOK_TOKEN": studio.token,
        "GROUNDLOOK_RECONCILE": "5",
        "GROUNDLOOK_RETRAIN_EVERY": "1000",
        "GROUNDLOOK_RETRAIN_GAIN": "0",
        "GROUNDLOOK_EPOCHS": EPOCHS,
    }
    project = create_project(studio, "Faults", XML)
    with (
        Backend(tmp_path / "service", [scene.parent], environ) as backend,
        wire(backend.settings) as wired,
    ):
        words = ("--tile", str(SIDE), "--overlap", "0", "--block", str(SIDE * 0.5))
        assert backend.run("ingest", str(scene), "--project", str(project), *words)["tasks"] == count
        backend.run("connect", "--project", str(project), "--weights", str(START))
        site = Site(studio, project, towns)
        windows = [task["data"]["geo"]["window"] for task in site.tasks()]
        site.towns = [towns[(y // SIDE) * ACROSS + x // SIDE] for x, y, _, _ in windows]
        site.label(range(LABELLED))
        found = Round(site, backend, wired)
        until(found.idle)
        yield found


def test_killed_services_and_label_studio_lose_nothing_in_a_round(
    round_: Round, studio: Studio, tmp_path: Path, record_property: Any
) -> None:
    site, wired = round_.site, round_.wired
    before = wired.registry.serving(site.project)
    assert before is not None
    over = threading.Event()
    watcher = threading.Thread(target=lambda: watch(round_, over))
    watcher.start()
    try:
        start = {"action": "START_TRAINING", "project": {"id": site.project}}
        assert httpx.post(f"{round_.backend.settings.url}/webhook", json=start, trust_env=False).status_code == 200
        faults: list[tuple[str, Callable[[], str], Callable[[], None]]] = [
            ("Label Studio", lambda: round_.during("learn"), lambda: again(studio)),
            ("worker", lambda: round_.during("learn", "epoch", "loss", "training"), lambda: kill(round_.worker().pid)),
            ("service and worker", lambda: round_.during("learn", "exam:"), lambda: served_again(round_.backend)),
            ("Label Studio", lambda: round_.during("refresh", "tasks by"), lambda: again(studio)),
            ("worker", lambda: round_.during("refresh"), lambda: kill(round_.worker().pid)),
        ]
        for what, there, strike in faults:
            hit = reached(round_, there)
            before_it = round_.progress()
            began = time.monotonic()  # to start again what was killed is part of it
            strike()
            works = until(lambda: not round_.progress() <= before_it)  # noqa: B023 (called at once)
            record_property("fault", row(f"{what} killed", hit, works - began))
            print(f"{what} killed in {hit!r}, work again after {works - began:.1f} s")
        until(lambda: round_.learned() and round_.idle())
    finally:
        over.set()
        watcher.join()
    assert round_.wrong == []
    assert set(round_.told) == {"/setup", "Label Studio"}
    everything_is_whole(round_)
    undisturbed = runner(studio, tmp_path / "undisturbed", GROUNDLOOK_ROOTS=str(tmp_path / "rasters"))
    done = undisturbed.run(site.project, "--first", "--weights", str(START), GROUNDLOOK_EPOCHS=EPOCHS)
    serving = wired.registry.serving(site.project)
    assert serving is not None
    assert str(serving.version) in done.stdout, (done.stdout, done.stderr)


def everything_is_whole(round_: Round) -> None:
    site, wired = round_.site, round_.wired
    assert wired.jobs.dead(site.project) == []
    cards = wired.registry.cards(site.project)
    for card in cards:
        assert file_sha256(wired.registry.weights(site.project, card)) == card.sha256
    assert len(cards) == 2, "one was trained, once"
    serving, window = wired.registry.serving(site.project), wired.store.current_window(site.project)
    assert serving is not None
    assert window is not None
    assert serving == cards[-1], serving
    assert serving.verdict == "promoted"
    tasks = site.tasks()
    made = sorted(a["id"] for task in tasks for a in task["annotations"])
    assert len(made) == LABELLED
    assert sorted(a.id for a in wired.store.served(site.project)) == made
    assert round_.told == {"/setup": window.version, "Label Studio": window.version}
    assert window.model == serving.version
    shown = [t["id"] for t in tasks for p in t["predictions"] if p["model_version"] == window.version]
    assert sorted(shown) == sorted(t.task_id for t in window.tasks), "each once"


def reached(round_: Round, there: Callable[[], str]) -> str:
    """What a job said when it was there; where that was over too soon to be seen, whatever goes on now."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        hit = there()
        if hit:
            return hit
        if round_.learned() and round_.idle():
            return "nothing runs"
        time.sleep(0.01)
    raise AssertionError("no job came there")


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def again(studio: Studio) -> None:
    """SIGKILL Label Studio's whole group, and start it a little later on the same data."""
    assert studio.pid is not None
    os.killpg(studio.pid, signal.SIGKILL)
    time.sleep(2.0)
    studio.restart()


def served_again(backend: Backend) -> None:
    backend.kill()
    time.sleep(1.0)
    backend.start()


def watch(round_: Round, over: threading.Event) -> None:
    while not over.wait(0.5):
        round_.look()
    round_.look()


def until(holds: Callable[[], bool]) -> float:
    """When it held, on the monotonic clock."""
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)
    return time.monotonic()
