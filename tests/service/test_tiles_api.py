"""The signed tile endpoint."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from groundlook.core.errors import InvalidRaster, NotFound
from groundlook.core.geo import WindowPx
from groundlook.service.tiles_api import QUICKLOOK, WHOLE, parse_name, tiles_router
from groundlook_adapters.rasters.pictures.cache import PictureCache
from groundlook_adapters.rasters.signing import sign, tile_path, verify

KEY = b"k" * 32
CORS = "access-control-allow-origin"


class Renderer:
    """Remembers its calls, and how many ran at once."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, WindowPx, str]] = []
        self.pause = 0.0
        self.most = 0
        self._running = 0
        self._lock = threading.Lock()

    def __call__(self, scene_id: str, window: WindowPx, fmt: str) -> bytes:
        with self._lock:
            self.calls.append((scene_id, window, fmt))
            self._running += 1
            self.most = max(self.most, self._running)
        time.sleep(self.pause)
        with self._lock:
            self._running -= 1
        if scene_id == "gone":
            raise NotFound("scene gone is unknown; ingest it again")
        if scene_id == "damaged":
            raise InvalidRaster("/a.tif is truncated")
        if scene_id == "bug":
            raise RuntimeError("secret detail")
        return b"picture"


@pytest.fixture
def renderer() -> Renderer:
    return Renderer()


class Client:
    """Requests to the app without a server."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
        return self.send("GET", [path], headers)[0]

    def options(self, path: str, headers: Mapping[str, str]) -> httpx.Response:
        return self.send("OPTIONS", [path], headers)[0]

    def send(self, method: str, paths: Sequence[str], headers: Mapping[str, str] | None = None) -> list[httpx.Response]:
        """All at once."""

        async def run() -> list[httpx.Response]:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://groundlook") as client:
                return await asyncio.gather(*(client.request(method, path, headers=headers) for path in paths))

        return asyncio.run(run())


@pytest.fixture
def client(renderer: Renderer, tmp_path: Path) -> Client:
    return served(renderer, tmp_path)


def served(renderer: Renderer, folder: Path) -> Client:
    """A service just started over the pictures in `folder`."""
    app = FastAPI()
    pictures = PictureCache(folder, 10_000_000)
    app.include_router(tiles_router(renderer, lambda *tile: verify(KEY, *tile), pictures, workers=2))
    return Client(app)


def test_a_signed_tile_is_served_to_any_origin(client: Client, renderer: Renderer) -> None:
    answer = client.get(tile_path(KEY, "abc", (10, 20, 30, 40)), headers={"Origin": "http://labelstudio"})
    assert (answer.status_code, answer.content) == (200, b"picture")
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers[CORS] == "*"
    assert "immutable" in answer.headers["cache-control"]
    assert renderer.calls == [("abc", (10, 20, 30, 40), "jpg")]
    for fmt in ("png", "webp"):
        answer = client.get(tile_path(KEY, "abc", (1, 2, 3, 4), fmt))
        assert answer.headers["content-type"] == f"image/{fmt}"


def test_an_unchanged_tile_is_not_made_again(client: Client, renderer: Renderer) -> None:
    path = tile_path(KEY, "abc", (0, 0, 8, 8))
    tag = client.get(path).headers["etag"]
    for sent in (tag, f"W/{tag}", f'"other", {tag}'):
        answer = client.get(path, headers={"If-None-Match": sent})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == tag
        assert answer.headers[CORS] == "*"
    assert len(renderer.calls) == 1
    assert client.get(path, headers={"If-None-Match": '"other"'}).status_code == 200
    assert client.get(tile_path(KEY, "abc", (0, 0, 8, 9))).headers["etag"] != tag


def test_a_changed_url_is_refused(client: Client, renderer: Renderer) -> None:
    good = tile_path(KEY, "abc", (0, 0, 8, 8))
    bad = [
        good.replace("abc", "abd"),
        good.replace("0_0_8_8", "0_0_8_9"),
        good.replace(".jpg", ".png"),
        good[:-1] + ("A" if good[-1] != "A" else "B"),
        good.split("?")[0],
        good.split("=")[0] + "=é",
        tile_path(b"x" * 32, "abc", (0, 0, 8, 8)),
    ]
    tag = client.get(good).headers["etag"]
    for path in bad:
        answer = client.get(path, headers={"If-None-Match": tag})
        assert answer.status_code == 403
        assert "signed" in answer.json()["error"]
        assert answer.headers[CORS] == "*"
        assert answer.headers["cache-control"] == "no-store"
    assert len(renderer.calls) == 1


@pytest.mark.parametrize(("scene", "status"), [("gone", 404), ("damaged", 422), ("bug", 500)])
def test_errors_are_json_without_details(client: Client, scene: str, status: int) -> None:
    answer = client.get(tile_path(KEY, scene, (0, 0, 8, 8)))
    assert answer.status_code == status
    assert "secret" not in answer.text
    assert set(answer.json()) == {"error"}
    assert answer.headers[CORS] == "*"


def test_preflight(client: Client, renderer: Renderer) -> None:
    headers = {"Origin": "http://labelstudio", "Access-Control-Request-Method": "GET"}
    answer = client.options(tile_path(KEY, "abc", (0, 0, 8, 8)), headers=headers)
    assert answer.status_code == 204
    assert answer.headers[CORS] == "*"
    assert "GET" in answer.headers["access-control-allow-methods"]
    assert renderer.calls == []


@pytest.mark.parametrize(
    "name", ["1_2_3.jpg", "1_2_3_4.gif", "1_2_0_4.jpg", "-1_2_3_4.jpg", "1_2_3_4.jpg.png", "१_2_3_4.jpg"]
)
def test_other_names_are_no_tiles(client: Client, name: str) -> None:
    assert parse_name(name) is None
    answer = client.get(f"/tiles/abc/{name}")
    assert answer.status_code == 404
    assert "is not a tile" in answer.json()["error"]


def test_only_so_many_pictures_at_a_time(client: Client, renderer: Renderer) -> None:
    renderer.pause = 0.05
    paths = [tile_path(KEY, "abc", (i, 0, 8, 8)) for i in range(8)]
    answers = client.send("GET", paths)
    assert [a.status_code for a in answers] == [200] * 8
    assert renderer.most == 2


def test_a_kept_tile_is_not_made_again_and_waits_for_none_that_is_made(renderer: Renderer, tmp_path: Path) -> None:
    kept = tile_path(KEY, "abc", (0, 0, 8, 8))
    first = served(renderer, tmp_path)
    assert first.get(kept).content == b"picture"
    again = served(renderer, tmp_path)  # a restart: the picture comes from disk, then from memory
    renderer.pause = 1.0
    slow = [tile_path(KEY, "abc", (i, 0, 9, 9)) for i in range(4)]
    took: list[float] = []

    async def run() -> None:
        transport = httpx.ASGITransport(again.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://groundlook") as client:
            busy = [asyncio.create_task(client.get(path)) for path in slow]
            await asyncio.sleep(0.2)
            for _ in range(2):
                start = time.monotonic()
                assert (await client.get(kept)).content == b"picture"
                took.append(time.monotonic() - start)
            assert not any(task.done() for task in busy)
            await asyncio.gather(*busy)

    asyncio.run(run())
    assert max(took) < 0.5
    assert [c[1] for c in renderer.calls].count((0, 0, 8, 8)) == 1


def test_one_tile_that_many_ask_for_is_made_once(client: Client, renderer: Renderer) -> None:
    renderer.pause = 0.1
    answers = client.send("GET", [tile_path(KEY, "abc", (0, 0, 8, 8))] * 6)
    assert [a.content for a in answers] == [b"picture"] * 6
    assert len(renderer.calls) == 1


def test_an_error_is_not_kept(client: Client, renderer: Renderer) -> None:
    for _ in range(2):
        assert client.get(tile_path(KEY, "damaged", (0, 0, 8, 8))).status_code == 422
    assert len(renderer.calls) == 2


def test_the_quicklook_has_a_signature_of_its_own(client: Client, renderer: Renderer) -> None:
    path = f"/scenes/abc/quicklook.jpg?sig={sign(KEY, 'abc', WHOLE, QUICKLOOK)}"
    answer = client.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
    assert renderer.calls == [("abc", WHOLE, QUICKLOOK)]
    assert client.get(path, {"If-None-Match": answer.headers["etag"]}).status_code == 304
    for bad in (path.replace("abc", "abd"), path.split("?")[0], f"{path}A"):
        assert client.get(bad).status_code == 403
    tile = sign(KEY, "abc", (0, 0, 8, 8), "jpg")
    assert client.get(f"/scenes/abc/quicklook.jpg?sig={tile}").status_code == 403
