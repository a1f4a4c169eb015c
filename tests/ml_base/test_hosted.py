"""Our service behind label-studio-ml 1.0.9: `init` and its server, as a team runs them, called as Label Studio does."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import uvicorn

import groundlook_adapters.labelstudio.ml_base as ml_base
from groundlook.core.geometry import Box
from groundlook.core.types import UNTRAINED_VERSION, Prediction, RankedTask, Region, Score, Window
from groundlook.service.wiring import web_app
from tests.service.conftest import XML, House
from tests.waiting import until

LOGIN = ("team", "p@ss:word")
SCRIPT = Path(ml_base.__file__).with_name("groundlook_model.py")
PROJECT = "7.1795166970"


@pytest.fixture
def service(house: House) -> Iterator[str]:
    """Ours, with a login, over a socket."""
    wired = replace(house.wired, settings=replace(house.wired.settings, user=LOGIN[0], password=LOGIN[1]))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(web_app(wired), log_config=None))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join()


@pytest.fixture
def hosted(service: str, their_python: Path, tmp_path: Path) -> Iterator[Callable[..., httpx.Client]]:
    """Start label-studio-ml over the service, with further variables."""
    started: list[tuple[subprocess.Popen[bytes], httpx.Client]] = []

    def start(**more: str) -> httpx.Client:
        folder = tmp_path / f"backend{len(started)}"
        command = [str(their_python.with_name("label-studio-ml")), "init", str(folder), "--script", str(SCRIPT)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        given = {"GROUNDLOOK_URL": service, "GROUNDLOOK_USER": LOGIN[0], "GROUNDLOOK_PASSWORD": LOGIN[1], **more}
        # What `label-studio-ml start` runs, without the shell between.
        command = [str(their_python), str(folder / "_wsgi.py"), "--host", "127.0.0.1", "--port", str(port)]
        with (tmp_path / "said.txt").open("ab") as said:
            running = subprocess.Popen(command, env={**os.environ, **given}, stdout=said, stderr=said)
        client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False)
        started.append((running, client))
        until(lambda: answers(client))
        return client

    yield start
    for running, client in started:
        client.close()
        running.terminate()
        running.wait(10)


@pytest.fixture
def window(house: House) -> str:
    """Tasks 1 and 2 are the window, predicted; its version."""
    store = house.wired.store
    region = Region(Box(3, 4, 20, 10), "House", 0.7, origin="prediction")
    rows = {i: (Prediction(UNTRAINED_VERSION, (region,), size=(64, 64)), Score(0.5)) for i in (1, 2)}
    store.put_predictions(7, UNTRAINED_VERSION, rows)
    served = Window(1, UNTRAINED_VERSION, tuple(RankedTask(i, i - 1, 0.5, "test") for i in (1, 2)))
    store.add_window(7, served)
    return served.version


def test_health_setup_and_predict_answer_what_the_service_answers(
    house: House, service: str, hosted: Callable[..., httpx.Client], window: str
) -> None:
    client, ours = hosted(), httpx.Client(base_url=service, auth=LOGIN, trust_env=False)
    with ours:
        assert client.get("/health").json()["status"] == "UP"
        setup = {"project": PROJECT, "schema": XML, "hostname": "http://ls", "access_token": "t", "extra_params": None}
        body = {
            "tasks": house.tile_tasks(3),
            "project": PROJECT,
            "label_config": XML,
            "params": {"login": None, "password": None, "context": None},
        }
        for _ in range(2):  # Label Studio does both before every task
            version = client.post("/setup", json=setup).json()
            assert version == ours.post("/setup", json=setup).json() == {"model_version": window}
            found = client.post("/predict", json=body).json()
            assert found == ours.post("/predict", json=body).json()
            assert found["model_version"] == window
            assert [len(r["result"]) for r in found["results"]][:2] == [1, 1]
            assert {r["model_version"] for r in found["results"]} == {window}


def test_a_new_window_is_announced_and_an_event_arrives(
    house: House, hosted: Callable[..., httpx.Client], window: str
) -> None:
    client = hosted()
    setup = {"project": PROJECT, "schema": XML}
    assert client.post("/setup", json=setup).json()["model_version"] == window
    house.wired.store.add_window(7, Window(2, UNTRAINED_VERSION, (RankedTask(3, 0, 0.5, "test"),)))
    assert client.post("/setup", json=setup).json()["model_version"] == f"{UNTRAINED_VERSION}+w2"
    event = {"action": "START_TRAINING", "project": {"id": 7}}  # which label-studio-ml itself passes over
    assert client.post("/webhook", json=event).status_code == 201
    until(lambda: any(j.kind == "learn" for j in house.wired.jobs.jobs(7)))


def test_what_the_service_refuses_is_told(house: House, hosted: Callable[..., httpx.Client], window: str) -> None:
    setup = {"project": PROJECT, "schema": XML}
    for more, said in (
        ({"GROUNDLOOK_PASSWORD": "wrong"}, "401"),
        ({"GROUNDLOOK_URL": "http://127.0.0.1:1"}, "set GROUNDLOOK_URL"),
    ):
        reply = hosted(**more).post("/setup", json=setup)
        assert reply.status_code == 500
        assert said in reply.json()["detail"]
    reply = hosted().post("/setup", json={**setup, "project": "8.1"})
    assert "groundlook connect" in reply.json()["detail"]


def test_the_file_is_whole_without_us() -> None:
    """It is copied to where nothing of ours is installed."""
    assert "import groundlook" not in SCRIPT.read_text()
    assert "from groundlook" not in SCRIPT.read_text()


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/health").status_code == 200
    except httpx.HTTPError:
        return False
