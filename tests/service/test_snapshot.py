"""Snapshots on the command line, over a home with two of them; taking one from Label Studio is in tests/e2e."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
import shapely
from typer.testing import CliRunner

from groundlook.core.errors import GroundlookError
from groundlook.core.geo import TileRef
from groundlook.core.geometry import Box, Polygon
from groundlook.core.types import Annotation, Control, LabelConfig, Project, Region, Snapshot, Task
from groundlook.learning.snapshot import make_snapshot, save_snapshot
from groundlook.service.cli import app
from groundlook.service.settings import Settings
from groundlook.service.wiring import wire
from groundlook_adapters.rasters.reading.read import Scene, open_scene

LABELS = ("House", "Water")
CONFIG = LabelConfig("l", "RectangleLabels", "i", "i", LABELS, (Control("l", "RectangleLabels", LABELS),))
SIDE = 64


@dataclass
class Home:
    folder: Path
    project: Project
    tiles: list[TileRef]
    before: Snapshot
    after: Snapshot

    def run(self, *words: str) -> Any:
        return CliRunner().invoke(app, ["snapshot", *words])

    def json(self, *words: str) -> Any:
        told = self.run(*words, "--json")
        assert told.exit_code == 0, told.output
        return json.loads(told.stdout)


def said(number: int, task: int, *regions: Region, who: str = "ann") -> Annotation:
    return Annotation(number, task, regions, who, float(number))


def tile(scene: Scene, column: int) -> TileRef:
    assert scene.georef is not None
    place = scene.georef.window(column, 0)
    return TileRef(scene.source, scene.etag, (column, 0, SIDE, SIDE), place, scene.id, render=scene.render.text())


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    (tmp_path / "rasters").mkdir()
    place = rasterio.Affine(0.5, 0, 500000, 0, -0.5, 5400000)
    profile = {"driver": "GTiff", "count": 3, "dtype": "uint8", "width": 2 * SIDE, "height": SIDE}
    with rasterio.open(tmp_path / "rasters" / "scene.tif", "w", crs="EPSG:32631", transform=place, **profile) as out:
        out.write(np.random.default_rng(0).integers(1, 255, (3, SIDE, 2 * SIDE), dtype=np.uint8))
    monkeypatch.setenv("GROUNDLOOK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GROUNDLOOK_ROOTS", str(tmp_path / "rasters"))
    project = Project(7, "http://127.0.0.1:1", "t", CONFIG, "Fields")
    with wire(Settings(home=tmp_path / "home", roots=(tmp_path / "rasters",))) as wired:
        wired.store.put_project(project)
    scene = open_scene(tmp_path / "rasters" / "scene.tif", (tmp_path / "rasters",))
    tiles = [tile(scene, column) for column in (0, SIDE)]
    tasks = [Task(1, "u1", tiles[0], site="alps"), Task(2, "u2", tiles[1], "val"), Task(3, "http://127.0.0.1:1/x.png")]
    house, lake = Region(Box(4, 4, 20, 10), "House", uid="h"), Region(Box(8, 8, 30, 30), "Water", uid="w")
    shots = [
        make_snapshot(project, tasks, [said(1, 1, house), said(2, 2, lake), said(3, 3)]),
        make_snapshot(project, tasks, [said(1, 1, replace(house, label="Water")), said(2, 2, lake)]),
    ]
    for shot in shots:
        save_snapshot(shot, tmp_path / "home" / "snapshots" / "7")
    return Home(tmp_path, project, tiles, *shots)


def test_the_snapshots_of_a_project_are_listed(home: Home) -> None:
    body = home.json("list", "--project", "7")
    assert [(row["snapshot"], row["tiles"], row["regions"]) for row in body["snapshots"]] == [
        (home.before.id, 3, 2),
        (home.after.id, 2, 2),
    ]
    assert f"{home.after.id[:16]}  " in home.run("list", "--project", "7").output
    assert "no snapshot yet" in home.run("list", "--project", "8").output


def test_a_snapshot_is_shown_by_the_beginning_of_its_id(home: Home) -> None:
    body = home.json("show", home.before.id[:12])
    assert (body["whole"]["tiles"], body["whole"]["empty"], body["splits"]["val"]["regions"]) == (3, 1, 1)
    assert body["whole"]["classes"]["Water"]["m2"] == pytest.approx(900 / 4, rel=2e-3)
    assert body["ground_m2"] == pytest.approx(2 * 32 * 32, rel=2e-3)
    assert (body["leaks"], body["sites"]["alps"]["tiles"], body["annotators"]) == ([], 1, {"ann": 3})
    told = home.run("show", home.before.id[:12]).output
    assert "split val: 1 tile, 0 of them empty, 1 region" in told
    assert "class Water: 1 region on 1 tile, 225 m²" in told
    assert "leaks: none" in told


def test_leaks_are_told(home: Home) -> None:
    tasks = [Task(1, "u1", home.tiles[0]), Task(2, "u2", home.tiles[0], "val")]
    shot = make_snapshot(home.project, tasks, [said(1, 1), said(2, 2)])
    save_snapshot(shot, home.folder / "home" / "snapshots" / "7")
    assert home.json("show", shot.id)["leaks"] == [{"train": 1, "val": 2, "why": "image", "share": 1.0}]
    assert "task 1 (train) and 2 (held out): the same picture" in home.run("show", shot.id).output


def test_two_snapshots_are_compared(home: Home) -> None:
    body = home.json("diff", home.before.id[:12], home.after.id[:12])
    assert (body["removed"], body["changed"], body["relabelled"]) == ([3], [1], [["House", "Water", 1]])
    told = home.run("diff", home.before.id[:12], home.after.id[:12]).output
    assert "1 region relabelled House → Water" in told
    assert "no change" in home.run("diff", home.after.id, home.after.id).output


@pytest.mark.parametrize("images", [True, False])
def test_a_snapshot_is_written_as_coco(home: Home, images: bool) -> None:
    out = home.folder / "coco"
    words = ["show", home.before.id, "--view", "coco", "--out", str(out)]
    view = home.json(*words, *(["--images"] if images else []))["view"]
    assert (view["regions"], view["images"], view["skipped"]) == (2, 2 if images else 0, {"tile_without_picture": 1})
    body = json.loads((out / "annotations" / "instances_val.json").read_text())
    (image,) = body["images"]
    assert (out / "images" / "val" / image["file_name"]).is_file() is images
    assert body["annotations"][0]["bbox"] == [8, 8, 30, 30]


def test_a_snapshot_is_written_as_yolo(home: Home) -> None:
    out = home.folder / "yolo"
    home.json("show", home.after.id, "--view", "yolo", "--out", str(out), "--images")
    (label,) = (out / "labels" / "train").iterdir()
    assert label.read_text().startswith("1 ")
    assert len(list((out / "images" / "train").iterdir())) == 1


def test_a_snapshot_is_written_as_a_table(home: Home) -> None:
    out = home.folder / "regions.parquet"
    words = ["show", home.before.id, "--view", "parquet", "--out", str(out)]
    home.json(*words)
    first, second, third = pq.read_table(out).to_pylist()
    assert {row["snapshot"] for row in (first, second, third)} == {home.before.id}
    assert (second["task"], second["split"], second["label"], second["region"]) == (2, "val", "Water", "w")
    assert (second["annotations"], second["annotators"], second["area_px"]) == ([2], ["ann"], 900.0)
    assert second["area_m2"] == pytest.approx(225, rel=2e-3)
    assert second["crs"] == "EPSG:32631"
    assert shapely.from_wkb(second["geometry"]).bounds == (500036, 5399981, 500051, 5399996)
    assert (third["task"], third["label"], third["geometry"]) == (3, None, None), "nothing there is an answer"
    assert isinstance(home.run(*words).exception, GroundlookError), "it exists"
    home.json(*words, "--overwrite")
    assert [p.name for p in home.folder.glob("*.parquet*")] == ["regions.parquet"]


def test_a_shape_off_the_map_is_in_pixels(home: Home) -> None:
    shape = Polygon(((1.0, 1.0), (9.0, 1.0), (1.0, 9.0)))
    shot = make_snapshot(home.project, [Task(5, "u")], [said(9, 5, Region(shape, "House"))])
    save_snapshot(shot, home.folder / "home" / "snapshots" / "7")
    out = home.folder / "regions.parquet"
    home.json("show", shot.id, "--view", "parquet", "--out", str(out))
    (row,) = pq.read_table(out).to_pylist()
    assert (row["crs"], row["area_px"], row["area_m2"]) == (None, 32.0, None)
    assert shapely.from_wkb(row["geometry"]).equals(shapely.Polygon(shape.points))


def test_what_is_missing_is_named(home: Home) -> None:
    assert home.run().exit_code == 2
    assert home.run("show", home.before.id, "--view", "coco").exit_code == 2
    assert "snapshot list" in str(home.run("show", "zz").exception)
    changed = home.folder / "home" / "snapshots" / "7" / f"{home.before.id}.json"
    changed.write_text(changed.read_text().replace("House", "Horse"))
    assert "was changed" in str(home.run("show", home.before.id).exception)
