"""The login that Label Studio's calls need, whatever its letters."""

from __future__ import annotations

import base64
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import requests
import uvicorn

from groundlook.service.wiring import web_app, wire
from tests.service.conftest import House
from tests.service.test_contract import setup_body

EVENT: dict[str, Any] = {"action": "NEWS", "project": {"id": 7}}


@contextmanager
def guarded(house: House, user: str, password: str) -> Iterator[str]:
    """Ours with a login, over a socket."""
    wired = wire(replace(house.wired.settings, user=user, password=password))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(web_app(wired), log_config=None))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
            wired.close()


def test_a_login_is_asked_for_when_there_is_one(house: House) -> None:
    with guarded(house, "ls", "pa:ss") as url, requests.Session() as client:
        assert client.get(f"{url}/health").status_code == 200
        for auth in (None, ("ls", "wrong"), ("other", "pa:ss"), ("", "")):
            answer = client.post(f"{url}/setup", json=setup_body(), auth=auth)
            assert answer.status_code == 401
            assert "login" in answer.json()["error"]
        for header in ("Basic", "Basic !", "Basic w7w6=", "Basic " + "QQ" * 9, "Bearer bHM6cGE6c3M=", "basic\tbHM6"):
            answer = client.post(f"{url}/webhook", json=EVENT, headers={"Authorization": header})
            assert answer.status_code == 401
        assert client.post(f"{url}/setup", json=setup_body(), auth=("ls", "pa:ss")).status_code == 200


def test_any_letters_are_taken_as_label_studio_writes_them(house: House) -> None:
    """It asks for predictions through `requests`, which writes Latin-1, and sends events with the header that we gave
    it, which is UTF-8."""
    user, password = "Jürg", "Zürich:é"
    with guarded(house, user, password) as url, requests.Session() as client:
        assert client.post(f"{url}/setup", json=setup_body(), auth=(user, password)).status_code == 200
        assert client.post(f"{url}/setup", json=setup_body(), auth=(user, "Zürich:è")).status_code == 401
        assert client.post(f"{url}/webhook", json=EVENT, headers=written(user, password, "utf-8")).status_code == 200
        assert client.post(f"{url}/webhook", json=EVENT, headers=written(user, password, "cp437")).status_code == 401


def test_letters_that_latin_1_lacks_are_taken_in_utf_8(house: House) -> None:
    with guarded(house, "ls", "пароль €") as url, requests.Session() as client:
        for encoding, status in (("utf-8", 200), ("cp1251", 401)):
            headers = written("ls", "пароль €", encoding)
            assert client.post(f"{url}/webhook", json=EVENT, headers=headers).status_code == status


def written(user: str, password: str, encoding: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode(encoding)).decode()}


def test_a_variable_that_is_not_utf_8_is_taken_byte_for_byte(house: House) -> None:
    with guarded(house, "ls", "b\udcfcro") as url, requests.Session() as client:
        answer = client.post(f"{url}/webhook", json=EVENT, headers=written("ls", "büro", "latin-1"))
        assert answer.status_code == 200
