"""Two services on one home: what a rollback by command line changes for the next request of each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import rasterio

from groundlook.core.geometry import Box
from groundlook.core.types import ModelCard, ModelVersion, Prediction, Project, RankedTask, Region, Score, Window
from groundlook.demo.studio import free_port
from groundlook.learning.registry import FileRegistry, file_sha256
from groundlook.models.weights.file import read, save
from groundlook_adapters.labelstudio.config import parse_config
from groundlook_adapters.rasters.reading.read import Scene
from groundlook_adapters.rasters.tiling.geotile import task_data
from groundlook_adapters.rasters.tiling.ingest import scan, tiles
from groundlook_adapters.store.sqlite import SqliteStore
from tests.waiting import until
from tests.weights.make_yolo import HERE, town

XML = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
    '<Label value="building"/><Label value="car"/></RectangleLabels></View>'
)
EARLIER, LATER = ModelVersion("yolo", "a" * 12), ModelVersion("yolo", "b" * 12)
FRESH = 4
"""Of the four tasks the one that nobody predicted yet."""


@dataclass
class Home:
    """A project whose later version serves, with a window; both versions said something of its first tasks."""

    folder: Path
    tasks: list[dict[str, Any]]

    @property
    def environ(self) -> dict[str, str]:
        ours = {"GROUNDLOOK_HOME": str(self.folder / "home"), "GROUNDLOOK_ROOTS": str(self.folder)}
        return {**{k: v for k, v in os.environ.items() if not k.startswith("GROUNDLOOK_")}, **ours}

    def command(self, *words: str) -> Any:
        line = [sys.executable, "-m", "groundlook", "models", *words, "--project", "7", "--json"]
        done = subprocess.run(line, env=self.environ, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    folder = tmp_path_factory.mktemp("served")
    place = {"crs": "EPSG:32631", "transform": rasterio.Affine(0.3, 0, 5e5, 0, -0.3, 54e5)}
    pixels = town(3, 320)[0].pixels.transpose(2, 0, 1)
    shape = {"count": 3, "dtype": "uint8", "width": 320, "height": 320}
    with rasterio.open(folder / "town.tif", "w", driver="GTiff", **shape, **place) as out:
        out.write(pixels)
    scene = next(iter(scan([str(folder / "town.tif")], [folder])))
    assert isinstance(scene, Scene)
    refs, _ = tiles(scene, 160, 0)
    rows = [{"id": i + 1, "data": task_data(r, "train", "http://x/i.jpg"), "project": 7} for i, r in enumerate(refs)]

    (folder / "home").mkdir()
    store, registry = SqliteStore(folder / "home" / "store.db"), FileRegistry(folder / "home" / "models")
    store.put_project(Project(7, "http://127.0.0.1:9", "0" * 40, parse_config(XML), "towns"))
    over = None
    for at, (version, weights) in enumerate(((EARLIER, HERE / "yolo_detect.safetensors"), (LATER, _blind(folder)))):
        card = ModelCard(
            version, "yolo", "yolo11p.yaml", ("building", "car"), file_sha256(weights), verdict="promoted", created=at
        )
        registry.save(7, card, weights)
        registry.promote(7, version, over)
        over = version
        said = Region(Box(10 + at, 10, 20, 20), "building", 0.9)
        answer = Prediction(version, (said,), size=(160, 160))
        store.put_predictions(7, version, {i: (answer, Score(0.5)) for i in range(1, FRESH)})
        ranked = tuple(RankedTask(i, i - 1, 0.5, "test") for i in range(1, FRESH))
        store.add_window(7, Window(at + 1, version, ranked, time.time()))
    store.close()
    return Home(folder, rows)


def _blind(folder: Path) -> Path:
    """The same network, sure of nothing: it finds nothing in any picture."""
    found = read(HERE / "yolo_detect.safetensors")
    for name in [n for n in found.state if ".cv3." in n and n.endswith(".2.bias")]:
        found.state[name] = found.state[name] - 30
    return save(folder / "blind.safetensors", found)


@contextmanager
def service(home: Home) -> Iterator[httpx.Client]:
    port = free_port()
    command = [sys.executable, "-m", "groundlook", "serve", "--no-worker", "--attached", "--port", str(port)]
    with (home.folder / f"{port}.log").open("wb") as log:
        environ = {**home.environ, "GROUNDLOOK_PARENT": str(os.getpid())}
        process = subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client:
            yield client
            assert process.poll() is None
    finally:
        process.terminate()
        process.wait(20)


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/health").is_success
    except httpx.HTTPError:
        return False


def setup(client: httpx.Client) -> str:
    body = {"project": "7.1", "schema": XML, "hostname": "http://h", "access_token": "x", "extra_params": None}
    return str(client.post("/setup", json=body).json()["model_version"])


def predict(client: httpx.Client, tasks: list[dict[str, Any]]) -> dict[str, Any]:
    body = {"tasks": tasks, "project": "7.1", "label_config": XML, "params": {"context": None}}
    reply = client.post("/predict", json=body)
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    return found


def test_a_rollback_changes_the_next_request_of_every_service(home: Home) -> None:
    with ExitStack() as stack:
        one, two = (stack.enter_context(service(home)) for _ in range(2))
        for client in (one, two):
            until(lambda: answers(client), 90)  # noqa: B023 (called at once)
            assert setup(client) == f"{LATER}+w2"
            before = predict(client, home.tasks)
            assert [len(r["result"]) for r in before["results"]] == [1, 1, 1, 0]
            assert {r["model_version"] for r in before["results"]} == {f"{LATER}+w2"}
            assert str(LATER) in client.request("GET", "/versions", json={"project": "7.1"}).json()["versions"]

        said = home.command("rollback")
        assert (said["serving"], said["before"]) == (str(EARLIER), str(LATER))

        after = predict(one, home.tasks)  # the first request there is, of either service
        assert setup(two) == after["model_version"] == str(EARLIER)
        for found in (after, predict(two, home.tasks)):
            assert {r["model_version"] for r in found["results"]} == {str(EARLIER)}  # version in = version out
            lefts = [r["result"][0]["value"]["x"] for r in found["results"][:3]]
            assert lefts == pytest.approx([10 / 160 * 100] * 3)  # what the earlier one said, not the later
            assert len(found["results"][3]["result"]) > 1  # and what it says now of a task that is new
            assert {r["score"] for r in found["results"]} == {1.0}  # no place in the window that was withdrawn
        for client in (one, two):
            versions = client.request("GET", "/versions", json={"project": "7.1"}).json()["versions"]
            assert versions == [str(EARLIER)]

        FileRegistry(home.folder / "home" / "models").promote(7, LATER, EARLIER)  # and forth
        assert setup(one) == setup(two) == f"{LATER}+w2"  # its window is still the last one
