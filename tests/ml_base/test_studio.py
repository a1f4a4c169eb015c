"""A real Label Studio that is connected to label-studio-ml 1.0.9, which asks our service."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from groundlook.core.geometry import Box
from groundlook.core.types import UNTRAINED_VERSION, Prediction, RankedTask, Region, Score, Window
from groundlook.demo.studio import Studio
from tests.ml_base.test_hosted import hosted, service
from tests.service.conftest import XML, House

__all__ = ["hosted", "service"]


@pytest.mark.e2e
def test_a_task_that_has_our_prediction_is_not_predicted_again(
    house: House, hosted: Callable[..., httpx.Client], tmp_path: Path
) -> None:
    """1.0.9 by itself announces another version than the predictions carry, and each look would add one."""
    with (
        Studio(tmp_path / "studio") as studio,
        httpx.Client(base_url=studio.url, headers={"Authorization": f"Token {studio.token}"}, trust_env=False) as api,
    ):
        rows = [{"data": task["data"]} for task in house.tile_tasks(2)]
        project = made(api, "/api/projects/", {"title": "hosted", "label_config": XML})["id"]
        made(api, f"/api/projects/{project}/import", rows)
        tasks = [t["id"] for t in api.get("/api/tasks", params={"project": project}).json()["tasks"]]
        version = known(house, project, studio, tasks)
        backend = str(hosted().base_url)
        connected = made(api, "/api/ml", {"project": project, "url": backend, "title": "old"})
        assert (connected["state"], connected["model_version"]) == ("CO", version)
        asked = {"id": "retrieve_tasks_predictions", "project": project}
        for _ in range(3):  # "Retrieve predictions" of the Data Manager; what every serve does, too
            found = api.post("/api/dm/actions", params=asked, json={"selectedItems": {"all": True, "excluded": []}})
            assert found.status_code == 200, found.text
        for task in tasks:
            shown = api.get(f"/api/tasks/{task}", params={"project": project}).json()["predictions"]
            assert [(p["model_version"], len(p["result"])) for p in shown] == [(version, 1)]


def known(house: House, project: int, studio: Studio, tasks: list[int]) -> str:
    """The service knows the project, and has a window of `tasks`; its version."""
    store = house.wired.store
    store.put_project(replace(house.project, id=project, url=studio.url, token=studio.token))
    region = Region(Box(3, 4, 20, 10), "House", 0.7, origin="prediction")
    rows = {i: (Prediction(UNTRAINED_VERSION, (region,), size=(64, 64)), Score(0.5)) for i in tasks}
    store.put_predictions(project, UNTRAINED_VERSION, rows)
    places = (RankedTask(task, place, 0.5, "test") for place, task in enumerate(tasks))
    window = Window(1, UNTRAINED_VERSION, tuple(places))
    store.add_window(project, window)
    return window.version


def made(api: httpx.Client, path: str, body: Any) -> dict[str, Any]:
    reply = api.post(path, json=body, timeout=60)
    assert reply.status_code == 201, reply.text
    found: dict[str, Any] = reply.json()
    return found
