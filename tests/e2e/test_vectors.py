"""Vectors in, through a real Label Studio, and out again: what nobody edited comes back as it was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import shapely
from pyproj import Transformer

from groundlook.core.errors import GroundlookError
from groundlook.demo.annotators import Annotator
from groundlook.demo.backend import Backend
from groundlook.demo.house import create_project
from groundlook.demo.studio import Studio
from tests.e2e.owner import call
from tests.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


@dataclass
class Town:
    """A project of its own on the shared server, and the service that serves it."""

    studio: Studio
    backend: Backend
    project: int
    folder: Path

    def get(self, path: str) -> Any:
        return self.call("GET", path)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        return call(self.studio, method, path, body)

    def run(self, command: str, *words: str) -> dict[str, Any]:
        return self.backend.run(command, *words, "--project", str(self.project))

    def shown(self, task: int) -> list[dict[str, Any]]:
        """The regions that an annotator who opens `task` starts from: predictions of the project's version."""
        version = self.get(f"/api/projects/{self.project}")["model_version"]
        found = self.get(f"/api/tasks/{task}/?project={self.project}")["predictions"]
        (own,) = [p for p in found if p["model_version"] == version]
        result: list[dict[str, Any]] = own["result"]
        return result

    def label_everything(self) -> dict[str, tuple[int, dict[str, Any]]]:
        """A person is served every task and submits what is shown, as the browser does: same ids, same origin. By
        region id: the annotation it is in, and the region."""
        submitted: dict[str, tuple[int, dict[str, Any]]] = {}
        with Annotator(self.studio.url, f"vectors{self.project}@groundlook.local", "password1") as person:
            while (task := person.next_task(self.project)) is not None:
                result = self.shown(task.task_id)
                assert task.regions == len(result), "what is served is what the API has"
                annotation = person.submit(task.task_id, self.project, result, 0.1)
                for item in result:
                    assert item["origin"] == "prediction"
                    assert ":" in item["meta"]["text"][0]
                    assert item["id"] not in submitted
                    submitted[item["id"]] = (annotation, item)
        return submitted

    def exported(self, name: str) -> list[tuple[str, Any]]:
        """(CRS, geometry) of every region in the GeoPackage that is exported now."""
        path = self.folder / f"{name}.gpkg"
        self.run("export", "--format", "gpkg", "--out", str(path))
        found = []
        for layer in (str(n) for n, kind in pyogrio.list_layers(path) if kind is not None):
            if not layer.startswith("reviewed"):
                meta, _, wkb, _ = pyogrio.raw.read(path, layer=layer)
                found += [(str(meta["crs"]), g) for g in shapely.from_wkb(wkb)]
        return found


@contextmanager
def open_town(studio: Studio, folder: Path, roots: Sequence[Path], config: str) -> Iterator[Town]:
    environ = {
        "GROUNDLOOK_LABEL_STUDIO_URL": studio.url,
        "GROUNDLOOK_TOKEN": studio.token,
        "GROUNDLOOK_WINDOW": "40",
        "GROUNDLOOK_RETRAIN_EVERY": "100000",
        "GROUNDLOOK_RECONCILE": "600",
        "GROUNDLOOK_DEBOUNCE": "0.2",
    }
    with Backend(folder / "home", roots, environ) as backend:
        project = create_project(
            studio, f"Vectors {folder.name}", f'<View><Image name="image" value="$image"/>{config}</View>'
        )
        yield Town(studio, backend, project, folder)


def control(tag: str, label: str) -> str:
    return f'<{tag} name="{tag.lower()}" toName="image"><Label value="{label}"/></{tag}>'


def originals(path: Path, crs: str) -> list[Any]:
    """The features of a file in `crs`, single parts."""
    meta, _, wkb, _ = pyogrio.raw.read(path, columns=[])
    move = Transformer.from_crs(meta["crs"], crs, always_xy=True)
    parts = shapely.get_parts(shapely.from_wkb(wkb))
    return [
        shapely.transform(g, lambda p: np.array(move.transform(p[:, 0].tolist(), p[:, 1].tolist())).T) for g in parts
    ]


def iou(a: Any, b: Any) -> float:
    return float(a.intersection(b).area / a.union(b).area)


BUILDINGS = {
    "solaris": ("solaris/sample_geotiff.tif", "solaris/geotiff_labels.geojson", 43, 256, 32),
    "hag": ("opengeos_data/elevation/hag.tif", "opengeos_data/elevation/buildings.geojson", 84, 128, 32),
}


@pytest.mark.parametrize("name", [pytest.param("hag", marks=pytest.mark.slow), "solaris"])
def test_buildings_come_back_as_they_were(studio: Studio, data_dir: Path, tmp_path: Path, name: str) -> None:
    """In, seen, submitted unedited, out: IoU ≥ 0.999 for every one. Then one corner is moved, and that building alone
    is another."""
    suite = data_dir / "geotiff_suite"
    raster, vectors, count, side, overlap = BUILDINGS[name]
    with open_town(studio, tmp_path, [suite], control("PolygonLabels", "Building")) as town:
        tasks = town.run("ingest", str(suite / raster), "--tile", str(side), "--overlap", str(overlap))["tasks"]
        town.run("connect")
        before = town.get(f"/api/projects/{town.project}")["model_version"]
        # Every piece, however small, so that no building loses what lies on the next tile
        (file,) = town.run("load", str(suite / vectors), "--min-visible", "0")["files"]
        assert (file["features"], file["placed"], file["outside"]) == (count, count, 0)
        until(lambda: town.get(f"/api/projects/{town.project}")["model_version"] != before, every=0.2)
        submitted = town.label_everything()
        assert len(submitted) == file["regions"] > 0
        found = town.exported("unedited")
        truth = originals(suite / vectors, found[0][0])
        assert len(found) == len(truth) == count
        for building in truth:
            assert max(iou(building, g) for _, g in found) >= 0.999
        move_a_corner(town, submitted, tasks)
        found = town.exported("edited")
        best = sorted(max(iou(building, g) for _, g in found) for building in truth)
        assert len(found) == count
        assert best[0] < 0.999 <= best[1], "one is another, the others are as they were"


def move_a_corner(town: Town, submitted: dict[str, tuple[int, dict[str, Any]]], tasks: int) -> None:
    """As the editor does it, of a building that lies on one tile as a whole and is on no other."""
    for annotation, item in submitted.values():
        body = town.get(f"/api/annotations/{annotation}/")
        points = np.array(item["value"]["points"])
        inner = (points.min() > 20) and (points.max() < 80)
        if not inner:
            continue
        for region in body["result"]:
            if region["id"] == item["id"]:
                x, y = region["value"]["points"][0]
                region["value"]["points"][0] = [x + 3, y + 3]
                region["origin"] = "prediction-changed"
        town.call("PATCH", f"/api/annotations/{annotation}/", {"result": body["result"]})
        return
    pytest.fail("no building lies inside of a tile")


TREES = ("bishop_2020_0", "chico_2020_5", "eureka_2020_0", "long_beach_2020_2", "santa_monica_2020_0")


@pytest.mark.parametrize("images", ["five", pytest.param("all", marks=pytest.mark.slow)])
def test_trees_come_back_where_they_stand(studio: Studio, data_dir: Path, tmp_path: Path, images: str) -> None:
    """Points in two UTM zones: within half a pixel (0.3 m) of the given coordinates, all of them."""
    folder = data_dir / "urban_trees"
    names = TREES if images == "five" else tuple(sorted(p.stem for p in (folder / "json").glob("*.json")))
    with open_town(studio, tmp_path, [folder], control("KeyPointLabels", "Tree")) as town:
        rasters = [str(folder / "images" / f"{n}.tif") for n in names]
        assert town.run("ingest", *rasters, "--tile", "256", "--overlap", "0")["tasks"] == len(names)
        files = [folder / "json" / f"{n}.json" for n in names]
        report = town.run("load", *map(str, files))
        assert [f["placed"] for f in report["files"]] == [f["features"] for f in report["files"]]
        town.run("connect")  # after the load: what was loaded waits for the first window
        submitted = town.label_everything()
        assert len(submitted) == sum(f["features"] for f in report["files"])
        found = town.exported("trees")
        assert len(found) == len(submitted)
        for path in files:
            crs = str(pyogrio.read_info(path)["crs"])
            truth = np.array([(p.x, p.y) for p in originals(path, crs)])
            there = np.array([(g.x, g.y) for c, g in found if c == crs])
            gaps = np.hypot(*(truth[:, None] - there[None]).transpose(2, 0, 1))
            assert gaps.min(axis=1).max() <= 0.3
            assert len(np.unique(gaps.argmin(axis=1))) == len(np.unique(truth, axis=0)), "each is one of its own"


def test_loading_again_shows_everybody_the_new_state(studio: Studio, data_dir: Path, tmp_path: Path) -> None:
    suite = data_dir / "geotiff_suite"
    raster, vectors, _, side, overlap = BUILDINGS["hag"]
    with open_town(studio, tmp_path, [suite, tmp_path], control("RectangleLabels", "Building")) as town:
        town.run("ingest", str(suite / raster), "--tile", str(side), "--overlap", str(overlap))
        town.run("connect")

        def regions() -> int:
            version = town.get(f"/api/projects/{town.project}")["model_version"]
            tasks = town.get(f"/api/tasks?project={town.project}&fields=all&page_size=100")["tasks"]
            found = [p for t in tasks for p in t["predictions"] if p["model_version"] == version]
            assert {len(t["predictions"]) >= 1 for t in tasks} == {True}
            return sum(len(p["result"]) for p in found)

        first = town.run("load", str(suite / vectors))["files"][0]
        until(lambda: regions() == first["regions"], every=0.2)
        second = town.run("load", str(suite / vectors))["files"][0]
        assert second["replaced"] == first["regions"]
        town.run("load", str(suite / vectors), "--crs", "EPSG:32631")  # a wrong one: everything is somewhere else
        until(lambda: regions() == 0, every=0.2)
        with pytest.raises(
            GroundlookError, match=r"ended with 1: groundlook: .*has no column 'kind'; its columns: HEIGHT"
        ):
            town.run("load", str(suite / vectors), "--label-column", "kind")
