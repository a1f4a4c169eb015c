"""The whole loop on a real Label Studio, as the command line runs it, and as it goes when things are killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyogrio
import pytest
import rasterio
import shapely

from groundlook.demo.headless import run_headless
from groundlook.demo.house import open_house
from groundlook.service.wiring import decode_task, wire

from .sabotage import Saboteur

pytestmark = pytest.mark.e2e


def demo(folder: Path, *words: str) -> dict[str, Any]:
    """The last line of `groundlook demo --headless --json`; nothing of it may be left running."""
    before = {p.pid for p in psutil.process_iter()}
    command = [sys.executable, "-m", "groundlook", "demo", "--headless", "--json", "--dir", str(folder), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr[-2000:]
    left = [
        p for p in psutil.process_iter(["cmdline"]) if p.pid not in before and str(folder) in str(p.info["cmdline"])
    ]
    assert left == []
    report: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    print(json.dumps(report))
    return report


def check(report: dict[str, Any], rounds: int) -> None:
    assert report["lost"] == 0
    assert report["served_twice"] == 0
    assert report["served_outside_window"] == 0
    assert report["order_tau"] > 0.9
    assert report["promoted"] >= 1
    assert len(report["map50"]) == rounds
    assert report["map50"][-1] > report["map50"][0]
    assert report["exported_features"] == report["regions"] > 0


@pytest.mark.timeout(1500)
def test_the_loop_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rounds of short trainings: all of the loop, in a third of the time."""
    monkeypatch.setenv("GROUNDLOOK_EPOCHS", "12")
    check(demo(tmp_path, "--annotators", "3", "--rounds", "2"), 2)
    check_scene_export(tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("data", ["scene", "oam", "neon"])
def test_the_loop_end_to_end_as_people_run_it(data: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if data != "scene":
        request.getfixturevalue("data_dir")
    check(demo(tmp_path, "--data", data, "--annotators", "3", "--rounds", "3"), 3)


def check_scene_export(folder: Path) -> None:
    """Every exported feature lies in the scene, on its tile, in the CRS of the scene."""
    (scene,) = folder.glob("*.tif")
    with rasterio.open(scene) as raster:
        frame = shapely.box(*raster.bounds)
        crs = str(raster.crs)
    info = pyogrio.read_info(folder / "labels.gpkg", layer="regions")
    assert info["crs"] == crs
    _, _, shapes, _ = pyogrio.raw.read(folder / "labels.gpkg", layer="regions")
    polygons = shapely.from_wkb(shapes)
    assert shapely.is_valid(polygons).all()
    assert shapely.within(polygons, frame.buffer(1e-6)).all()


@pytest.mark.fault("service killed five times", "labelling in Label Studio")
@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_killed_at_five_points_the_loop_ends_with_every_annotation(tmp_path: Path) -> None:
    """SIGKILL of the service while people label, of the training, of the worker, of the service while the pool is
    looked at, and of the service right after a promotion: each is started again, or comes back by itself."""
    environ = {"GROUNDLOOK_EPOCHS": "6", "GROUNDLOOK_RECONCILE": "5"}
    with open_house(tmp_path, "scene", environ, print, retrain_every=lambda tasks: 12) as house:
        saboteur = Saboteur(house)
        with saboteur:
            report = run_headless(house, annotators=3, rounds=2, seed=1, say=print, on=saboteur.step)
        print(json.dumps(report), saboteur.done)
        assert saboteur.done == saboteur.planned
        assert report["lost"] == 0
        assert report["annotations"] == 24
        assert report["served_twice"] == 0
        assert report["promoted"] + report["refused"] >= 2
        assert report["exported_features"] == report["regions"]
        check_against_label_studio(house.backend.environ, house.project, tmp_path / "labels.gpkg")


def check_against_label_studio(environ: dict[str, str], project_id: int, exported: Path) -> None:
    """Within one pixel of what Label Studio holds, computed from its JSON by the formula of the facts."""
    from groundlook.service.settings import read_settings

    wired = wire(read_settings(environ))
    project = wired.store.project(project_id)
    sdk = wired.client.sdk(project.url, project.token)
    meta, _, shapes, columns = pyogrio.raw.read(exported, layer="regions")
    fields = dict(zip(meta["fields"], columns, strict=True))
    annotations, regions = ([json.loads(v)[0] for v in fields[k]] for k in ("annotation_ids", "source_region_ids"))
    polygons = dict(zip(zip(annotations, regions, strict=True), shapely.from_wkb(shapes), strict=True))
    seen = 0
    for task in sdk.tasks.list(project=project_id, fields="all", only_annotated=True):
        tile = decode_task({"id": task.id, "data": task.data}, project).tile
        assert tile is not None
        assert tile.georef is not None
        a, b, c, d, e, f = task.data["geo"]["proj:transform"]
        for annotation in task.annotations:
            for item in annotation["result"]:
                expected = [(a * x + b * y + c, d * x + e * y + f) for x, y in browser_corners(item)]
                got = polygons[annotation["id"], item["id"]]
                distance = shapely.hausdorff_distance(got, shapely.Polygon(expected))
                assert distance < 0.01 * np.hypot(a, d)
                seen += 1
    assert seen == len(polygons)
    wired.close()


def browser_corners(item: dict[str, Any]) -> list[tuple[float, float]]:
    """A rectangle's corners in pixels, by the facts' formula."""
    value, width, height = item["value"], item["original_width"], item["original_height"]
    x, y = value["x"] * width / 100, value["y"] * height / 100
    w, h, t = value["width"] * width / 100, value["height"] * height / 100, np.radians(value["rotation"])
    s, k = np.sin(t), np.cos(t)
    return [(x, y), (x + w * k, y + w * s), (x + w * k - h * s, y + w * s + h * k), (x - h * s, y + h * k)]


def test_ctrl_c_leaves_nothing_behind(tmp_path: Path) -> None:
    """The demo by hand: it prints where to log in; one signal takes everything down."""
    command = [sys.executable, "-m", "groundlook", "demo", "--json", "--dir", str(tmp_path)]
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL, start_new_session=True
    )
    try:
        assert child.stdout is not None
        login = json.loads(child.stdout.readline())
        assert login["url"].startswith("http://127.0.0.1:")
        family = psutil.Process(child.pid).children(recursive=True)
        assert len(family) >= 3, "Label Studio, our service, our worker"
        os.killpg(child.pid, 2)
        assert child.wait(60) == 130
        gone, alive = psutil.wait_procs(family, timeout=15)
        assert not alive
        assert len(gone) == len(family)
    finally:
        child.kill()
        child.wait()
        child.stdout.close() if child.stdout else None


def test_a_busy_port_is_one_line(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for words in (["serve", "--port", port], ["demo", "--studio-port", port, "--dir", str(tmp_path / "d")]):
            environ = {**os.environ, "GROUNDLOOK_HOME": str(tmp_path / "home")}
            command = [sys.executable, "-m", "groundlook", *words]
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
            assert done.returncode == 1
            last = done.stderr.strip().splitlines()[-1]
            assert port in last
            assert "Traceback" not in done.stderr
