"""A project's annotations, from Label Studio's API to files with a manifest, as `groundlook export` does it."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import cv2
import numpy as np
import pytest
import rasterio
import shapely
from typer.testing import CliRunner

from groundlook.core.errors import InvalidInput
from groundlook.core.geo import TileRef
from groundlook.core.geometry import Box
from groundlook.core.types import Control, LabelConfig, ModelVersion, Original, Prediction, Project, Region, SceneRow
from groundlook.service.cli import app
from groundlook.service.settings import Settings
from groundlook.service.wiring import Wired, wire
from groundlook.service.wiring.export import Choices, Exported, export_project
from groundlook_adapters.rasters.reading.read import open_scene
from groundlook_adapters.rasters.tiling.geotile import task_data

from .exports import read

XML = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
    '<Label value="House"/><Label value="Water"/></RectangleLabels></View>'
)
LABELS = ("House", "Water")
CONFIG = LabelConfig(
    "label", "RectangleLabels", "image", "image", LABELS, (Control("label", "RectangleLabels", LABELS),)
)
MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SIDE = 128


class Studio(BaseHTTPRequestHandler):
    """As much of Label Studio as an export asks for."""

    tasks: list[dict[str, Any]]
    pages: list[list[int]]
    """The ids in each answer that came with annotations."""
    picture: bytes

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {k: v[0] for k, v in parse_qs(parts.query).items()}
        if parts.path.startswith("/api/tasks"):
            part = type(self).listed(json.loads(query["query"]))[: int(query["page_size"])]
            body: Any = {"tasks": part, "total": len(self.tasks), "total_annotations": 0, "total_predictions": 0}
            return self.reply(200, json.dumps(body).encode())
        if parts.path.startswith("/api/projects/7"):
            return self.reply(200, json.dumps({"id": 7, "title": "T", "label_config": XML}).encode())
        found = parts.path == "/data/upload/field.png"
        return self.reply(200 if found else 404, type(self).picture if found else b"{}")

    @classmethod
    def listed(cls, query: dict[str, Any]) -> list[dict[str, Any]]:
        if "selectedItems" in query:
            cls.pages.append(query["selectedItems"]["included"])
            return [t for t in cls.tasks if t["id"] in cls.pages[-1]]
        after, counted = query["filters"]["items"]
        skipped = counted["filter"] == "filter:tasks:cancelled_annotations"
        found = [t for t in cls.tasks if any(a["was_cancelled"] == skipped for a in t["annotations"])]
        return [{"id": t["id"]} for t in found if t["id"] > after["value"]]

    def reply(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@dataclass
class House:
    """A service and its Label Studio."""

    wired: Wired
    project: Project
    studio: type[Studio]
    folder: Path
    tiles: list[TileRef] = field(default_factory=list)

    def run(self, form: str, name: str, **other: Any) -> Exported:
        choices = Choices(form, MOMENT, **other)
        return export_project(self.wired, self.project, self.folder / name, choices, lambda *_: None)


def region(uid: str, box: Box, label: str = "House", origin: str = "manual") -> dict[str, Any]:
    value = {"x": box.x, "y": box.y, "width": box.width, "height": box.height, "rotation": box.rotation}
    percent = {k: v if k == "rotation" else v / SIDE * 100 for k, v in value.items()}
    return {
        "id": uid,
        "type": "rectanglelabels",
        "from_name": "label",
        "to_name": "image",
        "original_width": SIDE,
        "original_height": SIDE,
        "origin": origin,
        "value": {**percent, "rectanglelabels": [label]},
    }


def annotation(number: int, *regions: dict[str, Any], who: int = 1, skipped: bool = False) -> dict[str, Any]:
    return {
        "id": number,
        "completed_by": who,
        "created_at": f"2026-01-01T00:00:{number % 60:02}Z",
        "lead_time": 2.0,
        "was_cancelled": skipped,
        "result": list(regions),
    }


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    pixels = np.random.default_rng(0).integers(1, 255, (3, 256, 256), dtype=np.uint8)
    place = rasterio.Affine(0.5, 0, 500000, 0, -0.5, 5400000)
    profile = {"driver": "GTiff", "count": 3, "dtype": "uint8", "width": 256, "height": 256}
    (tmp_path / "rasters").mkdir()
    with rasterio.open(tmp_path / "rasters" / "scene.tif", "w", crs="EPSG:32631", transform=place, **profile) as out:
        out.write(pixels)
        out.update_tags(TIFFTAG_COPYRIGHT="(c) Survey")
    picture = cv2.imencode(".png", np.ascontiguousarray(pixels[:, :60, :100].transpose(1, 2, 0)))[1].tobytes()
    studio = type("Here", (Studio,), {"tasks": [], "pages": [], "picture": picture})
    server = ThreadingHTTPServer(("127.0.0.1", 0), studio)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    wired = wire(Settings(home=tmp_path / "home", roots=(tmp_path / "rasters",)))
    project = Project(7, f"http://127.0.0.1:{server.server_address[1]}", "legacy-token", CONFIG, "Fields")
    wired.store.put_project(project)
    scene = open_scene(tmp_path / "rasters" / "scene.tif", wired.settings.roots)
    assert scene.georef is not None
    wired.store.put_scene(SceneRow(scene.id, scene.source, scene.etag, scene.render.text(), 256, 256))
    windows = [(0, 0, SIDE, SIDE), (64, 0, SIDE, SIDE), (128, 128, SIDE, SIDE)]
    georef, render = scene.georef, scene.render.text()
    tiles = [TileRef(scene.source, scene.etag, w, georef.window(w[0], w[1]), scene.id, None, render) for w in windows]
    studio.tasks = [
        task(1, tiles[0], annotation(10, region("a", Box(70, 20, 30, 20)), region("c", Box(5, 5, 10, 10)))),
        task(
            2, tiles[1], annotation(20, region("b", Box(6, 20, 30, 20))), annotation(21, region("d", Box(9, 90, 9, 9)))
        ),
        task(3, tiles[2], annotation(30)),
        task(4, tiles[2], annotation(40, skipped=True)),
        {
            "id": 5,
            "data": {"image": "/data/upload/field.png"},
            "annotations": [annotation(50, region("f", Box(1, 1, 8, 8)))],
        },
    ]
    yield House(wired, project, studio, tmp_path, tiles)
    server.shutdown()
    server.server_close()
    thread.join()
    wired.close()


def task(number: int, tile: TileRef, *annotations: dict[str, Any]) -> dict[str, Any]:
    return {"id": number, "data": task_data(tile, "train", "http://x/i.jpg"), "annotations": list(annotations)}


def test_everything_that_people_said_is_in_the_file(house: House) -> None:
    done = house.run("gpkg", "labels.gpkg", licence="CC-BY-4.0")
    assert done.layers == {"regions": 3, "reviewed": 3}
    assert (done.written, done.regions, done.merged) == (3, 5, 1)
    assert (done.tasks, done.annotations, done.empty) == (4, 5, 1)
    assert done.skipped == {"without_georef": 1}
    _, columns, crs = read(done.path)
    assert crs == "EPSG:32631"
    assert sorted(columns["source_region_ids"]) == ['["a", "b"]', '["c"]', '["d"]']
    assert dict(zip(columns["source_region_ids"], columns["opinion"], strict=True))['["d"]'] == 2
    assert set(columns["project"]) == {7}
    _, reviewed, _ = read(done.path, "reviewed")
    assert dict(zip(reviewed["task_id"], reviewed["empty"], strict=True)) == {1: False, 2: False, 3: True}


def test_a_manifest_tells_the_truth_of_every_file(house: House) -> None:
    done = house.run("geoparquet", "labels.parquet", licence="CC-BY-4.0")
    body = json.loads(done.manifest.read_text())
    assert done.manifest.name == "labels.parquet.manifest.json"
    assert {f["name"] for f in body["files"]} == {"labels.parquet", "labels.reviewed.parquet"}
    for facts in body["files"]:
        content = (house.folder / facts["name"]).read_bytes()
        assert (facts["bytes"], facts["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
        assert [layer["crs"] for layer in facts["layers"]] == ["EPSG:32631"]
    assert (body["licence"], body["software_licence"]) == ("CC-BY-4.0", "Apache-2.0")
    assert body["created"] == "2026-01-02T03:04:05+00:00"
    assert body["project"] == {"id": 7, "title": "Fields", "url": house.project.url}
    assert body["labels"] == ["House", "Water"]
    assert body["counts"]["labels"] == {"House": 3}
    assert body["counts"]["skipped"] == {"without_georef": 1}
    (scene,) = body["scenes"]
    assert (scene["source"], scene["crs"], scene["copyright"]) == ("scene.tif", "EPSG:32631", "(c) Survey")
    assert scene["etag"] == house.tiles[0].etag
    assert str(house.folder) not in done.manifest.read_text()


def test_annotations_come_page_by_page_each_task_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("groundlook_adapters.labelstudio.client.HEAVY_PAGE", 2)
    monkeypatch.setattr("groundlook_adapters.labelstudio.client.PAGE", 2)
    found = list(house.wired.client.iter_annotations(house.project))
    assert [t.id for t, _ in found if not isinstance(t, InvalidInput)] == [1, 2, 3, 4, 5]
    assert [len(a) for _, a in found] == [1, 2, 1, 1, 1]
    assert house.studio.pages == [[1, 2], [3, 4], [5]]
    assert house.wired.client.annotations(house.project)[0].id == 10


def test_a_task_that_somebody_edited_is_left_out_and_said(house: House) -> None:
    house.studio.tasks[0]["data"]["geo"]["window"] = [1, 0, SIDE, SIDE]
    done = house.run("gpkg", "labels.gpkg")
    assert done.skipped == {"task_unreadable": 1, "without_georef": 1}
    assert "tile_uid" in done.problems[0]
    assert done.written == 2


def test_originals_are_found_by_their_region(house: House) -> None:
    house_map = shapely.box(500_002.123, 5_399_992.5, 500_007.5, 5_399_997.456)
    original = Original(shapely.to_wkb(house_map), "EPSG:32631", Box(5, 5, 10, 10), "houses.gpkg:houses/4")
    house.wired.store.put_originals(7, {"c": original})
    done = house.run("gpkg", "labels.gpkg")
    geometries, columns, _ = read(done.path)
    at = columns["merge_rule"].index("original")
    assert columns["source"][at] == "houses.gpkg:houses/4"
    assert shapely.get_coordinates(geometries[at]).tolist() == shapely.get_coordinates(house_map).tolist()
    assert done.originals == 1


def test_an_older_layer_that_is_empty_now_does_not_stay(house: House) -> None:
    first = house.run("geoparquet", "labels.parquet")
    assert (house.folder / "labels.reviewed.parquet") in first.files
    other = house.folder / "labels.other.parquet"
    other.write_bytes(b"not ours")
    house.studio.tasks = []
    house.run("geoparquet", "labels.parquet", overwrite=True)
    names = {p.name for p in house.folder.iterdir() if p.is_file()}
    assert names == {"labels.parquet", "labels.parquet.manifest.json", "labels.other.parquet"}


@pytest.mark.parametrize("form", ["coco", "yolo", "yolo-obb", "voc"])
def test_datasets_hold_the_newest_annotation_and_foreign_images(house: House, form: str) -> None:
    done = house.run(form, "data")
    assert (done.written, done.annotations) == (4, 5)
    body = json.loads((house.folder / "data" / "manifest.json").read_text())
    assert (body["format"], body["settings"]["images"]) == (form, 4)
    for facts in body["files"]:
        content = (house.folder / "data" / facts["name"]).read_bytes()
        assert (facts["bytes"], facts["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    assert len(body["files"]) > 4
    with pytest.raises(InvalidInput, match="exists"):
        house.run(form, "data")
    assert house.run(form, "data", overwrite=True).written == 4


@pytest.mark.parametrize("form", ["mask-cog", "stac-label"])
def test_datasets_on_the_map_leave_foreign_images_out(house: House, form: str) -> None:
    done = house.run(form, "data")
    assert done.skipped["tile_without_georef"] == 1
    assert done.manifest.is_file()


def test_refusals_name_the_remedy(house: House) -> None:
    with pytest.raises(InvalidInput, match="use one of gpkg"):
        house.run("shp", "labels.shp")
    with pytest.raises(InvalidInput, match=r"'Wather' is not a label of project 7: House, Water"):
        house.run("gpkg", "labels.gpkg", dissolve=("Wather",))
    with pytest.raises(InvalidInput, match=r"coco keeps tiles apart"):
        house.run("coco", "data", dissolve=("Water",))
    assert not any(p.is_file() for p in house.folder.iterdir())


def test_the_command_tells_people_and_machines(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROUNDLOOK_HOME", str(house.wired.settings.home))
    monkeypatch.setenv("GROUNDLOOK_ROOTS", str(house.folder / "rasters"))
    words = ["export", "--project", "7", "--out", str(house.folder / "labels.gpkg"), "--overwrite"]
    told = CliRunner().invoke(app, words)
    assert told.exit_code == 0, told.output
    assert "3 features written to" in told.output
    assert "left out: 1 region(s) of images that have no georeference" in told.output
    assert "joined from what several tiles show: 1 feature" in told.output
    told = CliRunner().invoke(app, [*words, "--json", "--merge", "none"])
    body = json.loads(told.stdout)
    assert (body["written"], body["skipped_without_georef"]) == (4, 1)
    assert body["layers"] == {"regions": 4, "reviewed": 3}
    assert body["path"] == str(house.folder / "labels.gpkg")


def on_two_tiles(house: House) -> tuple[Any, dict[str, dict[str, Any]]]:
    """A barn loaded onto the first two tiles, and the regions that annotators find there."""
    barn = shapely.box(500_020, 5_399_980, 500_090, 5_399_990)  # pixels 40…180 × 20…40
    sent = {"p1": (1, Box(40, 20, 88, 20)), "p2": (2, Box(0, 20, 116, 20))}
    originals = {
        uid: Original(shapely.to_wkb(barn), "EPSG:32631", box, "barns.gpkg:b/1") for uid, (_, box) in sent.items()
    }
    house.wired.store.put_originals(7, originals)
    rows = [(t, Prediction(ModelVersion("x", "y"), (Region(b, "House", uid=u),))) for u, (t, b) in sent.items()]
    house.wired.store.put_loaded(7, "barns.gpkg", [(t, replace(p, size=(SIDE, SIDE))) for t, p in rows])
    return barn, {uid: region(uid, box, origin="prediction") for uid, (_, box) in sent.items()}


@pytest.mark.parametrize("again", [False, True])
def test_a_feature_that_everybody_kept_comes_back_as_it_was(house: House, again: bool) -> None:
    """Also where the same file was loaded from another folder, too, and on a tile that nobody looked at yet."""
    barn, found = on_two_tiles(house)
    if again:
        here = house.wired.store.originals(7, ["p1"])["p1"]
        house.wired.store.put_originals(7, {"q1": here})
        other = Prediction(ModelVersion("x", "y"), (Region(here.shape, "House", uid="q1"),), size=(SIDE, SIDE))
        house.wired.store.put_loaded(7, "copy/barns.gpkg", [(1, other)])
    first = task(1, house.tiles[0], annotation(10, found["p1"]))
    for tasks in ([first, task(2, house.tiles[1], annotation(20, found["p2"]))], [first]):
        house.studio.tasks = tasks
        (geometry,), columns, _ = read(house.run("gpkg", "labels.gpkg", overwrite=True).path)
        assert geometry.equals(barn)
        assert columns["merge_rule"] == ["original"]


def test_what_somebody_deleted_on_one_tile_does_not_come_back_with_the_next(house: House) -> None:
    _, found = on_two_tiles(house)
    house.studio.tasks = [task(1, house.tiles[0], annotation(10)), task(2, house.tiles[1], annotation(20, found["p2"]))]
    done = house.run("gpkg", "labels.gpkg")
    (geometry,), columns, _ = read(done.path)
    assert (columns["merge_rule"], columns["source"]) == (["single"], ["barns.gpkg:b/1"])
    assert geometry.bounds == pytest.approx((500_032, 5_399_980, 500_090, 5_399_990)), "what the second tile shows"
    assert done.originals == 0
    # A second opinion that kept it is another matter; a skipped task says nothing
    house.studio.tasks[0]["annotations"].append(annotation(11, found["p1"], who=2))
    _, columns, _ = read(house.run("gpkg", "labels.gpkg", overwrite=True).path)
    assert dict(zip(columns["opinion"], columns["merge_rule"], strict=True)) == {1: "single", 2: "original"}
    house.studio.tasks[0]["annotations"] = [annotation(10, skipped=True)]
    assert house.run("gpkg", "labels.gpkg", overwrite=True).originals == 1
