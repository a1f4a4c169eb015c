"""`groundlook load`: from files to what annotators are shown, and what is said about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import shapely

from groundlook.core.errors import InvalidInput
from groundlook.core.types import (
    UNTRAINED_VERSION,
    Control,
    LabelConfig,
    Prediction,
    Project,
    ProjectState,
    Task,
    Window,
)
from groundlook.loop.answer import answer
from groundlook.loop.publish import publish
from groundlook.loop.refresh import refresh
from groundlook.service.cli.load import sentences
from groundlook.service.wiring import Wired, decode_task
from groundlook.service.wiring.load import Options, Report, load
from groundlook_adapters.vectors.load.place import region_uid

from .conftest import House

pytestmark = pytest.mark.anyio
CONTROLS = (Control("poly", "PolygonLabels", ("House", "Shed")),)
CONFIG = LabelConfig("poly", "PolygonLabels", "image", "image", ("House", "Shed"), CONTROLS)


class Studio:
    """Stands for Label Studio: 16 tasks of 64 px, and a queue that remembers what was published."""

    def __init__(self, house: House, config: LabelConfig = CONFIG) -> None:
        self.bodies = house.tile_tasks(16)
        self.config = config
        self.published: list[tuple[Window, Mapping[int, Prediction]]] = []

    def tasks(self, project: Project) -> list[Task]:
        return [decode_task(body, project) for body in self.bodies]

    def state(self, project: Project) -> ProjectState:
        return ProjectState(len(self.bodies), 0, "", self.config)

    def publish(self, project: Project, window: Window, predictions: Mapping[int, Prediction]) -> None:
        self.published.append((window, predictions))


@pytest.fixture
def studio(house: House) -> Studio:
    house.wired.store.put_project(replace(house.project, config=CONFIG))
    return Studio(house)


@pytest.fixture
def wired(house: House, studio: Studio) -> Wired:
    loop = replace(house.wired.loop, labels=studio, queue=studio)  # type: ignore[arg-type]
    return replace(house.wired, client=studio, loop=loop)  # type: ignore[arg-type]


def write(path: Path, boxes: Sequence[Sequence[float]], **columns: Sequence[Any]) -> str:
    """Rectangles in pixels of the scene as a vector file in its CRS."""
    shapes = [shapely.box(500000 + a / 2, 5400000 - d / 2, 500000 + c / 2, 5400000 - b / 2) for a, b, c, d in boxes]
    values = [np.array(v, dtype=object) for v in columns.values()]
    wkb = np.array([shapely.to_wkb(s) for s in shapes], dtype=object)
    pyogrio.raw.write(
        path, wkb, values, list(columns), driver="GPKG", geometry_type="Polygon", crs="EPSG:32631", layer="houses"
    )
    return str(path)


def run(wired: Wired, *paths: str, **options: Any) -> Report:
    project = wired.store.project(7)
    return load(wired, project, paths, Options(**{"label": "House", **options}), lambda text: None)


def test_loaded_regions_are_what_is_published_and_answered(house: House, wired: Wired, studio: Studio) -> None:
    path = write(house.folder / "h.gpkg", [(10, 10, 30, 30), (50, 10, 80, 30)])  # the second on two tiles
    report = run(wired, path)
    (file,) = report.files
    assert (report.tiles, report.failed, file.counts.placed, file.counts.regions, file.replaced) == (16, [], 2, 3, 0)
    assert [(j.kind, j.project) for j in wired.jobs.jobs(7)] == [("refresh", 7)]
    refresh(wired.loop, 7, lambda done, text: None)
    ((window, predictions),) = studio.published
    assert window.model == UNTRAINED_VERSION
    shown = {t: p.regions for t, p in predictions.items() if p.regions}
    assert sorted(shown) == [1, 2]
    assert {len(r) for r in shown.values()} == {1, 2}
    uids = [r.uid for regions in shown.values() for r in regions]
    originals = wired.store.originals(7, uids)
    assert sorted(o.source for o in originals.values()) == ["h.gpkg:houses/1", "h.gpkg:houses/2", "h.gpkg:houses/2"]
    project = wired.store.project(7)
    answers = answer(wired.loop, project, UNTRAINED_VERSION, studio.tasks(project))
    assert [a.regions for a in answers[:2] if isinstance(a, Prediction)] == [shown[1], shown[2]]
    assert all(isinstance(a, Prediction) and a.regions == () for a in answers[2:])


async def test_the_http_contract_carries_them(house: House, wired: Wired) -> None:
    run(wired, write(house.folder / "h.gpkg", [(10, 12, 30, 30)]))
    async with replace(house, wired=wired).client() as client:
        body = {"tasks": house.tile_tasks(2), "project": "7.1", "label_config": "", "params": {}}
        first, second = (await client.post("/predict", json=body)).json()["results"]
    assert second["result"] == []
    (item,) = first["result"]
    regions = wired.store.loaded(7, [1])[1].regions
    assert (item["id"], item["origin"], item["type"]) == (regions[0].uid, "prediction", "polygonlabels")
    assert item["value"]["polygonlabels"] == ["House"]
    points = np.array(item["value"]["points"])
    assert np.allclose(sorted(points.tolist()), np.array(sorted([[10, 12], [30, 12], [10, 30], [30, 30]])) / 0.64)
    assert first["model_version"] == str(UNTRAINED_VERSION)


def test_loading_again_replaces_and_says_so(house: House, wired: Wired) -> None:
    path = write(house.folder / "h.gpkg", [(10, 10, 30, 30), (50, 10, 80, 30)])
    run(wired, path)
    before = wired.store.loaded(7, range(1, 17))
    (file,) = run(wired, path).files
    after = wired.store.loaded(7, range(1, 17))
    assert file.replaced == 3
    assert {t: p.regions for t, p in after.items()} == {t: p.regions for t, p in before.items()}
    Path(path).unlink()
    write(Path(path), [(200, 200, 220, 220)])
    (file,) = run(wired, path).files
    assert file.replaced == 3
    assert "  3 regions of an earlier load of this file were replaced" in sentences(file)
    assert list(wired.store.loaded(7, range(1, 17))) == [16]


def test_files_of_one_name_in_two_folders_are_two_files(house: House, wired: Wired) -> None:
    for name in ("a", "b"):
        (house.folder / name).mkdir()
        run(wired, write(house.folder / name / "h.gpkg", [(10, 10, 30, 30)]))
    regions = wired.store.loaded(7, [1])[1].regions
    assert len({r.uid for r in regions}) == 2


def test_a_label_that_the_config_lost_is_not_shown(house: House, wired: Wired, studio: Studio) -> None:
    """Label Studio would drop the whole prediction, and with it the window."""
    path = write(house.folder / "h.gpkg", [(10, 10, 30, 30), (100, 10, 120, 30)], kind=["House", "Shed"])
    run(wired, path, label=None, label_column="kind")
    fewer = replace(CONFIG, labels=("House",), controls=(replace(CONTROLS[0], labels=("House",)),))
    project = replace(wired.store.project(7), config=fewer)
    answers = answer(wired.loop, project, UNTRAINED_VERSION, studio.tasks(project))
    assert [len(a.regions) for a in answers if isinstance(a, Prediction)][:2] == [1, 0]


def test_a_window_made_later_shows_them_too(house: House, wired: Wired, studio: Studio) -> None:
    run(wired, write(house.folder / "h.gpkg", [(10, 10, 30, 30)]))
    refresh(wired.loop, 7, lambda done, text: None)
    publish(wired.loop, wired.store.project(7))
    one, two = studio.published
    assert two[0].number == one[0].number + 1
    assert one[1][1].regions == two[1][1].regions != ()


def test_one_bad_file_does_not_spoil_the_others(house: House, wired: Wired, tmp_path: Path) -> None:
    good = write(house.folder / "h.gpkg", [(10, 10, 30, 30)])
    outside = write(tmp_path / "outside.gpkg", [(10, 10, 30, 30)])
    (house.folder / "link.gpkg").symlink_to(outside)
    (house.folder / "text.gpkg").write_text("not a database")
    bad = [
        outside,
        str(house.folder / "link.gpkg"),
        str(house.folder / "text.gpkg"),
        "/vsicurl/http://127.0.0.1/a.gpkg",
    ]
    report = run(wired, *bad, good)
    assert [f.file for f in report.files] == ["h.gpkg:houses"]
    assert len(report.failed) == 4
    reasons = ["GROUNDLOOK_ROOTS", "GROUNDLOOK_ROOTS", "is not a GPKG", "virtual paths are not taken"]
    for line, says in zip(report.failed, reasons, strict=True):
        assert says in line
        assert "\n" not in line
    assert wired.jobs.jobs(7) != []


def test_a_project_that_is_not_connected_yet_keeps_what_was_loaded(house: House, wired: Wired) -> None:
    other = replace(house.project, id=9)
    report = load(
        wired, other, [write(house.folder / "h.gpkg", [(10, 10, 30, 30)])], Options("House"), lambda text: None
    )
    assert (report.connected, report.files[0].counts.regions) == (False, 1)
    assert wired.jobs.jobs(9) == [], "the worker would not know the project"
    assert list(wired.store.loaded(9, [1, 2])) == [1]


def test_nothing_is_asked_of_the_worker_when_nothing_was_loaded(wired: Wired) -> None:
    report = run(wired, "/nowhere/a.gpkg")
    assert (report.files, len(report.failed)) == ([], 1)
    assert wired.jobs.jobs(7) == []


def test_what_can_never_work_is_one_line(house: House, wired: Wired, studio: Studio) -> None:
    path = write(house.folder / "h.gpkg", [(10, 10, 30, 30)])
    with pytest.raises(InvalidInput, match="'Barn' is not in the project's config"):
        run(wired, path, label="Barn")
    studio.bodies = [{"id": 1, "data": {"image": "http://x/photo.jpg"}}]
    with pytest.raises(InvalidInput, match="no georeferenced task; run: groundlook ingest"):
        run(wired, path)


def test_the_config_of_now_counts(house: House, wired: Wired, studio: Studio) -> None:
    """The store may not know yet that an admin added a label."""
    studio.config = replace(CONFIG, controls=(replace(CONTROLS[0], labels=("House", "Shed", "Barn")),))
    (file,) = run(wired, write(house.folder / "h.gpkg", [(10, 10, 30, 30)]), label="Barn").files
    assert file.counts.regions == 1


def test_every_count_is_a_sentence(house: House, wired: Wired) -> None:
    kinds = ["House", "barn", "barn", "barn", "kiosk"]
    boxes = [(10 + 40 * i, 10, 30 + 40 * i, 30) for i in range(5)]
    (file,) = run(wired, write(house.folder / "h.gpkg", boxes, kind=kinds), label=None, label_column="kind").files
    assert sentences(file) == [
        "h.gpkg:houses: 5 of 5 features read, 1 placed as 1 regions on 1 tasks, 0 outside all tiles",
        "  3 features with 'barn', which is no label of the project: see --map",
        "  1 features with 'kiosk', which is no label of the project: see --map",
    ]
    body = file.data()
    assert (body["tasks"], body["no_label"]) == (1, {"barn": 3, "kiosk": 1})
    file.counts.lines, file.counts.holes_dropped, file.unreached = 2, 4, ["EPSG:32632"]
    text = "\n".join(sentences(file))
    assert "2 lines not placed, because nothing labels lines: buffer them" in text
    assert "4 regions without the holes" in text
    assert "nothing leads to the tiles in EPSG:32632" in text


def test_ids_differ_by_all_that_makes_a_region() -> None:
    base: tuple[Any, ...] = (7, 1, "/data/h.gpkg:houses", 12, None, 0, b"wkb")
    others = [(8, 1), (7, 2), (7, 1, "/data/h.gpkg:sheds"), (*base[:3], 13), (*base[:4], 0), (*base[:5], 1)]
    others.append((*base[:6], b"x"))
    uids = {region_uid(*base), *(region_uid(*(*o, *base[len(o) :])) for o in others)}
    assert len(uids) == 8
    assert region_uid(*base) == region_uid(*base)
