"""A promotion and a rollback by command line, as people see them in a real Label Studio."""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import rasterio

from groundlook.core.types import ModelVersion
from groundlook.demo.annotators import Annotator
from groundlook.demo.backend import Backend
from groundlook.demo.house import create_project
from groundlook.demo.studio import Studio
from groundlook.learning.registry import file_sha256
from groundlook.models.weights.file import read, save
from groundlook.service.wiring import Wired, wire
from tests.waiting import until
from tests.weights.make_yolo import HERE, SIDE, town

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(900)]

XML = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
    '<Label value="building"/><Label value="car"/></RectangleLabels></View>'
)
TILES = 12
LATER = ModelVersion("yolo", "b" * 12)


def test_a_rollback_is_in_the_queue_when_the_command_ends(studio: Studio, tmp_path: Path) -> None:
    _scene(tmp_path / "scene.tif")
    project = create_project(studio, "Rollback", XML)
    environ = {
        "GROUNDLOOK_LABEL_STUDIO_URL": studio.url,
        "GROUNDLOOK_TOKEN": studio.token,
        "GROUNDLOOK_RETRAIN_EVERY": "100000",
        "GROUNDLOOK_RECONCILE": "600",
    }
    with Backend(tmp_path / "home", [tmp_path], environ) as backend, wire(backend.settings) as wired:
        words = ("--project", str(project), "--tile", str(SIDE), "--overlap", "0")
        backend.run("ingest", str(tmp_path / "scene.tif"), *words)
        backend.run("connect", "--project", str(project), "--weights", str(HERE / "yolo_detect.safetensors"))
        earlier = wired.registry.serving(project)
        assert earlier is not None
        _keep_blind(wired, project, tmp_path)
        with Annotator(studio.url, "back@groundlook.local", "password1", turn=nullcontext()) as person:

            def shown() -> tuple[str, bool]:
                """The version behind the next task, and whether anything is drawn on it."""
                task = person.next_task(project)
                assert task is not None
                return (task.model_version or "").partition("+")[0], bool(task.regions)

            assert shown() == (str(earlier.version), True)
            backend.run("models", "promote", str(LATER), "--project", str(project))
            until(lambda: shown() == (str(LATER), False), 240, every=0.5)
            said = backend.run("models", "rollback", "--project", str(project))
            model, _, number = said["window"].partition("+w")
            assert model == str(earlier.version)
            # The worker may have published once more by now, of the same version.
            served, _, later = wired.client.state(wired.store.project(project)).version.partition("+w")
            assert (served, int(later) >= int(number)) == (model, True)
            assert shown() == (str(earlier.version), True)


def _scene(path: Path) -> None:
    place = {"crs": "EPSG:32631", "transform": rasterio.Affine(0.2, 0, 5e5, 0, -0.2, 54e5)}
    shape = {"count": 3, "dtype": "uint8", "width": TILES * SIDE, "height": SIDE}
    with rasterio.open(path, "w", driver="GTiff", **shape, **place) as out:
        for i in range(TILES):
            window = rasterio.windows.Window(i * SIDE, 0, SIDE, SIDE)
            out.write(town(i % 7)[0].pixels.transpose(2, 0, 1), window=window)


def _keep_blind(wired: Wired, project: int, folder: Path) -> None:
    """A version that finds nothing anywhere."""
    serving = wired.registry.serving(project)
    assert serving is not None
    found = read(HERE / "yolo_detect.safetensors")
    for name in [n for n in found.state if ".cv3." in n and n.endswith(".2.bias")]:
        found.state[name] = found.state[name] - 30
    weights = save(folder / "blind.safetensors", found)
    more = {"sha256": file_sha256(weights), "parent": str(serving.version), "created": time.time()}
    wired.registry.save(project, replace(serving, version=LATER, verdict="promoted", **more), weights)
