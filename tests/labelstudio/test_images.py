"""Pictures by URL, from servers on loopback: which are asked, and with what."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import cv2
import numpy as np
import pytest

from groundlook.core.errors import GroundlookError, InvalidImage, NotAllowed
from groundlook.core.types import Control, LabelConfig, Project
from groundlook_adapters.labelstudio.images import REDIRECTS, HttpImages

CONFIG = LabelConfig("label", "RectangleLabels", "image", "image", ("Roof",), (Control("label", "X", ("Roof",)),))
PNG = cv2.imencode(".png", np.full((3, 4, 3), 9, np.uint8))[1].tobytes()
TOKEN = "Token secret"


@dataclass
class Server:
    """`leads`: path → where it redirects to; any other path is `picture`. `asked`: (path, Authorization)."""

    port: int
    picture: bytes = PNG
    leads: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"


class Handler(BaseHTTPRequestHandler):
    server_of: Server

    def do_GET(self) -> None:
        self.server_of.asked.append((self.path, self.headers.get("Authorization")))
        lead = self.server_of.leads.get(self.path)
        self.send_response(200 if lead is None else 303)
        if lead is not None:
            self.send_header("Location", lead)
        self.end_headers()
        self.wfile.write(self.server_of.picture if lead is None else b"")

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def servers() -> Iterator[tuple[Server, Server]]:
    """Label Studio's, and a storage's."""
    running, found = [], []
    for _ in range(2):
        handler = type("Bound", (Handler,), {})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        handler.server_of = Server(server.server_port)  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        running.append((server, thread))
        found.append(handler.server_of)  # type: ignore[attr-defined]
    yield found[0], found[1]
    for server, thread in running:
        server.shutdown()
        thread.join()
        server.server_close()


def read(studio: Server, url: str, *hosts: str) -> tuple[int, ...]:
    images = HttpImages(hosts, lambda project: {"Authorization": TOKEN})
    try:
        return images.read(Project(1, f"http://{studio.host}", "secret", CONFIG, "Test"), url).shape
    finally:
        images.close()


def test_a_redirect_to_an_allowed_host_is_followed_without_the_token(servers: tuple[Server, Server]) -> None:
    """As Label Studio answers for a file in cloud storage."""
    studio, storage = servers
    studio.leads["/tasks/1/resolve/"] = f"http://{storage.host}/a.png?sig=1"
    assert read(studio, "/tasks/1/resolve/", storage.host) == (3, 4, 3)
    assert studio.asked == [("/tasks/1/resolve/", TOKEN)]
    assert storage.asked == [("/a.png?sig=1", None)]


@pytest.mark.parametrize("hosts", [(), ("127.0.0.1:1",), ("storage.example",)])
def test_a_redirect_out_of_the_allowed_hosts_is_never_asked(
    servers: tuple[Server, Server], hosts: tuple[str, ...]
) -> None:
    studio, storage = servers
    studio.leads = {"/near": "/far", "/far": f"http://{storage.host}/latest/meta-data"}
    with pytest.raises(NotAllowed, match=f"'{storage.host}' is not allowed; add it to GROUNDLOOK_IMAGE_HOSTS"):
        read(studio, "/near", *hosts)
    assert [path for path, _ in studio.asked] == ["/near", "/far"]
    assert storage.asked == []


def test_an_allowed_host_leads_nowhere_else_and_gets_no_token_back(servers: tuple[Server, Server]) -> None:
    studio, storage = servers
    storage.leads = {"/a.png": "file:///etc/passwd", "/b.png": "http://169.254.169.254/latest/meta-data"}
    for name, error in (("a", InvalidImage), ("b", NotAllowed)):
        with pytest.raises(error):
            read(studio, f"http://{storage.host}/{name}.png", storage.host)
    assert {token for _, token in storage.asked} == {None}
    assert studio.asked == []


def test_a_ring_of_redirects_ends(servers: tuple[Server, Server]) -> None:
    studio, _ = servers
    studio.leads = {"/a": "/b", "/b": "/a"}
    with pytest.raises(InvalidImage, match="redirects more than"):
        read(studio, "/a")
    assert len(studio.asked) == REDIRECTS + 1


@pytest.mark.parametrize(
    "url",
    ["http://[::1", "http://[x]/a", "http://h:abc/a", "/\x00", "http://h/\ud800", "/" + "a" * 70_000, "http://⒈.h/a"],
)
def test_what_is_no_url_spoils_no_other_task(servers: tuple[Server, Server], url: str) -> None:
    """An error that is not ours would end the whole request, and the whole job."""
    with pytest.raises(GroundlookError, match="is no URL") as caught:
        read(servers[0], url, "h")
    str(caught.value).encode()  # it is sent as JSON


def test_names_are_compared_as_they_are_asked(servers: tuple[Server, Server]) -> None:
    studio, storage = servers
    for url in (f"http://{storage.host}@evil.example/a.png", f"http://{storage.host}\\@evil.example/a.png"):
        with pytest.raises(NotAllowed, match=r"'evil\.example' is not allowed"):
            read(studio, url, storage.host)
    assert read(studio, f" http://{storage.host}/a.png\n", storage.host.upper()) == (3, 4, 3)
    assert read(studio, "/own.png") == (3, 4, 3)
    assert studio.asked == [("/own.png", TOKEN)]


@pytest.mark.parametrize("kind", [".png", ".jpg", ".webp", ".tif", ".bmp", ".jp2", ".ppm"])
def test_every_format_that_opencv_writes_is_read(servers: tuple[Server, Server], kind: str) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    servers[0].picture = cv2.imencode(kind, picture)[1].tobytes()
    assert read(servers[0], "/a") == (48, 64, 3)


def test_a_small_file_of_too_many_pixels_is_refused_by_its_header(
    servers: tuple[Server, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = cv2.imencode(".png", np.zeros((10_001, 10_000), np.uint8))[1].tobytes()
    assert len(bomb) < 200_000
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("it was decoded"))
    claim = b"IHDR" + (60_000).to_bytes(4, "big") * 2 + bomb[24:29]
    wider = bomb[:12] + claim + zlib.crc32(claim).to_bytes(4, "big") + bomb[33:]
    for servers[0].picture in (bomb, wider):
        with pytest.raises(InvalidImage, match="over 100 million pixels; tile it with ingest"):
            read(servers[0], "/a")
