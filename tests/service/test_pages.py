"""The pages for people: /scenes."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import unescape

import httpx
import pytest
from fastapi import FastAPI

from groundlook.core.errors import GroundlookError, LabelStudioError, NotFound
from groundlook.core.geometry import Box
from groundlook.core.tiling import grid
from groundlook.core.types import (
    UNTRAINED_VERSION,
    Annotation,
    Project,
    ProjectState,
    RankedTask,
    Region,
    SceneRow,
    Task,
    Window,
)
from groundlook.service.pages.drawing import draw
from groundlook.service.pages.router import SCENES_PER_PAGE, pages_router
from groundlook.service.pages.view import STATES, ProjectLink, ProjectView, SceneView, TileView
from groundlook.service.wiring import decode_task
from groundlook.service.wiring.scenes import SceneBoard, task_states
from groundlook_adapters.rasters.signing import tile_path
from tests.service.conftest import House

STUDIO = "http://labelstudio.example.org"


@dataclass
class Fake:
    """A board with what a test puts in it."""

    view: ProjectView | None = None
    error: GroundlookError | None = None

    def projects(self) -> list[ProjectLink]:
        return [ProjectLink(7, "Roofs <script>alert(1)</script>", STUDIO)] if self.view else []

    def project(self, project_id: int) -> ProjectView:
        if self.error is not None:
            raise self.error
        if self.view is None or project_id != self.view.id:
            raise NotFound(f"project {project_id} is not connected")
        return self.view


def get(board: Fake, path: str, login: tuple[str, str] | None = None, given: tuple[str, str] | None = None):  # type: ignore[no-untyped-def]
    app = FastAPI()
    app.include_router(pages_router(board, login))
    return ask(app, path, given)


def ask(app: FastAPI, path: str, given: tuple[str, str] | None = None) -> httpx.Response:
    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://groundlook") as client:
            return await client.get(path, auth=given)

    return asyncio.run(run())


def scene(name: str = "a.tif", tiles: int = 5) -> SceneView:
    side = 100 * tiles
    shown = (TileView(i + 1, (i * 100, 0, 100, 100), STATES[i % 5], "val" if i == 1 else "train") for i in range(tiles))
    return SceneView("abc", name, side, 100, tuple(shown), "EPSG:32631", 0.25, "2026-05-01T10:00:00", "scenes/abc/q")


def project(*scenes: SceneView) -> ProjectView:
    return ProjectView(7, "Roofs <b>", STUDIO, scenes, 3)


def test_a_project_shows_each_tile_with_its_state_and_a_link() -> None:
    answer = get(Fake(project(scene())), "/scenes?project=7")
    assert answer.status_code == 200
    text = unescape(answer.text)
    for words in (
        "task 1: labelled", "task 2: reviewed empty, held out", "task 3: skipped", "task 4: next in the queue",
        "task 5: waiting", "500 × 100 px", "EPSG:32631", "25 cm", "2026-05-01T10:00:00", "2 reviewed (40 %)",
        "3 more tasks show no scene of ours", "scenes/abc/q", f"{STUDIO}/projects/7/data?task=4",
    ):  # fmt: skip
        assert words in text, words
    assert answer.text.count("<a href") >= 6


def test_text_of_strangers_is_text() -> None:
    view = project(scene('"><script>alert(2)</script>.tif'))
    for path in ("/scenes", "/scenes?project=7", "/scenes?project=<script>"):
        answer = get(Fake(view), path)
        assert "<script" not in answer.text
        assert "<b>" not in re.sub(r"<b>[\d,]+</b>", "", answer.text)


def test_the_policy_allows_our_style_and_pictures_and_nothing_else() -> None:
    answer = get(Fake(project(scene())), "/scenes?project=7")
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    style = re.search(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy["default-src"] == "'none'"
    assert policy["img-src"] == "'self'"
    assert policy["style-src"] == f"'sha256-{digest}'"
    assert "script-src" not in policy
    assert " style=" not in answer.text


def test_the_login_is_asked_for() -> None:
    board = Fake(project(scene()))
    refused = get(board, "/scenes?project=7", ("ann", "secret"))
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Basic")
    assert get(board, "/scenes", ("ann", "secret"), ("ann", "wrong")).status_code == 401
    assert get(board, "/scenes", ("ann", "secret"), ("ann", "secret")).status_code == 200


@pytest.mark.parametrize(
    ("error", "status"),
    [(LabelStudioError("Label Studio does not answer; is it running?"), 502), (NotFound("project 7 is unknown"), 404)],
)
def test_what_is_wrong_is_said_in_a_sentence(error: GroundlookError, status: int) -> None:
    answer = get(Fake(project(), error), "/scenes?project=7")
    assert answer.status_code == status
    assert str(error) in unescape(answer.text)
    assert answer.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize("number", ["x", "", "-1", "1e3", "٣", "9" * 30])
def test_a_project_that_is_no_number(number: str) -> None:
    answer = get(Fake(project()), f"/scenes?project={number}")
    assert answer.status_code == 404
    assert "is not a number" in answer.text


def test_nothing_connected_and_nothing_ingested_say_what_to_do() -> None:
    assert "groundlook connect" in get(Fake(), "/scenes").text
    assert "groundlook ingest" in get(Fake(project()), "/scenes?project=7").text


def test_many_scenes_come_in_pages() -> None:
    board = Fake(project(*(scene(f"s{i:03}.tif") for i in range(SCENES_PER_PAGE + 2))))
    first, second = get(board, "/scenes?project=7"), get(board, "/scenes?project=7&page=2")
    assert first.text.count("<article>") == SCENES_PER_PAGE
    assert second.text.count("<article>") == 2
    assert "page 1 of 2" in first.text
    assert "page=2" in first.text
    assert "page 2 of 2" in get(board, "/scenes?project=7&page=99999999").text
    assert "page 1 of 2" in get(board, "/scenes?project=7&page=x").text


def test_very_many_tiles_are_one_path_per_state() -> None:
    tiles = tuple(TileView(i, window, STATES[i % 5], "train") for i, window in enumerate(grid(8_000, 8_000, 100, 0)))
    answer = get(Fake(project(SceneView("abc", "a.tif", 8_000, 8_000, tiles))), "/scenes?project=7")
    assert answer.text.count('<path class="tile') == 5
    assert len(answer.text) < 400_000
    assert "1,280 labelled" in answer.text


def test_overlapping_tiles_are_drawn_side_by_side() -> None:
    windows = list(grid(1000, 700, 256, 64))
    tiles = tuple(TileView(i, w, "waiting", "train") for i, w in enumerate(windows))
    boxes = [box for _, box in draw(SceneView("a", "a", 1000, 700, tiles)).linked]
    for i, (x, y, w, h) in enumerate(boxes):
        column, row, width, height = windows[i]
        assert column <= x < x + w <= column + width
        assert row <= y < y + h <= row + height
        for x2, y2, w2, h2 in boxes[:i]:
            assert x + w <= x2 or x2 + w2 <= x or y + h <= y2 or y2 + h2 <= y
    assert sum(w * h for _, _, w, h in boxes) > 0.9 * 1000 * 700


def answered(task: int, regions: int = 0, skipped: bool = False) -> Annotation:
    return Annotation(1, task, (Region(Box(0, 0, 1, 1), "House"),) * regions, skipped=skipped)


def test_what_people_drew_counts_for_more_than_a_skip() -> None:
    assert task_states([answered(1), answered(2, 3), answered(3, skipped=True)]) == {
        1: "empty", 2: "labelled", 3: "skipped",
    }  # fmt: skip
    assert task_states([answered(1, 2), answered(1, skipped=True)]) == {1: "labelled"}
    assert task_states([answered(1, skipped=True), answered(1)]) == {1: "empty"}


@dataclass
class Studio:
    """Label Studio, as the port says."""

    held: Sequence[Task]
    said: Sequence[Annotation] = field(default_factory=list)

    def tasks(self, project: Project) -> list[Task]:
        return list(self.held)

    def annotations(self, project: Project) -> list[Annotation]:
        return list(self.said)

    def state(self, project: Project) -> ProjectState:
        pytest.fail("the page needs tasks and annotations only")


def test_the_board_says_what_label_studio_and_the_queue_hold(house: House) -> None:
    tasks = [decode_task(body, house.project) for body in house.tile_tasks(16)]
    tile = tasks[0].tile
    assert tile is not None
    store = house.wired.store
    row = SceneRow(tile.scene_id, tile.source, tile.etag, tile.render, 256, 256)
    queue = tuple(RankedTask(i, i, 0.5, "") for i in (1, 2, 9))
    store.add_window(7, Window(1, UNTRAINED_VERSION, queue))
    studio = Studio([*tasks, Task(99, "http://x/i.jpg")], [answered(1, 1), answered(5), answered(6, skipped=True)])
    board = SceneBoard(studio, store, house.wired.key)
    (seen,) = board.project(7).scenes
    assert seen.quicklook == ""
    assert "ingest it here" in seen.note
    store.put_scene(row)
    view = board.project(7)
    (seen,) = view.scenes
    assert view.foreign == 1
    assert dict(view.counts.states) == {"labelled": 1, "empty": 1, "skipped": 1, "next": 2, "waiting": 11}
    assert (seen.name, seen.width, seen.height, seen.crs) == ("scene.tif", 256, 256, "EPSG:32631")
    assert seen.gsd == pytest.approx(0.5, rel=1e-3)
    assert {t.task_id for t in seen.tiles if t.state == "next"} == {2, 9}

    async def picture() -> httpx.Response:
        async with house.client() as client:
            return await client.get("/" + seen.quicklook)

    answer = asyncio.run(picture())
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")


def test_the_service_has_the_page_and_says_when_label_studio_does_not(house: House) -> None:
    async def run() -> tuple[httpx.Response, httpx.Response]:
        async with house.client() as client:
            return await client.get("/scenes"), await client.get("/scenes?project=7")

    listed, failed = asyncio.run(run())
    assert listed.status_code == 200
    assert "scenes?project=7" in listed.text
    assert failed.status_code in (404, 502)  # the stand-in knows none of Label Studio's routes
    assert 'role="alert"' in failed.text


def test_a_tile_of_a_replaced_file_is_refused_naming_both_etags(house: House) -> None:
    task = decode_task(house.tile_tasks(1)[0], house.project)
    assert task.tile is not None
    tile = task.tile
    house.wired.store.put_scene(SceneRow(tile.scene_id, tile.source, tile.etag, tile.render, 256, 256))
    path = house.folder / "scene.tif"
    path.write_bytes(path.read_bytes() + b"\0")

    async def run() -> httpx.Response:
        async with house.client() as client:
            return await client.get(tile_path(house.wired.key, tile.scene_id, tile.window))

    answer = asyncio.run(run())
    assert answer.status_code == 422
    assert tile.etag in answer.json()["error"]
    with pytest.raises(GroundlookError, match=re.escape(tile.etag)):
        house.wired.images.read(house.project, task)
