"""Connect, queue and refill against a real Label Studio, and what goes wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import rasterio

from groundlook.core.errors import GroundlookError
from groundlook.demo.annotators import Annotator
from groundlook.demo.backend import Backend
from groundlook.demo.house import create_project
from groundlook.demo.studio import Studio
from groundlook.service.wiring import Wired, wire
from tests.e2e.owner import call
from tests.waiting import until

pytestmark = pytest.mark.e2e
XML = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
    '<Label value="House"/></RectangleLabels></View>'
)

TILES = ("--tile", "64", "--overlap", "0")


@dataclass
class Site:
    """A project of its own on the shared server, with 40 tiles ingested."""

    studio: Studio
    backend: Backend
    wired: Wired
    project: int

    def get(self, path: str) -> Any:
        return self.call("GET", path)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        return call(self.studio, method, path, body)

    def connect(self, *words: str) -> dict[str, Any]:
        return self.backend.run("connect", "--project", str(self.project), *words)


@pytest.fixture(scope="module")
def site(studio: Studio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    raster(folder / "scene.tif")
    project = create_project(studio, "Connect", XML)
    environ = {
        "GROUNDLOOK_LABEL_STUDIO_URL": studio.url,
        "GROUNDLOOK_TOKEN": studio.token,
        "GROUNDLOOK_USER": "ls",
        "GROUNDLOOK_PASSWORD": "secret",
        "GROUNDLOOK_WINDOW": "12",
        "GROUNDLOOK_RECONCILE": "600",
        "GROUNDLOOK_DEBOUNCE": "0.2",
    }
    with Backend(folder / "home", [folder], environ) as backend:
        report = backend.run(
            "ingest", str(folder / "scene.tif"), "--project", str(project), "--tile", "64", "--overlap", "0"
        )
        assert report["tasks"] == 40
        with wire(backend.settings) as wired:
            yield Site(studio, backend, wired, project)


def raster(path: Path) -> None:
    pixels = np.random.default_rng(0).integers(1, 255, (3, 320, 512), dtype=np.uint8)
    place = rasterio.Affine(0.5, 0, 500000, 0, -0.5, 5400000)
    profile = {"driver": "GTiff", "count": 3, "dtype": "uint8", "width": 512, "height": 320}
    with rasterio.open(path, "w", crs="EPSG:32631", transform=place, **profile) as out:
        out.write(pixels)


def test_connect_sets_everything_up_and_a_second_time_changes_nothing(site: Site) -> None:
    first = site.connect()
    assert len(first["changed"]) == 5, first
    project = site.get(f"/api/projects/{site.project}")
    assert project["sampling"] == "Uncertainty sampling"
    assert project["model_version"] == first["model_version"] == "untrained@000000000000+w1"
    (backend,) = site.get(f"/api/ml?project={site.project}")
    assert (backend["state"], backend["url"]) == ("CO", site.backend.settings.url)
    (hook,) = site.get(f"/api/webhooks/?project={site.project}")
    assert hook["headers"]["Authorization"].startswith("Basic ")
    assert site.connect()["changed"] == []
    assert len(site.get(f"/api/webhooks/?project={site.project}")) == 1
    assert len(site.get(f"/api/ml?project={site.project}")) == 1


def test_connect_leaves_what_others_made(site: Site) -> None:
    other = site.call(
        "POST",
        f"/api/webhooks/?project={site.project}",
        {"url": "http://127.0.0.1:9/hook", "project": site.project},
    )
    assert site.connect()["changed"] == []
    kept = site.get(f"/api/webhooks/?project={site.project}")
    assert other["id"] in [h["id"] for h in kept]
    site.call("DELETE", f"/api/webhooks/{other['id']}/")


def test_a_second_ingest_adds_nothing(site: Site) -> None:
    scene = site.backend.settings.roots[0] / "scene.tif"
    report = site.backend.run("ingest", str(scene), "--project", str(site.project), *TILES)
    assert (report["tasks"], report["known"]) == (0, 40)


def test_a_raster_that_cannot_be_read_is_a_line_and_the_exit_code(site: Site) -> None:
    folder = site.backend.settings.roots[0]
    (folder / "broken.tif").write_bytes(b"II*\0not a tiff")
    with pytest.raises(GroundlookError, match=r"ended with 3: groundlook: .*broken\.tif"):
        site.backend.run(
            "ingest", str(folder / "*.tif"), "--project", str(site.project), "--tile", "64", "--overlap", "0"
        )
    (folder / "broken.tif").unlink()


def test_tiles_reach_the_browser(site: Site) -> None:
    task = site.get(f"/api/tasks?project={site.project}&page_size=1")["tasks"][0]
    answer = httpx.get(task["data"]["image"], headers={"Origin": site.studio.url}, trust_env=False)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["content-type"] == "image/jpeg"


def test_people_are_served_the_window_in_order_and_it_refills(site: Site) -> None:
    """Two people, 14 tasks: more than the window of 12 holds, so it must have been made anew on the way."""
    people = [Annotator(site.studio.url, f"connect{i}@groundlook.local", "password1") for i in range(2)]
    served = []
    for turn in range(14):
        task = people[turn % 2].next_task(site.project)
        assert task is not None
        assert task.model_version == site.get(f"/api/projects/{site.project}")["model_version"]
        served.append(task.task_id)
        people[turn % 2].submit(task.task_id, site.project, [], 0.1)
        known = turn + 1
        until(lambda: len(site.wired.store.served(site.project)) == known)  # noqa: B023 (called at once)
        until(lambda: not any(j.state in ("queued", "running") for j in site.wired.jobs.jobs(site.project)))
    for person in people:
        person.close()
    assert len(set(served)) == 14
    report = site.backend.run("queue", "--project", str(site.project))
    assert report["order_tau"] == 1.0
    rows = [r for r in report["tasks"] if r["served"] is not None]
    assert [r["task_id"] for r in rows] == served
    assert all(r["reason"] and r["window"] for r in rows)
    assert len({r["window"] for r in rows}) >= 2
    every_fourth = [r for r in rows if r["reason"].startswith("held out")]
    assert len(every_fourth) >= 2


def test_opening_a_task_in_the_window_asks_for_no_second_prediction(site: Site) -> None:
    window = site.wired.store.current_window(site.project)
    assert window is not None
    task = window.tasks[-1].task_id
    person = Annotator(site.studio.url, "connect0@groundlook.local", "password1")
    for _ in range(2):
        person.next_task(site.project)
    person.close()
    versions = [p["model_version"] for p in site.get(f"/api/tasks/{task}/?project={site.project}")["predictions"]]
    assert versions.count(window.version) == 1


def test_a_personal_access_token_works_too(site: Site) -> None:
    site.call("POST", "/api/jwt/settings", {"legacy_api_tokens_enabled": True, "api_tokens_enabled": True})
    pat = site.call("POST", "/api/token/")["token"]
    assert site.connect("--token", pat)["changed"] == [f"stored settings of project {site.project} brought up to date"]
    with wire(site.backend.settings) as fresh:
        assert fresh.client.state(fresh.store.project(site.project)).tasks == 40
    assert len(site.connect()["changed"]) == 1
    site.call("POST", "/api/token/blacklist/", {"refresh": pat})  # a user can have one only


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--token", "0" * 40], "refused the token"),
        (["--project", "99999"], "project 99999 does not exist"),
        (["--url", "http://127.0.0.1:1"], "belongs to|does not answer"),
        (["--weights", "/nowhere/model.pt"], "don't exist"),
        (["--weights", "https://example.invalid/model.pt"], "need --sha256"),
        (["--map", "car"], "is not of the form"),
    ],
)
def test_a_wrong_connect_is_one_clear_line(site: Site, words: list[str], says: str) -> None:
    with pytest.raises(GroundlookError, match=says):
        site.connect(*words)


def test_a_config_that_we_cannot_serve_says_so(site: Site) -> None:
    text = '<View><Text name="t" value="$t"/><Choices name="c" toName="t"><Choice value="a"/></Choices></View>'
    project = create_project(site.studio, "Text only", text)
    with pytest.raises(GroundlookError, match="has no Image tag"):
        site.backend.run("connect", "--project", str(project))


@pytest.mark.fault("Label Studio stopped", "refill")
def test_label_studio_down_loses_nothing(site: Site) -> None:
    """A refill while the server is away is tried again, and the queue is as it was when it comes back."""
    before = site.wired.store.current_window(site.project)
    site.studio.stop()
    try:
        with pytest.raises(GroundlookError, match="does not answer"):
            site.backend.run("ingest", str(site.backend.settings.roots[0]), "--project", str(site.project))
        site.wired.jobs.submit("sync", site.project)
        until(lambda: site.wired.jobs.jobs(site.project)[0].message.startswith("will retry"))
        assert httpx.get(site.backend.settings.url + "/health", trust_env=False).status_code == 200
    finally:
        site.studio.start()
    until(lambda: site.wired.jobs.jobs(site.project)[0].state == "done")
    assert site.wired.store.current_window(site.project) == before


def test_a_task_deleted_on_the_way_is_no_harm(site: Site) -> None:
    window = site.wired.store.current_window(site.project)
    assert window is not None
    gone = window.tasks[-1].task_id
    site.call("DELETE", f"/api/tasks/{gone}/?project={site.project}")
    site.wired.jobs.submit("refresh", site.project)
    until(lambda: all(j.state in ("done", "cancelled") for j in site.wired.jobs.jobs(site.project)))
    fresh = site.wired.store.current_window(site.project)
    assert fresh is not None
    assert gone not in [t.task_id for t in fresh.tasks]
    assert fresh.number > window.number
