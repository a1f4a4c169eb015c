"""`groundlook doctor` on a connected project of a real Label Studio: all is well; then things are broken one by one."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import rasterio
from rasterio import Affine

from groundlook.demo.backend import Backend
from groundlook.demo.data import config_xml
from groundlook.demo.house import create_project
from groundlook.demo.studio import Studio
from groundlook.service.wiring.doctor import examine
from groundlook.service.wiring.parts import wire
from tests.e2e.owner import call
from tests.waiting import until

pytestmark = pytest.mark.e2e


@dataclass
class Clinic:
    """A connected project, and what it takes to break it."""

    studio: Studio
    backend: Backend
    project: int
    raster: Path

    def doctor(self, **environ: str) -> dict[str, dict[str, Any]]:
        """The findings by name; the project's without their "project N: "."""
        given = {**self.backend.environ, **environ}
        found = list(examine(given, self.project, self.studio.url, given["GROUNDLOOK_TOKEN"]))
        assert all(f.remedy for f in found if f.ok == "fail")
        assert not [f for f in found if "the check itself failed" in f.says]
        return {f.name.removeprefix(f"project {self.project}: "): asdict(f) for f in found}

    def failed(self, **environ: str) -> dict[str, dict[str, Any]]:
        return {name: f for name, f in self.doctor(**environ).items() if f["ok"] == "fail"}

    def api(self, method: str, path: str, body: Any = None) -> Any:
        return call(self.studio, method, path, body)

    def connect(self) -> list[str]:
        changed: list[str] = self.backend.run("connect", "--project", str(self.project))["changed"]
        return changed

    def hooks(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.api("GET", f"/api/webhooks?project={self.project}")
        return found


@pytest.fixture(scope="module")
def clinic(studio: Studio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clinic]:
    work = tmp_path_factory.mktemp("clinic")
    raster = work / "rasters" / "a.tif"
    raster.parent.mkdir()
    place = {"crs": "EPSG:32631", "transform": Affine(0.5, 0, 448000, 0, -0.5, 5412000)}
    pixels = np.random.default_rng(3).integers(1, 255, (3, 512, 512), dtype=np.uint8)
    with rasterio.open(raster, "w", driver="GTiff", width=512, height=512, count=3, dtype="uint8", **place) as out:
        out.write(pixels)
    environ = {
        "GROUNDLOOK_LABEL_STUDIO_URL": studio.url,
        "GROUNDLOOK_TOKEN": studio.token,
        "GROUNDLOOK_USER": "label-studio",
        "GROUNDLOOK_PASSWORD": "a-password",
        "GROUNDLOOK_RECONCILE": "100000",  # what a test breaks stays broken
    }
    with Backend(work / "home", [raster.parent], environ) as backend:
        project = create_project(studio, "the doctor's", config_xml(["Building"]))
        backend.run("ingest", str(raster), "--project", str(project), "--tile", "256", "--overlap", "0")
        found = Clinic(studio, backend, project, raster)
        found.connect()
        yield found


def test_all_is_well_on_a_connected_project(clinic: Clinic) -> None:
    found = clinic.doctor()
    assert {name: f for name, f in found.items() if f["ok"] not in ("ok", "skip")} == {}
    assert found["model version"]["says"].endswith("everywhere")
    assert found["image"]["says"].endswith("256×256 px from its raster")
    assert "image/jpeg" in found["tile"]["says"]
    assert found["token"]["says"].startswith("a legacy token that reads")
    assert found["unreadable tasks"]["says"] == "none of 4"
    assert found["tasks"]["says"] == "4 tasks, 0 annotations"


def test_the_command_says_the_same(clinic: Clinic) -> None:
    command = [sys.executable, "-m", "groundlook", "doctor", "--json"]
    done = subprocess.run(command, env=clinic.backend.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    body = json.loads(done.stdout)
    assert (body["ok"], body["failed"], body["warned"]) == (True, 0, 0)
    told = {f["name"].removeprefix(f"project {clinic.project}: ") for f in body["findings"]}
    assert told == set(clinic.doctor())


def test_the_look_changes_nothing(clinic: Clinic) -> None:
    path = f"/api/projects/{clinic.project}"
    before, hooks = clinic.api("GET", path), clinic.hooks()
    clinic.doctor()
    assert clinic.api("GET", path) == before
    assert clinic.hooks() == hooks
    assert clinic.connect() == []


def test_a_webhook_that_is_gone_or_incomplete(clinic: Clinic) -> None:
    (hook,) = clinic.hooks()
    path = f"/api/webhooks/{hook['id']}"
    for change, told in (
        ({"is_active": False}, "switched off"),
        ({"headers": {}}, "does not carry this service's login"),
        ({"actions": ["TASKS_CREATED"]}, "does not tell of ANNOTATION_CREATED"),
    ):
        clinic.api("PATCH", path, {"url": hook["url"], **change})
        failed = clinic.failed()
        assert set(failed) == {"webhook"}
        assert told in failed["webhook"]["says"]
        assert failed["webhook"]["remedy"] == f"run: groundlook connect --project {clinic.project}"
        assert len(clinic.connect()) == 1
    clinic.api("DELETE", path)
    failed = clinic.failed()
    assert set(failed) == {"webhook"}
    assert "has no webhook" in failed["webhook"]["says"]
    clinic.connect()
    assert clinic.failed() == {}


def test_another_sampling(clinic: Clinic) -> None:
    clinic.api("PATCH", f"/api/projects/{clinic.project}", {"sampling": "Sequential sampling"})
    failed = clinic.failed()
    assert set(failed) == {"sampling"}
    assert "Sequential" in failed["sampling"]["says"]
    clinic.connect()
    assert clinic.failed() == {}


def test_another_model_version(clinic: Clinic) -> None:
    """Without a webhook nobody tells the worker, which would put it right."""
    path = f"/api/projects/{clinic.project}"
    version = clinic.api("GET", path)["model_version"]
    task = clinic.api("GET", f"/api/tasks?project={clinic.project}")["tasks"][0]["id"]
    clinic.api("POST", "/api/predictions/", {"task": task, "result": [], "model_version": "somebody@else"})
    clinic.api("DELETE", f"/api/webhooks/{clinic.hooks()[0]['id']}")
    _until_idle(clinic)
    clinic.api("PATCH", path, {"model_version": "somebody@else"})
    failed = clinic.failed()
    assert set(failed) == {"webhook", "model version"}
    assert "'somebody@else'" in failed["model version"]["says"]
    assert repr(version) in failed["model version"]["says"]
    assert f"groundlook connect --project {clinic.project}" in failed["model version"]["remedy"]
    clinic.connect()
    _until_well(clinic)


def test_a_backend_that_is_gone(clinic: Clinic) -> None:
    (row,) = clinic.api("GET", f"/api/ml?project={clinic.project}")
    clinic.api("DELETE", f"/api/ml/{row['id']}")
    assert "has no ML backend" in clinic.failed()["backend"]["says"]
    clinic.connect()
    _until_well(clinic)


def test_a_raster_that_is_gone(clinic: Clinic) -> None:
    away = clinic.raster.rename(clinic.raster.with_suffix(".away"))
    try:
        failed = clinic.failed()
        assert {"scenes", "image"} <= set(failed) <= {"scenes", "image", "tile"}  # its picture may be kept already
        assert str(clinic.raster) in failed["image"]["says"]
    finally:
        away.rename(clinic.raster)
    assert set(clinic.failed(GROUNDLOOK_ROOTS=str(clinic.raster.parent / "gone"))) >= {"roots", "scenes", "image"}


def test_the_service_moved_or_has_another_login(clinic: Clinic) -> None:
    failed = clinic.failed(GROUNDLOOK_PASSWORD="another")
    assert "same GROUNDLOOK_USER" in failed["login"]["remedy"]
    assert "login" in failed["webhook"]["says"]
    moved = clinic.failed(GROUNDLOOK_URL=f"http://localhost:{clinic.backend.port}")
    assert {"backend", "webhook", "tile"} <= set(moved)
    assert "set GROUNDLOOK_URL to what the tasks say" in moved["tile"]["remedy"]


def test_the_service_is_down(clinic: Clinic) -> None:
    clinic.backend.stop()
    try:
        failed = clinic.failed()
        assert set(failed) == {"worker", "service", "backend", "tile"}
        assert "groundlook serve" in failed["service"]["remedy"]
        assert "state DI" in failed["backend"]["says"]
        assert "ML_BLOCK_LOCAL_IP=false" in failed["backend"]["remedy"]
        assert "SSRF_PROTECTION_ENABLED=false" in failed["backend"]["remedy"]
    finally:
        clinic.backend.start()
    _until_well(clinic)


def test_a_token_that_was_revoked(clinic: Clinic) -> None:
    failed = clinic.failed(GROUNDLOOK_TOKEN="0" * 40)
    assert set(failed) == {"token"}
    assert "401" in failed["token"]["says"]
    assert "--token" in failed["token"]["remedy"]


def test_legacy_tokens_switched_off_and_a_personal_one(clinic: Clinic) -> None:
    personal = clinic.api("POST", "/api/token/")["token"]
    assert clinic.doctor(GROUNDLOOK_TOKEN=personal)["token"]["says"].startswith("a personal access token")
    clinic.api("POST", "/api/jwt/settings", {"legacy_api_tokens_enabled": False, "api_tokens_enabled": True})
    try:
        failed = clinic.failed()
        assert "switched these off" in failed["token"]["says"]
        assert "personal access token" in failed["token"]["remedy"]
        assert clinic.failed(GROUNDLOOK_TOKEN=personal) == {}
        access = _access(clinic.studio.url, personal)
        failed = clinic.failed(GROUNDLOOK_TOKEN=access)
        assert "lives for 5 minutes" in failed["token"]["says"]
    finally:
        header = {"Authorization": f"Bearer {_access(clinic.studio.url, personal)}"}
        body = {"legacy_api_tokens_enabled": True, "api_tokens_enabled": True}
        settings = f"{clinic.studio.url}/api/jwt/settings"
        httpx.post(settings, json=body, headers=header, timeout=30, trust_env=False).raise_for_status()
    assert clinic.failed() == {}


def _access(url: str, personal: str) -> str:
    answer = httpx.post(f"{url}/api/token/refresh/", json={"refresh": personal}, timeout=30, trust_env=False)
    answer.raise_for_status()
    return str(answer.json()["access"])


def _until_idle(clinic: Clinic) -> None:
    """Until the worker has nothing left that earlier events asked for."""
    with wire(clinic.backend.settings) as parts:
        until(lambda: not any(j.state in ("queued", "running") for j in parts.jobs.jobs(clinic.project)))


def _until_well(clinic: Clinic, seconds: float = 30.0) -> None:
    """Until the worker has put right what is its to put right; else what is wrong is told."""
    end = time.monotonic() + seconds
    while (failed := clinic.failed()) and time.monotonic() < end:
        time.sleep(0.5)
    assert failed == {}
