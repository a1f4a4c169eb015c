"""`groundlook predict --engine ray`: a Ray of its own, actors in processes of their own, a real network."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import rasterio
from typer.testing import CliRunner

from groundlook.core.errors import Busy, InvalidInput, InvalidWeights
from groundlook.core.plan import ModelSpec
from groundlook.service.cli import app
from groundlook.service.settings import read_settings
from groundlook.service.wiring.predict_ray import Looker
from tests.weights.make_yolo import town

if importlib.util.find_spec("ray") is None or importlib.util.find_spec("ultralytics") is None:
    pytest.skip("the extras ray and yolo are not installed", allow_module_level=True)  # imported only by the product

HERE = Path(__file__).resolve().parents[1]
WEIGHTS = HERE / "weights" / "yolo_detect.safetensors"
SIZE = ("--tile", "160", "--overlap", "32")
RAY = ("--engine", "ray", "--actors", "2")


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for rasters and what is found; the network runs as it is."""
    folder = tmp_path / "rasters"
    folder.mkdir()
    for name, value in (("HOME", tmp_path / "home"), ("ROOTS", folder), ("RUNTIME", "torch eager")):
        monkeypatch.setenv(f"GROUNDLOOK_{name}", str(value))
    return folder


def scene(path: Path, seed: int, side: int = 960, **more: Any) -> Path:
    """A painted town in UTM 31, its right edge without data."""
    pixels = np.moveaxis(town(seed, side)[0].pixels, 2, 0).copy()
    pixels[:, :, -200:] = 0
    place = rasterio.Affine(0.5, 0, 500_000, 0, -0.5, 5_400_000 - 1000 * seed)
    profile = {"driver": "GTiff", "count": 3, "dtype": "uint8", "crs": "EPSG:32631", "transform": place, "nodata": 0}
    with rasterio.open(path, "w", **{**profile, **more}, width=side, height=side) as out:
        out.write(pixels)
    return path


def line(out: Path, *words: Any, weights: Path = WEIGHTS) -> list[str]:
    given = ["--weights", weights, "--out", out, "--format", "geojson", *SIZE, "--json"]
    return ["predict", *map(str, words), *map(str, given)]


def run(out: Path, *words: Any, code: int = 0, **more: Any) -> dict[str, Any]:
    result = CliRunner().invoke(app, line(out, *words, **more), catch_exceptions=False)
    assert result.exit_code == code, result.output
    body: dict[str, Any] = json.loads(result.stdout)
    return body


def features(path: Path) -> list[dict[str, Any]]:
    """As they were written, but for the moment that they name."""
    found: list[dict[str, Any]] = json.loads(path.read_text())["features"]
    for feature in found:
        feature["properties"].pop("created_at", None)
    return found


def counts(report: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in report.items() if k not in ("path", "files")}


def test_ray_and_this_process_say_the_same(desk: Path) -> None:
    first, second = scene(desk / "a.tif", 3), scene(desk / "b.tif", 4, tiled=True, blockxsize=256, blockysize=256)
    with rasterio.open(second) as dataset:
        where, size = (int(dataset.get_tag_item(f"BLOCK_{k}_2_1", "TIFF", bidx=1)) for k in ("OFFSET", "SIZE"))
    assert where + size <= second.stat().st_size
    here = run(desk / "here.geojson", first, second, desk / "none.tif", code=3)
    ray = run(desk / "ray.geojson", first, second, desk / "none.tif", *RAY, code=3)
    assert here["windows"] > 64
    assert here["empty"] > 0
    assert here["merged"] > 0
    assert counts(ray) == counts(here)
    assert features(desk / "ray.geojson") == features(desk / "here.geojson")
    assert sorted(p.name for p in desk.iterdir()) == ["a.tif", "b.tif", "here.geojson", "ray.geojson"]


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_cut_short_goes_on_with_either_engine(desk: Path, end: signal.Signals) -> None:
    path = scene(desk / "a.tif", 3, 3200)
    run(desk / "whole.geojson", path)
    out, kept = desk / "found.geojson", desk / ".found.geojson.unfinished"
    command = [sys.executable, "-m", "groundlook", *line(out, path, *RAY, "--resume")]
    child = subprocess.Popen(command, cwd=HERE.parent, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    began = time.monotonic()
    while rows(kept) < 64:
        assert child.poll() is None
        assert time.monotonic() - began < 120
        time.sleep(0.05)
    family = psutil.Process(child.pid).children(recursive=True)
    child.send_signal(end)
    _, errors = child.communicate(timeout=60)
    assert child.returncode == (130 if end is signal.SIGINT else -end)
    assert "Traceback" not in errors
    assert psutil.wait_procs(family, timeout=60)[1] == []  # Ray went with it
    seen = rows(kept)
    report = run(out, path, "--resume")
    assert report["remembered"] == seen > 0
    assert features(out) == features(desk / "whole.geojson")
    assert sorted(p.name for p in desk.iterdir()) == ["a.tif", "found.geojson", "whole.geojson"]


def rows(journal: Path) -> int:
    if not journal.exists():
        return 0
    db = sqlite3.connect(journal)
    try:
        return int(db.execute("select count(*) from said").fetchone()[0])
    except sqlite3.OperationalError:
        return 0
    finally:
        db.close()


def test_what_can_not_be_done_is_told_and_leaves_no_file(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, out = scene(desk / "a.tif", 3, 320), desk / "found.geojson"
    with pytest.raises(Busy, match="127.0.0.1:1"):
        run(out, path, *RAY, "--ray", "127.0.0.1:1")
    with pytest.raises(InvalidInput, match="--engine ray"):
        run(out, path, "--actors", "2")
    monkeypatch.setitem(sys.modules, "ray", None)  # as where it is not installed
    with pytest.raises(InvalidInput, match=r"groundlook\[ray\]"):
        run(out, path, *RAY)
    assert sorted(p.name for p in desk.iterdir()) == ["a.tif"]


def test_an_actor_that_finds_another_model_says_so(desk: Path) -> None:
    settings = read_settings(os.environ)
    with pytest.raises(InvalidWeights, match="other@0123 on another"):
        Looker(settings, ModelSpec("yolo", "yolo", str(WEIGHTS)), 0.25, "other@0123")
