"""The routes of Label Studio: answers, and every kind of bad input."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from groundlook.core.types import UNTRAINED_VERSION, Project, RankedTask, Window
from groundlook.service.wiring import wire

from .conftest import XML, House

pytestmark = pytest.mark.anyio
PROJECT = "7.1795166970"


def setup_body() -> dict[str, Any]:
    return {"project": PROJECT, "schema": XML, "hostname": "http://h", "access_token": "x", "extra_params": None}


async def predict(client: httpx.AsyncClient, tasks: Any, project: str = PROJECT) -> httpx.Response:
    params = {"login": None, "password": None, "context": None}
    return await client.post(
        "/predict", json={"tasks": tasks, "project": project, "label_config": XML, "params": params}
    )


async def test_health_and_versions(house: House) -> None:
    async with house.client() as client:
        assert (await client.get("/health")).json()["status"] == "UP"
        body = (await client.request("GET", "/versions", json={"project": PROJECT})).json()
        assert body == {"versions": [str(UNTRAINED_VERSION)]}
        assert (await client.get("/versions")).json() == body


@pytest.mark.parametrize("count", [1, 30, 500])
async def test_as_many_results_as_tasks_of_the_version_that_setup_announced(house: House, count: int) -> None:
    async with house.client() as client:
        version = (await client.post("/setup", json=setup_body())).json()["model_version"]
        answer = await predict(client, house.tile_tasks(count))
    results = answer.json()["results"]
    assert len(results) == count
    assert {r["model_version"] for r in results} == {version}
    assert all(r["result"] == [] and r["score"] == 1.0 for r in results)


async def test_the_score_is_the_place_in_the_queue(house: House) -> None:
    tasks = (RankedTask(2, 0, 0.9, "a"), RankedTask(1, 1, 0.5, "b"))
    window = Window(4, UNTRAINED_VERSION, tasks, time.time())
    house.wired.store.add_window(7, window)
    async with house.client() as client:
        assert (await client.post("/setup", json=setup_body())).json()["model_version"] == window.version
        results = (await predict(client, house.tile_tasks(3))).json()["results"]
    assert [(r["score"], r["model_version"]) for r in results] == [(s, window.version) for s in (0.5, 0.0, 1.0)]


async def test_one_task_that_cannot_be_read_does_not_spoil_the_others(house: House) -> None:
    good, bad = house.tile_tasks(2), house.image_task(f"{house.host}/missing.png", 99)
    async with house.client() as client:
        body = (await predict(client, [good[0], bad, good[1], "not a task"])).json()
    assert [isinstance(r, dict) for r in body["results"]] == [True, False, True, False]
    assert body["results"][1] == body["results"][3] == [], "Label Studio stores no prediction for it"
    assert [e["task"] for e in body["errors"]] == [99, None]
    assert "answered 404" in body["errors"][0]["error"]


@pytest.mark.parametrize(
    ("image", "status", "says"),
    [
        ("", 422, "no image in its data; put the URL under 'image'"),
        ("HOST/missing.png", 422, "answered 404"),
        ("HOST/empty.png", 422, "has 0 bytes"),
        ("HOST/cut.png", 422, "can't be decoded"),
        ("HOST/text.png", 422, "can't be decoded"),
        ("HOST/away.png", 403, "'127.0.0.1:1' is not allowed"),
        ("http://127.0.0.1:1/a.png", 403, "add it to GROUNDLOOK_IMAGE_HOSTS"),
        ("http://169.254.169.254/latest/meta-data", 403, "'169.254.169.254' is not allowed"),
        ("file:///etc/passwd", 422, "is not an http"),
        ("s3://bucket/key.png", 422, "is not an http"),
    ],
)
async def test_an_image_that_cannot_be_had_is_one_clear_line(house: House, image: str, status: int, says: str) -> None:
    async with house.client() as client:
        answer = await predict(client, [house.image_task(image.replace("HOST", house.host))])
        assert (answer.status_code, list(answer.json())) == (status, ["error"])
        assert says in answer.json()["error"]
        assert (await client.get("/health")).status_code == 200


async def test_a_task_without_data_or_image(house: House) -> None:
    async with house.client() as client:
        assert "has no data" in (await predict(client, [{"id": 3}])).json()["error"]
        assert "has no image" in (await predict(client, [{"id": 3, "data": {"text": "hi"}}])).json()["error"]


async def test_the_token_goes_to_label_studio_only(house: House, tmp_path: Path) -> None:
    name = house.host.removeprefix("http://").replace("127.0.0.1", "localhost")
    settings = replace(house.wired.settings, image_hosts=(name,))
    other = replace(house, wired=wire(settings))
    async with other.client() as client:
        assert (await predict(client, [house.image_task(f"{house.host}/good.png")])).status_code == 200
        assert (await predict(client, [house.image_task(f"http://{name}/good.png")])).status_code == 200
        assert (await predict(client, [house.image_task("/good.png", 2)])).status_code == 200, (
            "relative: Label Studio's"
        )
    assert house.files.asked == [
        ("/good.png", "Token legacy-token"),
        ("/good.png", None),
        ("/good.png", "Token legacy-token"),
    ]
    other.wired.close()


async def test_a_raster_outside_the_roots_is_refused(house: House, tmp_path: Path) -> None:
    task = house.tile_tasks(1)[0]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (house.folder / "scene.tif").rename(elsewhere / "scene.tif")
    (house.folder / "scene.tif").symlink_to(elsewhere / "scene.tif")
    async with house.client() as client:
        answer = await predict(client, [task])
    assert answer.status_code == 403
    assert "GROUNDLOOK_ROOTS" in answer.json()["error"]


async def test_edited_task_data_is_refused(house: House) -> None:
    task = house.tile_tasks(1)[0]
    task["data"]["geo"]["source"]["uri"] = "/etc/passwd"
    async with house.client() as client:
        answer = await predict(client, [task])
    assert answer.status_code == 422
    assert "ingest the scene again" in answer.json()["error"]


@pytest.mark.parametrize("path", ["/setup", "/predict", "/webhook"])
@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"{", 400, "not JSON"),
        (b"", 400, "not JSON"),
        (b"\xff\xfe", 400, "not JSON"),
        (b"[]", 400, "not a JSON object"),
        (b"[" * 100000, 400, "not JSON"),
    ],
)
async def test_malformed_json(house: House, path: str, body: bytes, status: int, says: str) -> None:
    async with house.client() as client:
        answer = await client.post(path, content=body)
    assert (answer.status_code, answer.json().keys()) == (status, {"error"})
    assert says in answer.json()["error"]


async def test_a_body_over_the_limit(house: House) -> None:
    async with house.client() as client:
        declared = await client.post("/predict", content=b"x" * 1_000_001)

        async def stream() -> Any:
            for _ in range(30):
                yield b"x" * 50_000

        chunked = await client.post("/predict", content=stream())
    for answer in (declared, chunked):
        assert answer.status_code == 413
        assert "GROUNDLOOK_MAX_BODY_MB" in answer.json()["error"]


@pytest.mark.parametrize(
    ("project", "status", "says"),
    [("8.17", 404, "project 8 is not connected"), ("abc", 422, "'abc' is not a project"), (None, 422, "'None'")],
)
async def test_an_unknown_project(house: House, project: str | None, status: int, says: str) -> None:
    async with house.client() as client:
        for path, more in (("/setup", {}), ("/predict", {"tasks": []}), ("/webhook", {"action": "TASKS_CREATED"})):
            answer = await client.post(path, json={"project": project, **more})
            assert answer.status_code == status
            assert says in answer.json()["error"]


async def test_setup_says_which_control_is_missing(house: House) -> None:
    async with house.client() as client:
        schema = '<View><Image name="image" value="$image"/></View>'
        answer = await client.post("/setup", json={**setup_body(), "schema": schema})
    assert answer.status_code == 422
    assert "no RectangleLabels" in answer.json()["error"]


async def test_predict_without_tasks(house: House) -> None:
    async with house.client() as client:
        assert (await predict(client, None)).status_code == 422
        assert (await predict(client, [])).json()["results"] == []


def event(action: str, **more: Any) -> dict[str, Any]:
    return {"action": action, "project": {"id": 7, "title": "Test"}, **more}


async def test_events_become_jobs_and_are_answered_at_once(house: House) -> None:
    annotation = {"id": 5, "created_at": "2026-11-20T12:00:00Z", "lead_time": 3.0, "completed_by": 1, "result": []}
    async with house.client() as client:
        for number in range(20):
            body = event("ANNOTATION_CREATED", annotation={**annotation, "id": number}, task={"id": number})
            assert (await client.post("/webhook", json=body)).json() == {"status": "queued"}
        assert len(house.wired.store.served(7)) == 20
        assert [(j.kind, j.state) for j in house.wired.jobs.jobs()] == [("sync", "queued")]
        deleted = event("ANNOTATIONS_DELETED", annotations=[{"id": 3}, {"id": 4}])
        await client.post("/webhook", json=deleted)
        assert len(house.wired.store.served(7)) == 18
        await client.post("/webhook", json=event("START_TRAINING"))
        await client.post("/webhook", json=event("TASKS_CREATED", tasks=[]))
        assert {j.kind for j in house.wired.jobs.jobs()} == {"sync", "learn", "refresh"}


async def test_a_store_that_takes_its_time_keeps_nobody_else_waiting(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a busy disk: other requests go on while an event waits for the store."""
    reading, enough = threading.Event(), threading.Event()
    project = house.wired.loop.store.project

    def slow(number: int) -> Project:
        reading.set()
        assert enough.wait(10)
        return project(number)

    async with house.client() as client, anyio.create_task_group() as group:
        monkeypatch.setattr(house.wired.loop.store, "project", slow)
        group.start_soon(lambda: client.post("/webhook", json=event("TASKS_DELETED")))
        with anyio.fail_after(5):
            while not reading.is_set():
                await anyio.sleep(0.01)
            assert (await client.get("/health")).status_code == 200
        enough.set()
    assert [j.kind for j in house.wired.jobs.jobs()] == ["sync"]


async def test_an_event_that_makes_no_sense_is_survived(house: House) -> None:
    async with house.client() as client:
        for body in (event("ANNOTATION_CREATED"), event("ANNOTATION_CREATED", annotation=[], task=3), event("NEWS")):
            assert (await client.post("/webhook", json=body)).status_code == 200
        assert (await client.post("/webhook", json={"project": 7})).status_code == 422
        assert house.wired.store.served(7) == []


async def test_metrics_are_for_prometheus(house: House) -> None:
    async with house.client() as client:
        await predict(client, house.tile_tasks(2))
        await client.post("/webhook", json=event("TASKS_DELETED"))
        text = (await client.get("/metrics")).text
    assert 'groundlook_serving{project="7",version="untrained@000000000000"} 1.0' in text
    assert 'groundlook_jobs{kind="sync",state="queued"} 1.0' in text
    assert "groundlook_predict_seconds_count" in text


async def test_an_unknown_route_is_json_too(house: House) -> None:
    async with house.client() as client:
        answer = await client.get("/nowhere")
    assert (answer.status_code, answer.json()) == (404, {"error": "Not Found"})
