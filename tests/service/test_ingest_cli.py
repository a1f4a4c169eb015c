"""`groundlook ingest` from the command line to the tasks that Label Studio gets, over a stand-in for its API."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import rasterio
from typer.testing import CliRunner

from groundlook.core.errors import GroundlookError
from groundlook.core.types import Project
from groundlook.service.cli import app
from groundlook.service.wiring.parts import wire
from groundlook_adapters.labelstudio.client import LabelStudioClient
from groundlook_adapters.rasters.signing import verify
from tests.service.ingest_desk import CONFIG, Desk, Studio


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    folder, home, studio = tmp_path / "rasters", tmp_path / "home", Studio()
    folder.mkdir()
    for name, value in {"HOME": home, "ROOTS": folder, "URL": "http://tiles.example.org:9090"}.items():
        monkeypatch.setenv(f"GROUNDLOOK_{name}", str(value))
    monkeypatch.setattr(LabelStudioClient, "tasks", lambda self, project: studio.tasks(project))
    monkeypatch.setattr(
        LabelStudioClient, "import_tasks", lambda self, project, rows: studio.import_tasks(project, rows)
    )
    from groundlook.service.settings import Settings

    with wire(Settings(home=home)) as wired:
        wired.store.put_project(Project(7, "http://studio.example.org", "token", CONFIG, "Test"))
    return Desk(folder, home, studio)


def test_tasks_show_signed_tiles(desk: Desk) -> None:
    desk.raster("a.tif")
    result = desk.run(desk.folder, "--tile", "256", "--overlap", "64", "--image-format", "webp")
    assert result.exit_code == 0
    assert result.stdout.startswith("9 tasks from 1 scenes (")
    assert "0 rasters failed" in result.stdout
    key = (desk.home / "tiles.key").read_bytes()
    for data, tile in zip(desk.studio.data, desk.studio.tiles(), strict=True):
        match = re.fullmatch(
            r"http://tiles.example.org:9090/tiles/(\w+)/(\d+)_(\d+)_(\d+)_(\d+)\.(\w+)\?sig=(.+)", data["image"]
        )
        assert match is not None
        scene, window = match[1], tuple(int(match[i]) for i in range(2, 6))
        assert (scene, window, match[6]) == (tile.scene_id, tile.window, "webp")
        assert verify(key, tile.scene_id, tile.window, "webp", match[7])
        assert data["picture"] == data["image"]  # the key that the label config shows
        assert data["split"] in ("train", "val", "margin")
    with wire(_settings(desk)) as wired:
        row = wired.store.scene(desk.studio.tiles()[0].scene_id)
    assert (row.width, row.height, row.source) == (512, 512, str(desk.folder / "a.tif"))


def _settings(desk: Desk) -> Any:
    from groundlook.service.settings import Settings

    return Settings(home=desk.home, roots=(desk.folder,))


def test_a_second_ingest_adds_what_is_new(desk: Desk) -> None:
    desk.raster("a.tif")
    size = ("--tile", "256", "--overlap", "64")
    assert desk.report(desk.folder, *size)["tasks"] == 9
    again = desk.report(desk.folder, *size)
    assert (again["tasks"], again["known"], again["scenes"]) == (0, 9, 1)
    desk.raster("b.tif", place=rasterio.Affine(0.5, 0, 500_256, 0, -0.5, 5_400_000))
    more = desk.report(desk.folder, *size)
    assert (more["tasks"], more["known"]) == (9, 9)
    assert len({t.uid for t in desk.studio.tiles()}) == 18


def test_a_home_that_was_lost_knows_its_scenes_again(desk: Desk) -> None:
    desk.raster("a.tif")
    desk.report(desk.folder)
    (tile,) = desk.studio.tiles()
    (desk.home / "store.db").unlink()
    with wire(_settings(desk)) as wired:
        wired.store.put_project(Project(7, "http://studio.example.org", "token", CONFIG, "Test"))
    assert desk.report(desk.folder)["known"] == 1
    with wire(_settings(desk)) as wired:
        assert wired.store.scene(tile.scene_id).source == str(desk.folder / "a.tif")


def test_what_cannot_be_used_is_a_line_each_and_the_rest_goes_on(desk: Desk, tmp_path: Path) -> None:
    zeros = np.zeros((3, 512, 512), dtype=np.uint8)
    good = desk.raster("good.tif")
    desk.raster("empty.tif", zeros, nodata=0)
    desk.raster("nocrs.tif", crs=None)
    desk.raster("one.tif", np.ones((3, 1, 1), dtype=np.uint8))
    whole = desk.raster("cut.tif", compress="deflate").read_bytes()
    (desk.folder / "cut.tif").write_bytes(whole[: len(whole) // 2])
    (desk.folder / "text.tif").write_text("no raster")
    outside = tmp_path / "outside.tif"
    outside.write_bytes(good.read_bytes())
    (desk.folder / "link.tif").symlink_to(outside)
    paths = [desk.folder, outside, "http://10.0.0.1/a.tif", "ftp://h/a.tif", desk.folder / "none.tif"]
    result = desk.run(*paths, "--tile", "256", "--overlap", "64")
    assert result.exit_code == 3
    lines = [line for line in result.stderr.splitlines() if line]
    assert all(line.startswith("groundlook: ") for line in lines)
    for name, says in {
        "cut.tif": "truncated",
        "empty.tif": "no pixel with data",
        "link.tif": "GROUNDLOOK_ROOTS",
        "nocrs.tif": "--crs",
        "text.tif": "is not a GeoTIFF",
        "outside.tif": "GROUNDLOOK_ROOTS",
        "10.0.0.1": "GROUNDLOOK_RASTER_HOSTS",
        "ftp://": "only http",
        "none.tif": "does not exist",
    }.items():
        assert [says in line for line in lines if name in line.split(": ", 1)[1][:120]] == [True], (name, lines)
    assert len(lines) == 9
    assert len(desk.studio.data) == 9 + 1  # the picture of one pixel is one task
    assert "9 rasters failed" in result.stdout


def test_nothing_usable_is_a_failure(desk: Desk) -> None:
    result = desk.run(desk.folder / "none.tif")
    assert result.exit_code == 1
    assert desk.report(desk.folder / "none.tif", code=1)["scenes"] == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--expression", "(b4-b1)/(b4+"], "--expression"),
        (["--expression", "b1.__class__"], "--expression"),
        (["--bands", "4,x"], "--bands '4,x'"),
        (["--bands", ""], "--bands ''"),
        (["--object-size", "5", "--tile", "256"], "leave --tile and --overlap out"),
        (["--tile", "128", "--overlap", "128"], "the overlap must be smaller"),
        (["--block", "0"], "--block 0"),
        (["--prerender-url", "https://b/"], "--prerender"),
    ],
)
def test_options_that_fit_no_raster_are_one_line(desk: Desk, words: list[str], says: str) -> None:
    for name in ("a.tif", "b.tif"):
        desk.raster(name)
    with pytest.raises(GroundlookError, match=re.escape(says)) as caught:
        desk.run(desk.folder, *words)
    assert "\n" not in str(caught.value)
    assert desk.studio.data == []


def test_bands_that_a_raster_lacks_are_its_own_failure(desk: Desk) -> None:
    desk.raster("three.tif")
    desk.raster("four.tif", np.full((4, 64, 64), 9, dtype=np.uint8))
    report = desk.report(desk.folder, "--bands", "4,3,2", code=3)
    assert (report["scenes"], len(report["failed"])) == (1, 1)
    assert "4" in report["failed"][0]
    assert desk.studio.data[0]["geo"]["render"]["bands"] == [4, 3, 2]


def test_what_is_shown_can_be_chosen(desk: Desk) -> None:
    path = desk.raster("s2.tif", np.random.default_rng(0).integers(1000, 5000, (4, 64, 64)).astype(np.uint16))
    desk.report(path, "--expression", "(b4-b1)/(b4+b1)")
    desk.report(path, "--bands", "3,2,1", "--mode", "reflectance", "--offset", "-1000")
    ndvi, reflectance = (d["geo"]["render"] for d in desk.studio.data)
    assert ndvi["expressions"] == ["(b4-b1)/(b4+b1)"]
    assert (reflectance["mode"], reflectance["offset"]) == ("reflectance", -1000)
    assert len({d["scene_id"] for d in desk.studio.data}) == 2  # two renders, two scenes to look at
    with wire(_settings(desk)) as wired:
        kept = [wired.store.scene(d["scene_id"]).render for d in desk.studio.data]
    assert ["expressions" in text for text in kept] == [True, False]


def test_tiles_from_the_size_of_objects(desk: Desk) -> None:
    path = desk.raster("a.tif")
    cv2.imwrite(str(desk.folder / "plain.png"), np.full((64, 64, 3), 9, dtype=np.uint8))
    report = desk.report(path, desk.folder / "plain.png", "--object-size", "16", code=3)
    assert {t.size for t in desk.studio.tiles()} == {(256, 256)}
    assert sorted({t.window[0] for t in desk.studio.tiles()}) == [0, 224, 256]  # 32 px of overlap
    assert "the size of its pixels on the ground is not known" in report["failed"][0]


def test_pictures_are_written_for_servers_that_cannot_reach_us(desk: Desk, tmp_path: Path) -> None:
    path = desk.raster("a.tif")
    album = tmp_path / "out" / "pictures"
    result = desk.run(path, "--tile", "256", "--overlap", "64", "--prerender", album, "--image-format", "png")
    assert result.exit_code == 0
    assert "9 pictures" in result.stdout
    assert f"LOCAL_FILES_DOCUMENT_ROOT={tmp_path / 'out'}" in result.stdout
    with rasterio.open(path) as dataset:
        truth = dataset.read().transpose(1, 2, 0)
    for data, tile in zip(desk.studio.data, desk.studio.tiles(), strict=True):
        prefix, _, place = data["image"].partition("?d=pictures/")
        assert prefix == "/data/local-files/"
        column, row, width, height = tile.window
        picture = cv2.imread(str(album / place))[:, :, ::-1]
        assert (picture == truth[row : row + height, column : column + width]).all()
        assert tile.source == str(path)  # predictions read the raster itself


def test_pictures_may_lie_elsewhere(desk: Desk, tmp_path: Path) -> None:
    desk.report(desk.raster("a.tif"), "--prerender", tmp_path / "out", "--prerender-url", "https://b.example.org/x/")
    (data,) = desk.studio.data
    assert data["image"] == f"https://b.example.org/x/{data['scene_id']}/0_0_512_512.jpg"


def test_a_scene_with_a_broken_middle_keeps_its_other_tiles(desk: Desk, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(1, 255, (3, 512, 10240), dtype=np.uint8)  # too large to be read whole
    path = desk.raster("a.tif", pixels, tiled=True, blockxsize=256, blockysize=256, compress="deflate")
    with rasterio.open(path) as dataset:
        where, size = (int(dataset.get_tag_item(f"BLOCK_{k}_2_0", "TIFF", bidx=1)) for k in ("OFFSET", "SIZE"))
    data = bytearray(path.read_bytes())
    data[where : where + size] = bytes(size)
    path.write_bytes(data)
    report = desk.report(path, "--tile", "256", "--overlap", "0", "--prerender", tmp_path / "out", code=3)
    assert (report["tasks"], report["pictures"]) == (79, 79)
    assert "1 tiles of it could not be read" in report["failed"][0]


def test_without_prerender_nothing_is_rendered(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("rendered")

    monkeypatch.setattr("groundlook.service.wiring.ingest.read_rgb", never)
    assert desk.report(desk.raster("a.tif"), "--tile", "64", "--overlap", "0")["tasks"] == 64


def test_tasks_are_sent_while_tiles_are_looked_for(desk: Desk) -> None:
    path = desk.raster("a.tif", np.ones((1, 600, 1200), dtype=np.uint8))
    assert desk.report(path, "--tile", "20", "--overlap", "0")["tasks"] == 1800
    assert desk.studio.batches == [500, 500, 500, 300]


def folds(studio: Studio) -> dict[str, int]:
    found = [d["split"] for d in studio.data]
    return {which: found.count(which) for which in ("train", "val", "margin")}


def test_straddlers_are_marked_or_dropped(desk: Desk) -> None:
    path = desk.raster("a.tif", np.ones((1, 1000, 1000), dtype=np.uint8))
    words = (path, "--tile", "64", "--overlap", "16", "--held-out", "0.4", "--block", "100")
    dropped = desk.report(*words, "--straddlers", "drop")
    assert dropped["dropped"] > 10
    assert folds(desk.studio)["margin"] == 0
    assert folds(desk.studio)["val"] == dropped["held_out"] > 10
    marked = desk.report(*words)
    assert (marked["tasks"], marked["straddlers"], marked["dropped"]) == (dropped["dropped"],) * 2 + (0,)


def test_held_out_ground_can_not_be_moved(desk: Desk) -> None:
    first = desk.raster("a.tif", np.ones((1, 1000, 1000), dtype=np.uint8))
    size = ("--tile", "64", "--overlap", "0")
    desk.report(first, *size, "--block", "128", "--held-out", "0.4")
    before = folds(desk.studio)
    second = desk.raster("b.tif", np.full((1, 1000, 1000), 2, dtype=np.uint8))
    with pytest.raises(GroundlookError, match=r"--held-out 0\.5: project 7 holds out 0\.4"):
        desk.run(second, *size, "--held-out", "0.5")
    report = desk.report(second, *size, "--block", "300", code=1)
    assert "--block 300: the held-out blocks of project 7 have a side of 128" in report["failed"][0]
    assert folds(desk.studio) == before
    desk.report(second, *size)  # with neither, they stay where they are
    assert folds(desk.studio) == {which: 2 * n for which, n in before.items()}


def test_an_empty_project_may_choose_anew(desk: Desk) -> None:
    path = desk.raster("a.tif")
    desk.report(path, "--block", "128", "--held-out", "0.4")
    desk.studio.data.clear()
    desk.report(path, "--block", "300", "--held-out", "0.3")
    assert len(desk.studio.data) == 1


def test_one_place_one_fold_in_another_crs_and_another_run(desk: Desk) -> None:
    from tests.rasters.test_places import leaked

    ones = np.ones((1, 1200, 1200), dtype=np.uint8)
    x, y = rasterio.warp.transform("EPSG:32631", "EPSG:3857", [500_050], [5_399_950])
    web = rasterio.Affine(0.8, 0, x[0], 0, -0.8, y[0])
    size = ("--tile", "64", "--overlap", "16", "--held-out", "0.4")
    desk.report(desk.raster("utm.tif", ones), *size)
    desk.report(desk.raster("web.tif", ones, crs="EPSG:3857", place=web), *size)
    desk.report(desk.raster("web later.tif", ones * 2, crs="EPSG:3857", place=web), *size)
    found = list(zip(desk.studio.tiles(), (d["split"] for d in desk.studio.data), strict=True))
    assert folds(desk.studio)["val"] > 100
    assert leaked(found, "EPSG:32631") < 1e-6
    by_scene = [[w for t, w in found if Path(t.source).stem == name] for name in ("web", "web later")]
    assert by_scene[0] == by_scene[1]


def test_no_token_and_no_path_of_ours_is_printed(desk: Desk) -> None:
    result = desk.run(desk.raster("a.tif"))
    assert "token" not in result.output


def test_the_help_says_what_a_server_needs() -> None:
    result = CliRunner().invoke(app, ["ingest", "--help"], env={"COLUMNS": "100", "NO_COLOR": "1"})
    assert result.exit_code == 0
    for word in (
        "--object-size",
        "--expression",
        "--prerender-url",
        "--straddlers",
        "LOCAL_FILES_SERVING_ENABLED=true",
    ):
        assert word in result.stdout


@pytest.mark.skipif(sys.platform == "darwin", reason="its file names are always UTF-8")
def test_odd_names_cost_one_line_each(desk: Desk) -> None:
    good = desk.raster("good\nname ü 日本.tif").read_bytes()
    (desk.folder / "bad\n\x1b[31mname.tif").write_text("no raster")
    name = os.fsencode(desk.folder) + b"/latin-\xfc.tif"
    with open(name, "wb") as file:
        file.write(good)
    result = desk.run(desk.folder, desk.folder / ("x" * 300 + ".tif"))
    assert result.exit_code == 3
    lines = [line for line in result.stderr.splitlines() if line]
    assert [sum(says in line for line in lines) for says in (r"bad\n\x1b[31mname", "not UTF-8", "too long")] == [
        1,
        1,
        1,
    ]
    assert len(lines) == 3
    assert len(desk.studio.data) == 1


def test_a_crs_that_is_none_is_said_once(desk: Desk) -> None:
    for name in ("a.tif", "b.tif"):
        desk.raster(name, crs=None)
    with pytest.raises(GroundlookError, match="--crs: CRS 'EPSG:99999'"):
        desk.run(desk.folder, "--crs", "EPSG:99999")


def test_a_band_that_a_raster_lacks_is_said_with_its_name(desk: Desk) -> None:
    desk.raster("three.tif")
    (line,) = desk.report(desk.folder, "--expression", "b4/b1", code=1)["failed"]
    assert line.startswith(f'{desk.folder / "three.tif"}: "b4/b1"')
