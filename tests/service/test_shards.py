"""Bulk work over a real Redis: workers with empty homes look at a project's tiles, and one is killed while it does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from groundlook.core.types import Job, ModelCard, Prediction, Project, ProjectState, Task, Window
from groundlook.learning.registry import file_sha256, version_of
from groundlook.loop import pieces
from groundlook.loop.refresh import refresh
from groundlook.service.settings import read_settings
from groundlook.service.wiring import Wired, decode_task, wire
from groundlook_adapters.jobs.redis_ledger import PREFIX
from groundlook_adapters.labelstudio.config import parse_config
from groundlook_adapters.rasters.reading.read import Scene
from groundlook_adapters.rasters.tiling.geotile import task_data
from groundlook_adapters.rasters.tiling.ingest import scan, tiles
from tests.redis_server import Server
from tests.waiting import until
from tests.weights.make_yolo import HERE, town

pytest.importorskip("ultralytics")

WEIGHTS = HERE / "yolo_detect.safetensors"
XML = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
    '<Label value="building"/><Label value="car"/></RectangleLabels></View>'
)
PROJECT = Project(7, "http://127.0.0.1:9", "0" * 40, parse_config(XML), "towns")


@dataclass
class Studio:
    """Label Studio as far as a refresh sees it."""

    found: list[Task]
    windows: list[Window] = field(default_factory=list)

    def tasks(self, project: Project) -> list[Task]:
        return self.found

    def state(self, project: Project) -> ProjectState:
        return ProjectState(len(self.found), 0, "", PROJECT.config)

    def publish(self, project: Project, window: Window, predictions: Mapping[int, Prediction]) -> None:
        self.windows.append(window)


@dataclass
class Town:
    """A raster of 200 tiles, in a folder of its own."""

    folder: Path

    def environ(self, home: str, redis: str = "") -> dict[str, str]:
        mine = {"HOME": str(self.folder / home), "ROOTS": str(self.folder / "rasters"), "REDIS": redis}
        kept = {k: v for k, v in os.environ.items() if not k.startswith("GROUNDLOOK_")}
        return {**kept, **{f"GROUNDLOOK_{name}": value for name, value in mine.items() if value}}

    def wired(self, stack: ExitStack, home: str, redis: str = "") -> tuple[Wired, Studio]:
        """A home of this process, with the project and a promoted version."""
        found = stack.enter_context(wire(read_settings(self.environ(home, redis))))
        found.store.put_project(PROJECT)
        digest = file_sha256(WEIGHTS)
        version = version_of("yolo", ["", "yolo11p.yaml", digest])
        card = ModelCard(version, "yolo", "yolo11p.yaml", ("building", "car"), digest, verdict="promoted")
        found.registry.save(7, card, WEIGHTS)
        found.registry.promote(7, version, None)
        studio = Studio([decode_task(body, PROJECT) for body in self.tasks()])
        return replace(found, loop=replace(found.loop, labels=studio, queue=studio)), studio  # type: ignore[type-var]

    def tasks(self) -> list[dict[str, Any]]:
        scene = next(iter(scan([str(self.folder / "rasters" / "town.tif")], [self.folder])))
        assert isinstance(scene, Scene)
        refs, _ = tiles(scene, 160, 0)
        return [{"id": i + 1, "data": task_data(r, "train", "http://x/i.jpg")} for i, r in enumerate(refs)]

    def worker(self, stack: ExitStack, home: str, redis: str) -> subprocess.Popen[bytes]:
        """`groundlook worker --lanes shards`, with a home of its own."""
        command = [sys.executable, "-m", "groundlook", "worker", "--lanes", "shards"]
        log = stack.enter_context((self.folder / f"{home}.log").open("wb"))
        child = subprocess.Popen(command, env=self.environ(home, redis), stdout=log, stderr=log)
        stack.callback(child.wait)
        stack.callback(child.kill)
        return child


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Town:
    folder = tmp_path_factory.mktemp("shards")
    (folder / "rasters").mkdir()
    parts = [np.concatenate([town(seed + row, 800)[0].pixels for row in (0, 1)]) for seed in (1, 3, 5, 9)]
    pixels = np.concatenate(parts, axis=1).transpose(2, 0, 1)
    shape = {"count": 3, "dtype": "uint8", "width": pixels.shape[2], "height": pixels.shape[1]}
    place = {"crs": "EPSG:32631", "transform": rasterio.Affine(0.3, 0, 5e5, 0, -0.3, 54e5)}
    with rasterio.open(folder / "rasters" / "town.tif", "w", driver="GTiff", **shape, **place) as out:
        out.write(pixels)
    return Town(folder)


@pytest.mark.fault("one of two workers killed", "predict in shards")
@pytest.mark.slow  # a worker is taken for dead after 15 s
def test_workers_without_our_home_do_the_work_and_one_may_die(
    home: Town, redis: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "PIECE", 8)  # 25 pieces
    with ExitStack() as stack:
        alone, before = home.wired(stack, "alone")
        refresh(alone.loop, 7, lambda share, text: None)
        asking, after = home.wired(stack, "asking", redis.url)
        monkeypatch.setattr("groundlook.loop.pieces.look", _nobody_looks_here)
        workers = [home.worker(stack, f"worker-{i}", redis.url) for i in range(2)]
        until(lambda: _workers(redis) == {worker.pid for worker in workers}, 120)
        killed: list[int] = []

        def kill_one(share: float, text: str) -> None:
            for job in asking.jobs.jobs(7):
                if not killed and job.kind == "shard" and job.state == "running" and _died(asking, job):
                    killed.append(job.id)

        refresh(asking.loop, 7, kill_one)
        assert len(killed) == 1
        assert sorted(worker.poll() is None for worker in workers) == [False, True]
        shards = [job for job in asking.jobs.jobs(7) if job.kind == "shard"]
        assert {job.state for job in shards} == {"done"}
        assert len(shards) == 25
        assert asking.jobs.job(killed[0]).attempts == 2, "somebody else did what the dead one had begun"
        _same(asking, alone)
        assert [t.task_id for t in after.windows[-1].tasks] == [t.task_id for t in before.windows[-1].tasks]
        (i,) = [i for i, worker in enumerate(workers) if worker.poll() is None]
        kept = list((home.folder / f"worker-{i}" / "models").rglob("*.safetensors"))
        assert [file_sha256(path) for path in kept] == [file_sha256(WEIGHTS)], "fetched once, and checked"


def _died(asking: Wired, job: Job) -> bool:
    """Its worker, in the middle of it: it stands still first, so that it can't end the job just then."""
    os.kill(_pid(job.worker), signal.SIGSTOP)
    time.sleep(0.1)
    caught = asking.jobs.job(job.id).state == "running"
    os.kill(_pid(job.worker), signal.SIGKILL if caught else signal.SIGCONT)
    return caught


def _nobody_looks_here(*_: Any) -> Any:
    raise AssertionError("the one who asks looked itself")


def _workers(redis: Server) -> set[int]:
    """The pids of those that are there."""
    return {_pid(entry.decode().split(" ", 1)[1]) for entry in redis.client.zrange(f"{PREFIX}seen", 0, -1)}


def _pid(worker: str) -> int:
    """Of "host-pid-random/slot"; a host's name may have dashes, too."""
    return int(worker.split("/")[0].rsplit("-", 2)[1])


def _same(one: Wired, other: Wired) -> None:
    card = one.registry.serving(7)
    assert card is not None
    mine, theirs = one.store.scores(7, card.version), other.store.scores(7, card.version)
    assert mine.keys() == theirs.keys() == set(range(1, 201))
    for task, score in mine.items():
        assert score.value == pytest.approx(theirs[task].value, abs=1e-5)
    found, known = (w.store.predictions(7, card.version, list(mine)) for w in (one, other))
    assert sum(len(p.regions) for p in known.values()) > 200
    for task, prediction in found.items():
        assert [r.label for r in prediction.regions] == [r.label for r in known[task].regions]
        for a, b in zip(prediction.regions, known[task].regions, strict=True):
            np.testing.assert_allclose(a.shape.corners(), b.shape.corners(), atol=1e-2)
    (ids, rows), (known_ids, known_rows) = (w.loop.features.get(7, w.loop.embedder.name) for w in (one, other))
    np.testing.assert_array_equal(np.sort(ids), np.sort(known_ids))
    np.testing.assert_array_equal(rows[np.argsort(ids)], known_rows[np.argsort(known_ids)])
