"""`groundlook doctor` over synthetic homes. No Label Studio: what needs one is in tests/e2e/test_doctor.py."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio import Affine

from groundlook import __version__
from groundlook.core.errors import InvalidWeights, TrainingFailed
from groundlook.core.ports import Progress
from groundlook.core.types import Control, Job, LabelConfig, ModelCard, Project, SceneRow
from groundlook.demo.studio import free_port
from groundlook.learning.registry import file_sha256, version_of
from groundlook.service.finding import Finding, fine, look
from groundlook.service.settings import read_settings
from groundlook.service.wiring.doctor import examine
from groundlook.service.wiring.doctor import home as home_checks
from groundlook.service.wiring.parts import Wired, wire
from tests.waiting import until

CONFIG = LabelConfig(
    "label", "RectangleLabels", "image", "image", ("Building",), (Control("label", "RectangleLabels", ("Building",)),)
)


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    rasters = tmp_path / "rasters"
    rasters.mkdir()
    return {
        "GROUNDLOOK_HOME": str(tmp_path / "home"),
        "GROUNDLOOK_URL": f"http://127.0.0.1:{free_port()}",
        "GROUNDLOOK_ROOTS": str(rasters),
    }


@pytest.fixture
def wired(environ: dict[str, str]) -> Iterator[Wired]:
    parts = wire(read_settings(environ))
    yield parts
    parts.close()


def _found(environ: Mapping[str, str], **options: Any) -> dict[str, Finding]:
    findings = list(examine(environ, **options))
    names = [f.name for f in findings]
    assert len(set(names)) == len(names)
    for finding in findings:
        assert finding.says
        assert bool(finding.remedy) == (finding.ok in ("warn", "fail")), finding
    return {f.name: f for f in findings}


def _raster(path: Path) -> Path:
    place = {"crs": "EPSG:32631", "transform": Affine(0.5, 0, 448000, 0, -0.5, 5412000)}
    with rasterio.open(path, "w", driver="GTiff", width=8, height=8, count=1, dtype="uint8", **place) as out:
        out.write(np.ones((1, 8, 8), dtype=np.uint8))
    return path


def _model(wired: Wired, tmp_path: Path) -> Path:
    """A model version in the registry that serves; its weights file."""
    wired.store.put_project(Project(1, "http://127.0.0.1:9", "0" * 40, CONFIG, "one"))
    source = tmp_path / "made.safetensors"
    source.write_bytes(b"weights")
    card = ModelCard(version_of("yolo", ["a"]), "yolo", "yolov5n.yaml", ("Building",), file_sha256(source))
    wired.registry.save(1, card, source)
    wired.registry.promote(1, card.version, None)
    return wired.registry.weights(1, card)


def test_a_fresh_machine(environ: dict[str, str]) -> None:
    found = _found(environ)
    assert found["settings"].ok == "ok"
    assert found["gdal and proj"].ok == "ok"
    assert found["yolo"].ok == "ok"
    assert found["home"].ok == "warn"
    assert "is new" in found["home"].says
    assert found["roots"].ok == "ok"
    assert found["scenes"].ok == "skip"
    assert (found["service"].ok, found["worker"].ok) == ("fail", "fail")
    assert "groundlook serve" in found["service"].remedy
    assert "groundlook connect" in found["projects"].remedy
    assert _found(environ)["home"].ok == "ok"  # now it is there


@pytest.mark.parametrize(("name", "value"), [("WINDOW", "many"), ("MAX_BODY_MB", "1 GB")])
def test_settings_that_cannot_be_read(environ: dict[str, str], name: str, value: str) -> None:
    found = _found({**environ, f"GROUNDLOOK_{name}": value})
    assert found["settings"].ok == "fail"
    assert f"GROUNDLOOK_{name}" in found["settings"].says
    assert set(found) == {"settings", "gdal and proj", "yolo"}  # nothing else can be looked at without settings


def test_half_a_login(environ: dict[str, str]) -> None:
    found = _found({**environ, "GROUNDLOOK_USER": "ls"})["settings"]
    assert found.ok == "warn"
    assert "both" in found.remedy


def test_a_home_that_is_a_file(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "home").write_text("no folder")
    found = _found(environ)
    assert found["home"].ok == "fail"
    assert "GROUNDLOOK_HOME" in found["home"].remedy
    assert "store" not in found


def test_a_store_that_is_damaged(environ: dict[str, str], wired: Wired) -> None:
    (wired.settings.home / "store.db").write_bytes(b"not a database, for sure " * 100)
    for rest in ("store.db-wal", "store.db-shm"):
        (wired.settings.home / rest).unlink(missing_ok=True)
    found = _found(environ)
    assert found["store"].ok == "fail"
    assert str(wired.settings.home) in found["store"].remedy


def test_a_full_disk(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    real = shutil.disk_usage
    monkeypatch.setattr(home_checks.shutil, "disk_usage", lambda path: real(path)._replace(free=1_000_000_000))
    found = _found(environ)["disk"]
    assert found.ok == "warn"
    assert found.says.startswith("1.0 GB")


def test_missing_roots(environ: dict[str, str], tmp_path: Path) -> None:
    found = _found({**environ, "GROUNDLOOK_ROOTS": f"{tmp_path}/rasters{os.pathsep}{tmp_path}/gone"})["roots"]
    assert found.ok == "fail"
    assert found.says.endswith(f"{tmp_path}/gone")
    assert "GROUNDLOOK_ROOTS" in found.remedy


def test_scenes_that_are_gone_or_outside(environ: dict[str, str], wired: Wired, tmp_path: Path) -> None:
    inside, outside = _raster(tmp_path / "rasters" / "a.tif"), _raster(tmp_path / "b.tif")
    wired.store.put_scene(SceneRow("a", str(inside), "", "", 1, 1))
    assert _found(environ)["scenes"].ok == "ok"
    wired.store.put_scene(SceneRow("b", str(outside), "", "", 1, 1))
    found = _found(environ)["scenes"]
    assert found.ok == "fail"
    assert found.says.startswith("1 of 2 scenes")
    assert str(outside) in found.says
    inside.unlink()
    assert _found(environ)["scenes"].says.startswith("2 of 2 scenes")


def test_changed_and_missing_weights(environ: dict[str, str], wired: Wired, tmp_path: Path) -> None:
    path = _model(wired, tmp_path)
    assert _found(environ)["weights"].says == "1 model versions have their checksums"
    path.write_bytes(b"Weights")
    found = _found(environ)["weights"]
    assert found.ok == "fail"
    assert "changed" in found.says
    assert "it serves" in found.says
    path.unlink()
    assert "gone" in _found(environ)["weights"].says


def test_changed_starting_weights(environ: dict[str, str], wired: Wired, tmp_path: Path) -> None:
    source = tmp_path / "start.pt"
    source.write_bytes(b"start")
    kept = source.rename(tmp_path / f"{file_sha256(source)}.pt")
    wired.store.put_project(Project(1, "http://127.0.0.1:9", "t", CONFIG, settings={"start": str(kept)}))
    assert _found(environ)["weights"].ok == "ok"
    kept.write_bytes(b"other")
    assert str(kept) in _found(environ)["weights"].says


def test_a_worker_is_seen_by_its_lock(environ: dict[str, str], wired: Wired) -> None:
    with (wired.settings.home / "jobs.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert _found(environ)["worker"].ok == "ok"
    assert _found(environ)["worker"].ok == "fail"


def test_failed_jobs_are_told(environ: dict[str, str], wired: Wired) -> None:
    def train(job: Job, progress: Progress) -> str:
        raise TrainingFailed("no memory") if job.attempts == 1 else InvalidWeights("yolo.pt is gone")

    number = wired.jobs.submit("learn", 7)
    with wired.jobs.working({"learn": train}):
        until(lambda: wired.jobs.job(number).message.startswith("will retry"))
    assert _found(environ)["jobs"].ok == "warn"
    with wired.jobs.working({"learn": train}):
        until(lambda: wired.jobs.job(number).state == "failed")
    found = _found(environ)["jobs"]
    assert found.ok == "fail"
    assert f"job {number}, learn of project 7 (2 attempts): InvalidWeights: yolo.pt is gone" in found.says
    assert "groundlook jobs retry --failed" in found.remedy
    wired.jobs.retry(number)
    assert _found(environ)["jobs"].ok == "ok"


class _Server(ThreadingHTTPServer):
    """Answers every GET with `body` and the Date of `skew` seconds from now."""

    def __init__(self, status: int, body: object, skew: float = 0.0) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status, self.body, self.skew = status, body, skew

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> _Server:
        Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *args: object) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        body = json.dumps(self.server.body).encode()
        self.send_response_only(self.server.status)
        self.send_header("Date", formatdate(time.time() + self.server.skew, usegmt=True))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


def test_somebody_else_on_our_port(environ: dict[str, str]) -> None:
    with _Server(200, {"status": "UP", "model_class": "Other"}) as server:
        found = _found({**environ, "GROUNDLOOK_URL": server.url})
    assert found["service"].ok == "fail"
    assert "not as Groundlook" in found["service"].says


def test_a_service_of_another_version_and_without_login(environ: dict[str, str]) -> None:
    login = {"GROUNDLOOK_USER": "ls", "GROUNDLOOK_PASSWORD": "secret"}
    with _Server(200, {"model_class": "Groundlook", "version": "0.0.1"}) as server:
        found = _found({**environ, **login, "GROUNDLOOK_URL": server.url})
        assert found["service"].ok == "warn"
        assert "0.0.1" in found["service"].says
        assert __version__ in found["service"].says
        assert found["login"].ok == "warn"
        server.status = 401
        assert "same GROUNDLOOK_USER" in _found({**environ, **login, "GROUNDLOOK_URL": server.url})["login"].remedy


@pytest.mark.parametrize(("skew", "ok"), [(0.0, "ok"), (60.0, "warn"), (-60.0, "warn")])
def test_clock_of_label_studio(environ: dict[str, str], skew: float, ok: str) -> None:
    with _Server(200, {"release": "1.23.2"}, skew) as server:
        found = _found(environ, url=server.url)
    assert found[f"label studio {server.url}"].says == "Label Studio 1.23.2"
    clock = found[f"clock {server.url}"]
    assert clock.ok == ok
    if skew:
        assert any(f"{s:+.0f} s" in clock.says for s in (skew - 1, skew, skew + 1))


def test_label_studio_that_is_down_or_another(environ: dict[str, str]) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    down = _found(environ, url=url)
    assert down[f"label studio {url}"].ok == "fail"
    assert "start Label Studio" in down[f"label studio {url}"].remedy
    assert f"clock {url}" not in down
    with _Server(200, []) as server:
        found = _found(environ, url=server.url)
    assert "not as Label Studio" in found[f"label studio {server.url}"].says


def test_projects_of_a_label_studio_that_is_down_are_not_waited_for(environ: dict[str, str], wired: Wired) -> None:
    wired.store.put_project(Project(3, f"http://127.0.0.1:{free_port()}", "0" * 40, CONFIG))
    started = time.monotonic()
    found = _found(environ)
    assert found["project 3"].ok == "skip"
    assert time.monotonic() - started < 10


def test_an_unknown_project(environ: dict[str, str]) -> None:
    found = _found(environ, project=9)["projects"]
    assert found.ok == "fail"
    assert "project 9 is not connected" in found.says


def test_a_token_stays_with_its_server(environ: dict[str, str], wired: Wired) -> None:
    with _Server(200, {"release": "1.23.2"}) as mine, _Server(200, {"release": "1.23.2"}) as other:
        wired.store.put_project(Project(1, mine.url, "0" * 40, CONFIG))
        found = _found(environ, url=other.url, key="1" * 40)
        assert f"label studio {mine.url}" not in found
        assert not [name for name in found if name.startswith("project 1")]
        assert "belongs to" in _found(environ, project=1, url=other.url, key="1" * 40)["projects"].says


def test_a_check_that_crashes_is_a_failure() -> None:
    def crash(text: str) -> Finding:
        raise ZeroDivisionError(text)

    found = look("sums", "learn to divide", crash, "by\nzero")
    assert found == Finding("sums", "fail", "the check itself failed: ZeroDivisionError: by zero", "learn to divide")
    assert look("sums", "-", fine, "all right") == Finding("sums", "ok", "all right")


def _command(environ: Mapping[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "groundlook", "doctor", *words]
    return subprocess.run(command, env={**os.environ, **environ}, capture_output=True, text=True, check=False)


def test_hostile_proj_data_from_the_command_line(environ: dict[str, str], tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    done = _command({**environ, "PROJ_DATA": str(empty)}, "--json")
    assert done.returncode == 1
    body = json.loads(done.stdout)
    found = {f["name"]: f for f in body["findings"]}
    assert found["gdal and proj"]["ok"] == "fail"
    assert found["gdal and proj"]["remedy"] == "unset PROJ_DATA"
    assert body["failed"] == sum(f["ok"] == "fail" for f in body["findings"])
    assert body["ok"] is False


def test_the_table_shows_each_remedy(environ: dict[str, str]) -> None:
    done = _command(environ)
    assert done.returncode == 1
    assert "FAIL  worker: no worker runs the jobs\n      → start `groundlook serve`" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert done.stdout.rstrip().endswith("warnings")
