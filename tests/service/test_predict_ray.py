"""`groundlook predict --engine ray`: a Ray of its own, actors in processes of their own, a real network."""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import rasterio
from typer.testing import CliRunner

from groundlook.core.errors import Busy, InvalidInput, InvalidWeights
from groundlook.core.geo import GeoRef, TileRef
from groundlook.core.plan import ModelSpec
from groundlook.service.cli import app
from groundlook.service.settings import read_settings
from groundlook.service.wiring.predict import loaded_model
from groundlook.service.wiring.predict_ray import Looker
from groundlook.service.wiring.shards import WINDOWS, shards_of, tiles_of
from groundlook_adapters.rasters.reading.read import Scene
from groundlook_adapters.rasters.tiling.ingest import scan, tile_of
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
        for moment in ("created_at", "edited_at"):
            feature["properties"].pop(moment)
    return found


def counts(report: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in report.items() if k not in ("path", "files")}


@pytest.mark.slow  # Ray takes half a minute to start and its actors to import
def test_ray_and_this_process_say_the_same(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = scene(desk / "a.tif", 3), scene(desk / "b.tif", 4)
    here = run(desk / "here.geojson", first, second, desk / "none.tif", code=3)
    monkeypatch.setattr("groundlook.models.yolo.predict.YoloModel.predict", None)  # in this process nobody looks
    ray = run(desk / "ray.geojson", first, second, desk / "none.tif", *RAY, code=3)
    assert here["windows"] > 64
    assert here["empty"] > 0
    assert here["merged"] > 0
    assert counts(ray) == counts(here)
    assert features(desk / "ray.geojson") == features(desk / "here.geojson")
    assert sorted(p.name for p in desk.iterdir()) == ["a.tif", "b.tif", "here.geojson", "ray.geojson"]


@pytest.fixture
def cluster() -> Iterator[tuple[str, Path, dict[str, str]]]:
    """A Ray that somebody started: its address, where it keeps its logs, and the environment that has its token."""
    environ = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
    # As quick as others: by itself Ray lets its actors wait for everybody.
    environ = {**os.environ, **environ, "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0", "RAY_worker_niceness": "0"}
    ports = {name: str(port) for name, port in zip(("--port", "--dashboard-agent-listen-port"), free(2), strict=True)}
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as place:  # short: it has sockets there
        sizes = {"--num-cpus": "2", "--object-store-memory": str(2**28), "--temp-dir": place, **ports}
        words = ["--head", "--block", "--node-ip-address", "127.0.0.1", "--include-dashboard", "false"]
        command = [
            str(Path(sys.executable).with_name("ray")),
            "start",
            *words,
            *(w for pair in sizes.items() for w in pair),
        ]
        with (Path(place) / "said").open("w+") as said:
            head = subprocess.Popen(command, env=environ, stdout=said, stderr=said)
            try:
                began = time.monotonic()
                while "Ray runtime started" not in (Path(place) / "said").read_text():
                    assert head.poll() is None, (Path(place) / "said").read_text()
                    assert time.monotonic() - began < 180
                    time.sleep(0.2)
                yield f"127.0.0.1:{ports['--port']}", Path(place) / "session_latest" / "logs", environ
            finally:
                family = [psutil.Process(head.pid), *psutil.Process(head.pid).children(recursive=True)]
                head.terminate()
                head.wait(90)
                for left in psutil.wait_procs(family, timeout=10)[1]:
                    left.kill()


def free(count: int) -> list[int]:
    """Ports that nobody listens at."""
    with ExitStack() as held:
        made = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in made]


@pytest.mark.slow  # a Ray is started as an admin would, and takes half a minute for it
def test_a_ray_that_runs_already_says_the_same(desk: Path, cluster: tuple[str, Path, dict[str, str]]) -> None:
    address, logs, environ = cluster
    path = scene(desk / "a.tif", 3)
    run(desk / "here.geojson", path)

    def ask(out: Path, given: dict[str, str]) -> tuple[subprocess.CompletedProcess[str], list[Path]]:
        command = [sys.executable, "-m", "groundlook", *line(out, path, *RAY, "--ray", address)]
        before = set(logs.glob("python-core-driver-*"))
        done = subprocess.run(command, cwd=HERE.parent, env=given, capture_output=True, text=True, check=False)
        return done, sorted(set(logs.glob("python-core-driver-*")) - before)

    done, drivers = ask(desk / "ray.geojson", environ)
    assert done.returncode == 0, done.stderr
    assert len(drivers) == 1, "that Ray was asked, and not one of our own"
    assert features(desk / "ray.geojson") == features(desk / "here.geojson")
    assert sorted(p.name for p in desk.iterdir()) == ["a.tif", "here.geojson", "ray.geojson"]
    stranger = {k: v for k, v in environ.items() if not k.startswith("RAY_AUTH")}
    done, drivers = ask(desk / "none.geojson", stranger)
    assert (done.returncode, drivers) == (1, [])
    assert "set RAY_AUTH_MODE=token" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_cut_short_goes_on_with_either_engine(desk: Path, end: signal.Signals) -> None:
    path = scene(desk / "a.tif", 3, 1920)
    run(desk / "whole.geojson", path)
    out, kept = desk / "found.geojson", desk / ".found.geojson.unfinished"
    command = [sys.executable, "-m", "groundlook", *line(out, path, *RAY, "--resume")]
    with (desk.parent / "errors").open("w+") as said, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        environ = {**os.environ, "TMPDIR": place}  # a short path: Ray has sockets there, and leaves them when killed
        child = subprocess.Popen(command, cwd=HERE.parent, env=environ, stdout=subprocess.DEVNULL, stderr=said)
        _cut_short(child, kept, end)
        said.seek(0)
        assert "Traceback" not in said.read()
    seen = rows(kept)
    report = run(out, path, "--resume")
    assert report["remembered"] == seen > 0
    assert features(out) == features(desk / "whole.geojson")
    assert sorted(p.name for p in desk.iterdir()) == ["a.tif", "found.geojson", "whole.geojson"]


def _cut_short(child: subprocess.Popen[bytes], kept: Path, end: signal.Signals) -> None:
    """Once something of its work is kept."""
    began = time.monotonic()
    while rows(kept) < 64:
        assert child.poll() is None
        assert time.monotonic() - began < 120
        time.sleep(0.05)
    family = psutil.Process(child.pid).children(recursive=True)
    agents = [p for p in family if p.cmdline() and "Agent" in p.cmdline()[0]]
    child.send_signal(end)
    child.wait(60)
    assert child.returncode == (130 if end is signal.SIGINT else -end)
    left = psutil.wait_procs([p for p in family if p not in agents], timeout=60)[1]
    assert left == []  # Ray went with it
    for agent in agents:  # where nobody could tell them, they look now and then, and go after a minute or two
        with suppress(psutil.NoSuchProcess):
            agent.kill()


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
    with pytest.raises(Busy, match="Ray at 127"):
        run(out, path, *RAY, "--ray", "127.0.0.1:1")
    with pytest.raises(InvalidInput, match="--engine ray"):
        run(out, path, "--actors", "2")
    monkeypatch.setitem(sys.modules, "ray", None)  # as where it is not installed
    with pytest.raises(InvalidInput, match=r"groundlook\[ray\]"):
        run(out, path, *RAY)
    assert sorted(p.name for p in desk.iterdir()) == ["a.tif"]


def test_an_actor_says_what_it_sees_and_what_it_can_not_read(desk: Path) -> None:
    settings, spec = read_settings(os.environ), ModelSpec("yolo", "yolo", str(WEIGHTS))
    with pytest.raises(InvalidWeights, match="other@0123 on another"):
        Looker(settings, spec, 0.25, "other@0123")
    with loaded_model(settings, spec, 0.25) as model:
        look = Looker(settings, spec, 0.25, str(model.version))
    (found,) = scan([str(scene(desk / "a.tif", 3))], [desk])
    assert isinstance(found, Scene)
    windows = [(0, 0, 160, 160), (128, 0, 160, 160), (800, 800, 160, 160)]
    ((count, shard),) = shards_of(tile_of(found, (0, 0, 960, 960)), windows)
    assert count == 3
    assert tiles_of(shard) == [tile_of(found, window) for window in windows]
    body = json.loads(look(shard))
    assert [uid for uid, _ in body["said"]] == [tile_of(found, window).uid for window in windows]
    assert json.loads(body["said"][0][1])["regions"]
    (desk / "a.tif").unlink()
    body = json.loads(look(shard))
    assert (body["windows"], body["said"]) == (3, [])
    assert "a.tif" in body["unread"][0]


def test_a_long_scene_is_handed_out_in_pieces() -> None:
    whole = TileRef("/a.tif", "e", (0, 0, 10**6, 160), GeoRef("EPSG:32631", (0.3, 0.0, 0.1, 0.0, -0.3, 54e5)), "s")
    windows = [(x, 0, 160, 160) for x in range(0, 160 * (2 * WINDOWS + 1), 160)]
    found = list(shards_of(whole, windows))
    assert [count for count, _ in found] == [WINDOWS, WINDOWS, 1]
    assert [t.window for _, shard in found for t in tiles_of(shard)] == windows
    assert len(found[0][1]) < 30 * WINDOWS, "a few bytes for a window"
