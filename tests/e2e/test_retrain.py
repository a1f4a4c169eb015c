"""`groundlook retrain` as a scheduler runs it: a process that knows a URL and a token, against a real Label Studio."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import rasterio

from groundlook.api import retrain
from groundlook.core.geometry import Box, envelope
from groundlook.core.types import Region
from groundlook.demo.backend import Backend
from groundlook.demo.house import create_project
from groundlook.demo.studio import Studio
from groundlook.service.wiring import encode_region
from groundlook_adapters.labelstudio.config import parse_config
from tests.e2e.owner import call
from tests.weights.make_yolo import SIDE, Town, town

pytestmark = pytest.mark.e2e
XML = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
    '<Label value="House"/><Label value="Car"/></RectangleLabels></View>'
)
LABELS = {"building": "House", "car": "Car"}
START = Path(__file__).resolve().parents[1] / "weights" / "yolo_detect.safetensors"
"""A network that knows such towns, of which the project knows the cars by their name: so trainings are short, and the
first has something to add to what serves at once."""
ANSWERED, TASKS = 30, 37
Boxes = Callable[[list[Region]], list[Region]]


@dataclass
class Site:
    """A project of its own on the shared server: pictures of towns, and people who know what is in them."""

    studio: Studio
    project: int
    towns: list[Town]

    def call(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        return call(self.studio, method, path, body, **more)

    def tasks(self) -> list[dict[str, Any]]:
        """In the order of the towns, with their predictions."""
        found: list[dict[str, Any]] = self.call("GET", f"/api/tasks?project={self.project}&page_size=100&fields=all")[
            "tasks"
        ]
        return sorted(found, key=lambda task: int(task["id"]))

    def upload(self, numbers: range) -> None:
        shown = [(f"town{n:02d}.png", cv2.imencode(".png", self.towns[n][0].pixels[..., ::-1])[1]) for n in numbers]
        files = {name: (name, png.tobytes()) for name, png in shown}
        self.call("POST", f"/api/projects/{self.project}/import", files=files)

    def label(self, numbers: range, boxes: Boxes = lambda regions: regions) -> None:
        """People draw what is there, as `boxes` makes it."""
        config = parse_config(XML)
        tasks = self.tasks()
        for number in numbers:
            regions = [
                Region(Box(*_upright(r)), LABELS[r.label], uid=f"r{i}") for i, r in enumerate(self.towns[number][1])
            ]
            result = [encode_region(region, config, (SIDE, SIDE)) for region in boxes(regions)]
            self.call("POST", f"/api/tasks/{tasks[number]['id']}/annotations/", {"result": result, "lead_time": 1})


@dataclass
class Runner:
    """A machine that has nothing but what it is given: an empty home, and an environment of its own."""

    home: Path
    environ: dict[str, str]

    def run(self, project: int, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "groundlook", "retrain", "--project", str(project), *words]
        self.home.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            cwd=self.home,
            env={**self.environ, **environ},
            stdin=subprocess.DEVNULL,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done


def _upright(region: Region) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = (float(v) for v in envelope(region.shape))
    return x0, y0, x1 - x0, y1 - y0


def runner(studio: Studio, home: Path, **more: str) -> Runner:
    token = {"GROUNDLOOK_LABEL_STUDIO_URL": studio.url, "GROUNDLOOK_TOKEN": studio.token}
    return Runner(home, {"PATH": os.environ["PATH"], "GROUNDLOOK_HOME": str(home), **token, **more})


@pytest.fixture(scope="module")
def uploaded(studio: Studio) -> Site:
    """Pictures that somebody uploaded, most of them labelled; Groundlook was never here."""
    site = Site(studio, create_project(studio, "Uploads", XML), [town(5000 + i) for i in range(TASKS)])
    site.upload(range(TASKS - 1))
    site.label(range(ANSWERED))
    return site


def test_a_scheduler_that_knows_a_url_and_a_token_does_the_whole_round(uploaded: Site, tmp_path: Path) -> None:
    """Every exit code, in the order in which a project meets them."""
    ci = runner(uploaded.studio, tmp_path / "home")
    out = tmp_path / "out"
    done = ci.run(uploaded.project, "--weights", str(START), "--report", str(out), "--json", GROUNDLOOK_EPOCHS="3")
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    body = json.loads(line)
    version = body["model"]["version"]
    assert (body["outcome"], body["project"]) == ("promoted", uploaded.project)
    assert body["report"] == [str(out / "report.json"), str(out / "report.html")]
    assert json.loads((out / "report.json").read_text())
    assert "<html" in (out / "report.html").read_text()
    queue_is(uploaded, version)

    uploaded.upload(range(TASKS - 1, TASKS))
    again = ci.run(uploaded.project, "--json")
    assert (again.returncode, json.loads(again.stdout)["outcome"]) == (20, "nothing new"), again
    queue_is(uploaded, version)

    uploaded.label(range(ANSWERED), moved)
    poisoned = ci.run(uploaded.project, "--report", str(tmp_path / "bad"), GROUNDLOOK_EPOCHS="6")
    assert poisoned.returncode == 10, (poisoned.stdout, poisoned.stderr)
    assert poisoned.stdout.startswith("refused: ")
    assert (tmp_path / "bad" / "report.html").exists()
    queue_is(uploaded, version)

    lost = runner(uploaded.studio, tmp_path / "another home")
    failed = lost.run(uploaded.project)
    assert failed.returncode == 30
    assert f"serves {version}" in failed.stderr
    assert "--first" in failed.stderr
    for task in uploaded.tasks()[:ANSWERED]:
        newest = max(int(annotation["id"]) for annotation in task["annotations"])
        uploaded.call("DELETE", f"/api/annotations/{newest}/")
    anew = lost.run(uploaded.project, "--first", "--weights", str(START), "--json", GROUNDLOOK_EPOCHS="3")
    assert anew.returncode == 0, anew.stderr
    assert json.loads(anew.stdout)["model"]["version"] == version, "of the same labels and start, the same"


def moved(regions: list[Region]) -> list[Region]:
    """Everything half a tile aside."""
    found = []
    for region in regions:
        assert isinstance(region.shape, Box)
        x = (region.shape.x + SIDE / 2) % (SIDE - region.shape.width)
        found.append(replace(region, shape=replace(region.shape, x=x)))
    return found


def queue_is(site: Site, version: str) -> None:
    """What people are served is what `version` says of the open tasks, in our order."""
    project = site.call("GET", f"/api/projects/{site.project}")
    assert project["model_version"].startswith(f"{version}+w")
    assert project["sampling"] == "Uncertainty sampling"
    for number, task in enumerate(site.tasks()):
        shown = [p for p in task["predictions"] if p["model_version"] == project["model_version"]]
        assert len(shown) == (number >= ANSWERED), number
        assert all(p["result"] for p in shown if site.towns[number][1])


@pytest.mark.parametrize(
    ("words", "environ", "says"),
    [
        ((), {"GROUNDLOOK_TOKEN": "0" * 40}, "refused the token"),
        ((), {"GROUNDLOOK_LABEL_STUDIO_URL": "http://127.0.0.1:1"}, "does not answer"),
        ((), {"GROUNDLOOK_TOKEN": ""}, "groundlook connect"),
        (("--gate", "loose"), {}, "use one of usual, strict"),
        (("--weights", "/nowhere.pt"), {}, "/nowhere.pt"),
        (("--project", "99999"), {}, "project 99999 does not exist"),
        ((), {"GROUNDLOOK_EPOCHS": "many"}, "GROUNDLOOK_EPOCHS='many'"),
    ],
)
def test_what_fails_is_one_line_and_30(
    studio: Studio, tmp_path: Path, words: tuple[str, ...], environ: dict[str, str], says: str
) -> None:
    project = create_project(studio, "Fails", XML)
    done = runner(studio, tmp_path / "home").run(project, *words, **environ)
    assert done.returncode == 30, done
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_project_without_labels_has_nothing_new(studio: Studio, tmp_path: Path) -> None:
    done = runner(studio, tmp_path / "home").run(create_project(studio, "Empty", XML))
    assert done.returncode == 20, done
    assert "no object is labelled yet" in done.stdout


@pytest.fixture
def served(studio: Studio, tmp_path: Path) -> Iterator[Site]:
    """Tiles of a raster that lies on the service's machine only, as it seems from elsewhere."""
    towns = [town(7000 + i) for i in range(30)]
    pixels = np.concatenate([np.concatenate([t.pixels for t, _ in towns[i : i + 6]], 1) for i in range(0, 30, 6)])
    (tmp_path / "there").mkdir()
    place = rasterio.Affine(0.5, 0, 500000, 0, -0.5, 5400000)
    size = {"width": 6 * SIDE, "height": 5 * SIDE}
    path = tmp_path / "there" / "scene.tif"
    with rasterio.open(
        path, "w", driver="GTiff", count=3, dtype="uint8", crs="EPSG:32631", transform=place, **size
    ) as out:
        out.write(pixels.transpose(2, 0, 1))
    token = {"GROUNDLOOK_LABEL_STUDIO_URL": studio.url, "GROUNDLOOK_TOKEN": studio.token, "GROUNDLOOK_RECONCILE": "600"}
    project = create_project(studio, "Tiles", XML)
    with Backend(tmp_path / "service", [path.parent], {**token, "GROUNDLOOK_RETRAIN_EVERY": "1000"}) as backend:
        tiles = ("--tile", str(SIDE), "--overlap", "0", "--block", str(SIDE * 0.5))
        assert backend.run("ingest", str(path), "--project", str(project), *tiles)["tasks"] == 30
        backend.run("connect", "--project", str(project))
        site = Site(studio, project, towns)
        order = [task["data"]["geo"]["window"] for task in site.tasks()]
        site.towns = [towns[(y // SIDE) * 6 + x // SIDE] for x, y, _, _ in order]
        site.label(range(27))
        yield site


@pytest.mark.slow
def test_from_python_tiles_are_read_from_the_service_that_has_them(
    served: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("GROUNDLOOK_EPOCHS", "3")
    told: list[float] = []
    done = retrain(
        served.project,
        url=served.studio.url,
        token=served.studio.token,
        weights=str(START),
        home=tmp_path / "here" / "home",
        report=tmp_path / "here" / "out",
        progress=lambda share, text: told.append(share),
    )
    assert done.outcome == "promoted"
    assert done.card is not None
    assert done.card.metrics["quality"] > 0.2
    assert (tmp_path / "here" / "out" / "report.html").exists()
    assert told == sorted(told)
    assert "comes from another home" in caplog.text, "its service has a home of its own, and another queue"
    again = retrain(served.project, home=tmp_path / "here" / "home")
    assert again.outcome == "nothing new"
