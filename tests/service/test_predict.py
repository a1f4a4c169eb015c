"""`groundlook predict` from rasters and weights to GIS files. The model is an oracle: its weights are the truth."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from typer.testing import CliRunner, Result

from groundlook.core.errors import GroundlookError, InvalidConfig, InvalidInput, InvalidWeights
from groundlook.service.cli import app
from groundlook.service.kinds import KINDS, Kind
from tests.vectors.exports import read

ORACLE = Kind("tests.loop.oracle:Oracle")
PLACE = rasterio.Affine(0.5, 0, 500_000, 0, -0.5, 5_400_000)
TRUTH = [
    [20, 20, 60, 50, "house"],
    [310, 300, 350, 340, "house"],
    [100, 700, 850, 760, "road"],
    [420, 380, 460, 420, "car"],
]


class Desk:
    """Where commands are given."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.out = folder, folder / "found.gpkg"

    def raster(self, name: str, side: int = 900, pixels: Any = None, crs: Any = "EPSG:32631", **more: Any) -> Path:
        if pixels is None:
            pixels = np.random.default_rng(0).integers(1, 255, (3, side, side), dtype=np.uint8)
        profile = {"driver": "GTiff", "count": len(pixels), "dtype": pixels.dtype, "crs": crs, "transform": PLACE}
        height, width = pixels.shape[1:]
        with rasterio.open(self.folder / name, "w", **profile, width=width, height=height, **more) as out:
            out.write(pixels)
        return self.folder / name

    def weights(self, name: str = "oracle.json", **more: Any) -> Path:
        (self.folder / name).write_text(json.dumps({"truth": TRUTH, **more}))
        return self.folder / name

    def run(self, *words: Any, weights: Path | None = None, out: Path | None = None) -> Result:
        given = ["--weights", weights or self.weights(), "--kind", "oracle", "--out", out or self.out]
        line = ["predict", *map(str, words), *map(str, given)]
        return CliRunner().invoke(app, line, catch_exceptions=False)

    def report(self, *words: Any, code: int = 0, **more: Any) -> dict[str, Any]:
        result = self.run(*words, "--json", **more)
        assert result.exit_code == code, result.output
        body: dict[str, Any] = json.loads(result.stdout)
        return body


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    folder = tmp_path / "rasters"
    folder.mkdir()
    monkeypatch.setenv("GROUNDLOOK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GROUNDLOOK_ROOTS", str(folder))
    monkeypatch.setitem(KINDS, "oracle", ORACLE)
    return Desk(folder)


SIZE = ("--tile", "400", "--overlap", "100")


def on_the_ground(box: list[Any]) -> Any:
    left, right = (500_000 + 0.5 * x for x in box[0:3:2])
    top, bottom = (5_400_000 - 0.5 * y for y in box[1:4:2])
    return shapely.box(left, bottom, right, top)


def test_what_is_found_lies_where_it_is_in_the_scenes_own_crs(desk: Desk) -> None:
    report = desk.report(desk.raster("a.tif"), *SIZE)
    assert (report["scenes"], report["windows"], report["written"], report["failed"]) == (1, 9, 4, [])
    assert report["merged"] == 3  # all but the one that lies in one window
    assert report["labels"] == {"house": 2, "road": 1, "car": 1}
    assert report["regions"] > 4
    geometries, columns, crs = read(desk.out)
    assert crs == "EPSG:32631"
    for box in TRUTH:
        (row,) = [i for i, g in enumerate(geometries) if g.symmetric_difference(on_the_ground(box)).area < 1e-6]
        assert columns["label"][row] == box[4]
        assert 0.5 <= columns["score"][row] < 0.9
    assert {a for who in columns["annotators"] for a in json.loads(who)} == {report["model"]}
    assert set(columns["origin"]) == {"prediction"}
    assert len(set(columns["uid"])) == 4
    assert sorted(os.listdir(desk.folder)) == sorted(["a.tif", "found.gpkg", "oracle.json"])


@pytest.mark.parametrize("how", ["turned", "polygon", "mask", "surface"])
def test_every_shape_of_answer(desk: Desk, how: str) -> None:
    report = desk.report(desk.raster("a.tif"), *SIZE, weights=desk.weights(how=how))
    assert report["written"] == 4
    found, _, _ = read(desk.out)
    for box in TRUTH:
        assert min(g.symmetric_difference(on_the_ground(box)).area for g in found) < 1e-6


def test_classes_of_windows(desk: Desk) -> None:
    report = desk.report(desk.raster("a.tif"), *SIZE, weights=desk.weights(how="tile"))
    assert report["layers"]["tiles"] == report["regions"] > 0


def test_scenes_of_two_systems_formats_and_sizes_by_metres(desk: Desk) -> None:
    a, b = desk.raster("a.tif"), desk.raster("b.tif", crs="EPSG:32632")
    report = desk.report(a, b, "--object-size", "16")  # 32 px of overlap, 256 px windows
    assert report["layers"] == {"regions_epsg_32631": 4, "regions_epsg_32632": 4}
    assert report["windows"] == 2 * 16
    out = desk.folder / "found.geojson"
    assert desk.report(a, *SIZE, "--format", "geojson", out=out)["written"] == 4
    features = json.loads(out.read_text())["features"]
    assert all(2.9 < f["geometry"]["coordinates"][0][0][0] < 3.1 for f in features)


def test_nothing_found_is_an_answer_and_ground_without_data_is_left_out(desk: Desk) -> None:
    pixels = np.zeros((3, 900, 900), dtype=np.uint8)
    pixels[:, :100, :100] = 9
    path = desk.raster("a.tif", pixels=pixels, nodata=0)
    report = desk.report(path, "--tile", "300", "--overlap", "0", weights=desk.weights(truth=[]))
    assert (report["written"], report["windows"], report["empty"]) == (0, 1, 8)
    assert pyogrio.read_info(desk.out, layer="regions")["features"] == 0


def test_scenes_that_can_not_be_used_are_lines_and_the_rest_goes_on(desk: Desk) -> None:
    good = desk.raster("a.tif")
    desk.raster("nocrs.tif", crs=None)
    (desk.folder / "text.tif").write_text("no raster")
    result = desk.run(good, desk.folder / "nocrs.tif", desk.folder / "text.tif", desk.folder / "none.tif", *SIZE)
    assert result.exit_code == 3
    assert len(result.stderr.strip().splitlines()) == 3
    for name in ("nocrs.tif", "text.tif", "none.tif"):
        assert name in result.stderr
    assert pyogrio.read_info(desk.out, layer="regions")["features"] == 4


def test_a_broken_block_costs_its_windows_only(desk: Desk) -> None:
    pixels = np.random.default_rng(0).integers(1, 255, (3, 512, 10240), dtype=np.uint8)  # too large to be read whole
    path = desk.raster("a.tif", pixels=pixels, tiled=True, blockxsize=256, blockysize=256, compress="deflate")
    with rasterio.open(path) as dataset:
        where, size = (int(dataset.get_tag_item(f"BLOCK_{k}_2_0", "TIFF", bidx=1)) for k in ("OFFSET", "SIZE"))
    data = bytearray(path.read_bytes())
    data[where : where + size] = bytes(size)
    path.write_bytes(data)
    report = desk.report(path, "--tile", "256", "--overlap", "0", code=3)
    assert (report["windows"], report["written"]) == (79, 3)
    assert "1 windows of it could not be read" in report["failed"][0]


@pytest.mark.parametrize(
    ("words", "error", "says"),
    [
        (["none.tif"], InvalidInput, "none.tif"),
        (["nocrs.tif"], InvalidInput, "--crs"),
        (["plain.png"], InvalidInput, "no georeference"),
        (["a.tif", "--tile", "64", "--overlap", "64"], InvalidInput, "the overlap must be smaller"),
        (["a.tif", "--object-size", "5", "--tile", "64"], InvalidInput, "leave --tile and --overlap out"),
        (["a.tif", "--kind", "nonsense"], InvalidConfig, "nonsense"),
        (["a.tif", "--sha256", "0" * 64], InvalidWeights, "sha256"),
        (["a.tif", "--weights", "https://h.example.org/w.pt"], InvalidWeights, "--sha256"),
        (["a.tif", "--weights", "none.pt"], InvalidWeights, "none.pt"),
        (["a.tif", "--out", "none/found.gpkg"], InvalidInput, "not a folder"),
    ],
)
def test_what_can_not_be_done_is_one_line_and_leaves_no_file(
    desk: Desk, words: list[str], error: type[GroundlookError], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(desk.folder)
    desk.raster("a.tif")
    desk.raster("nocrs.tif", crs=None)
    cv2.imwrite(str(desk.folder / "plain.png"), np.full((64, 64, 3), 9, dtype=np.uint8))
    given = ["--weights", str(desk.weights()), "--kind", "oracle", "--out", str(desk.out)]
    with pytest.raises(error, match=says) as caught:
        CliRunner().invoke(app, ["predict", *given, *words], catch_exceptions=False)
    assert "\n" not in str(caught.value)
    assert sorted(os.listdir(desk.folder)) == ["a.tif", "nocrs.tif", "oracle.json", "plain.png"]


def test_a_file_in_the_way_is_kept_unless_it_may_go(desk: Desk) -> None:
    path = desk.raster("a.tif")
    desk.out.write_text("mine")
    with pytest.raises(InvalidInput, match="exists"):
        desk.run(path, *SIZE)
    assert desk.out.read_text() == "mine"
    assert desk.report(path, *SIZE, "--overwrite")["written"] == 4


def test_a_run_that_was_cut_short_goes_on(desk: Desk) -> None:
    path = desk.raster("a.tif")
    whole = desk.report(path, *SIZE, out=desk.folder / "whole.gpkg")
    # By a time at which its model was not asked for more, the same model: its name is the same
    words = (path, *SIZE, "--resume")
    unfinished = desk.folder / ".found.gpkg.unfinished"
    broken = desk.run(*words, weights=_same(desk, breaks=5))
    assert broken.exit_code == 130
    assert unfinished.exists()
    assert not desk.out.exists()
    report = desk.report(*words)
    assert report["remembered"] >= 4
    assert report["windows"] + report["remembered"] == 9
    assert report["written"] == whole["written"]
    assert not unfinished.exists()
    unfinished.write_text("no journal of ours" * 100)
    with pytest.raises(InvalidInput, match="leave --resume out"):
        desk.run(*words, "--overwrite")


def _same(desk: Desk, breaks: int) -> Path:
    """Oracles all have one version, whatever their file is called."""
    return desk.weights("cut.json", breaks=breaks)


SLOW = """
import sys, time
from groundlook.service.kinds import KINDS, Kind
from tests.vectors.exports import read
from groundlook.service.cli import main
import tests.loop.oracle as oracle
look = oracle.Oracle._look
def slow(self, tile):
    time.sleep(0.2)
    return look(self, tile)
oracle.Oracle._look = slow
KINDS["oracle"] = Kind("tests.loop.oracle:Oracle")
print("ready", flush=True)
main()
"""


def test_control_c_leaves_nothing(desk: Desk) -> None:
    path = desk.raster("a.tif", side=2000)
    words = ["predict", str(path), *SIZE, "--weights", str(desk.weights()), "--kind", "oracle", "--out", str(desk.out)]
    here = Path(__file__).resolve().parents[2]
    child = subprocess.Popen(
        [sys.executable, "-c", SLOW, *words], cwd=here, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    for _ in range(600):  # until the output has been begun
        if any(name.startswith(".found") for name in os.listdir(desk.folder)):
            break
        time.sleep(0.1)
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 130, errors
    assert "Traceback" not in errors
    assert sorted(os.listdir(desk.folder)) == ["a.tif", "oracle.json"]


MEMORY = """
import sys
from pathlib import Path
import psutil
from groundlook.service.kinds import KINDS, Kind
from groundlook.service.cli import main
KINDS["oracle"] = Kind("tests.loop.oracle:Oracle")
small, large, weights, out = sys.argv[1:]
def run(scene):
    sys.argv = ["groundlook", "predict", scene, "--weights", weights, "--kind", "oracle", "--out", out, "--overwrite"]
    main()
def ended(scene):
    try:
        run(scene)
    except SystemExit as over:
        assert not over.code, over.code
ended(small)
before = psutil.Process().memory_info().rss
ended(large)
(peak,) = (line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print((int(peak) * 1024 - before) / 2**20)
"""


def test_a_scene_of_any_size_fits_in_a_corner_of_memory(desk: Desk) -> None:
    """What GDAL keeps of its own aside: 256 MB at most, which this raster of one repeated block does not fill."""
    profile = {"driver": "GTiff", "count": 3, "dtype": "uint8", "crs": "EPSG:32631", "transform": PLACE}
    for name, side in (("small.tif", 1024), ("large.tif", 16_384)):  # 800 MB of pixels
        shape = {"width": side, "height": side, "tiled": True, "SPARSE_OK": True}
        with rasterio.open(desk.folder / name, "w", **profile, **shape):
            pass
    truth = [[x, y, x + 40, y + 30, "house"] for x in range(100, 16_000, 900) for y in range(100, 16_000, 900)]
    weights = desk.weights(truth=truth)
    words = [str(desk.folder / name) for name in ("small.tif", "large.tif")]
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, *words, str(weights), str(desk.out)],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"{len(truth):,} features written" in done.stdout
    assert float(done.stdout.splitlines()[-1]) < 400, done.stdout
