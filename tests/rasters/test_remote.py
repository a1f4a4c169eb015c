"""Rasters behind URLs, served on loopback."""

from __future__ import annotations

import contextlib
import http.server
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from groundlook.core.errors import InvalidRaster, NotAllowed
from groundlook_adapters.rasters.reading import opened as guard
from groundlook_adapters.rasters.reading import ranges, remote
from groundlook_adapters.rasters.reading.opened import close_idle
from groundlook_adapters.rasters.reading.read import open_scene, quicklook, read_rgb, read_window

MakeRaster = Callable[..., Path]
Pixels = NDArray[np.uint8]


@dataclass
class Served:
    """A folder on loopback. `asked`: (method, path, Range). `away`: where every path redirects to, "" for nowhere;
    `broken`: how many answers are 500 before it is well again."""

    port: int
    folder: Path
    away: str = ""
    broken: int = 0
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self, name: str) -> str:
        return f"http://{self.host}/{name}"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: Served

    def do_GET(self) -> None:
        self._answer(True)

    def do_HEAD(self) -> None:
        self._answer(False)

    def _answer(self, body: bool) -> None:
        wanted = self.headers.get("Range")
        self.served.asked.append((self.command, self.path, wanted))
        name = self.path.partition("?")[0].rpartition("/")[2]
        path = self.served.folder / name
        if self.served.away:
            return self._send(302, b"", {"Location": self.served.away}, body)
        if self.served.broken:
            self.served.broken -= 1
            return self._send(500, b"", {}, body)
        if name.startswith("redirect"):
            return self._send(302, b"", {"Location": "http://169.254.169.254/latest/meta-data"}, body)
        if name.startswith("secret"):
            return self._send(403, b"no", {}, body)
        if not name or not path.is_file():
            return self._send(404, b"", {}, body)
        data = path.read_bytes()
        headers = {"ETag": f'"{hash(data)}"'}
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", wanted or "")
        if found is None or name.startswith("whole"):
            return self._send(200, data, headers, body)
        start, end = int(found[1]), min(int(found[2] or len(data) - 1), len(data) - 1)
        return self._send(
            206, data[start : end + 1], {**headers, "Content-Range": f"bytes {start}-{end}/{len(data)}"}, body
        )

    def _send(self, code: int, data: bytes, headers: dict[str, str], body: bool) -> None:
        self.send_response(code)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            with contextlib.suppress(ConnectionError):  # GDAL hangs up when it has what it wants
                self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(guard, "_seen", remote.Memory())
    handler = type("Bound", (Handler,), {})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    handler.served = Served(server.server_port, tmp_path)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield handler.served
    close_idle()
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_raster_behind_http(served: Served, make_tif: MakeRaster, rgb: Pixels) -> None:
    big = np.tile(rgb, (6, 6, 1)).astype(np.uint16) * 200
    path = make_tif(big, "a.tif", tiled=True, blockxsize=256, blockysize=256)
    scene = open_scene(served.url("a.tif"), [], hosts=[served.host])
    assert scene.source == served.url("a.tif")
    local = open_scene(path, [path.parent])
    assert (scene.georef, scene.width, scene.bands, scene.dtype) == (local.georef, 2400, 3, "uint16")
    found = read_window(scene.source, (700, 300, 256, 200), [], etag=scene.etag, hosts=[served.host])
    assert (found == big[300:500, 700:956]).all()
    served.asked.clear()
    picture = read_rgb(scene.source, (0, 0, 64, 64), scene.render, [], etag=scene.etag, hosts=[served.host])
    assert picture.shape == (64, 64, 3)
    assert len(served.asked) <= 2  # the dataset stayed open, the host was looked at not long ago
    assert quicklook(scene.source, scene.render, [], 32, hosts=[served.host]).shape == (24, 32, 3)
    assert {name for _, name, _ in served.asked} <= {"/a.tif"}  # no sidecar, no listing


def test_a_replaced_remote_file_is_noticed(
    served: Served, make_tif: MakeRaster, rgb: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tif(rgb, "a.tif")
    scene = open_scene(served.url("a.tif"), [], hosts=[served.host])
    make_tif(rgb[::-1].copy(), "a.tif")
    monkeypatch.setattr(guard, "_seen", remote.Memory())  # half a minute later
    with pytest.raises(InvalidRaster, match=r"was replaced.*ingest it again"):
        read_window(scene.source, (0, 0, 9, 9), [], etag=scene.etag, hosts=[served.host])
    found = read_window(scene.source, (0, 0, 400, 300), [], hosts=[served.host])
    assert (found == rgb[::-1]).all()


def test_what_is_not_listed_is_never_asked(served: Served, make_tif: MakeRaster, rgb: Pixels) -> None:
    make_tif(rgb, "a.tif")
    url = served.url("a.tif")
    for hosts in ([], ["127.0.0.1"], ["127.0.0.1:1"], ["127.0.0.0/8"], ["s3://127.0.0.1"]):
        with pytest.raises(NotAllowed, match=r"is a private address; add it to GROUNDLOOK_RASTER_HOSTS"):
            open_scene(url, [], hosts=hosts)
    with pytest.raises(NotAllowed, match=r"not a host that may be read; add it to GROUNDLOOK_RASTER_HOSTS"):
        open_scene("https://data.example.org/a.tif", [], hosts=["example.org", "data.example.org:8443"])
    assert served.asked == []


def test_a_listed_name_that_leads_inside(
    served: Served, make_tif: MakeRaster, rgb: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tif(rgb, "a.tif")
    row = (2, 1, 6, "", ("127.0.0.1", served.port))
    monkeypatch.setattr(remote.socket, "getaddrinfo", lambda *a, **k: [row])
    url = f"http://data.example.org:{served.port}/a.tif"
    listed = f"data.example.org:{served.port}"
    with pytest.raises(NotAllowed, match=r"data\.example\.org leads to 127\.0\.0\.1, a private address"):
        open_scene(url, [], hosts=[listed])
    assert served.asked == []
    for admitted in ("127.0.0.1", served.host, "127.0.0.0/8"):
        assert remote.allowed(url, [listed, admitted]).port == served.port


def test_a_redirect_that_comes_later_is_not_followed(served: Served, make_tif: MakeRaster, rgb: Pixels) -> None:
    """A host that answered well when it was looked at, and then leads to another that nobody listed."""
    make_tif(np.tile(rgb, (6, 6, 1)), "a.tif", tiled=True, blockxsize=256, blockysize=256)
    handler = type("Bound", (Handler,), {})
    inside = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    handler.served = Served(inside.server_port, served.folder)
    thread = threading.Thread(target=inside.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        scene = open_scene(served.url("a.tif"), [], hosts=[served.host])
        for already in (False, True):  # opened by then, so that GDAL itself would go on with what it gets
            close_idle()
            if already:
                read_window(scene.source, (0, 0, 9, 9), [], etag=scene.etag, hosts=[served.host])
            served.away = f"http://127.0.0.1:{inside.server_port}/a.tif"
            with pytest.raises(NotAllowed, match=f"redirects to 'http://127.0.0.1:{inside.server_port}/a.tif'"):
                read_window(scene.source, (1700, 1200, 256, 256), [], etag=scene.etag, hosts=[served.host])
            served.away = ""
        assert handler.served.asked == []  # type: ignore[attr-defined]
        found = read_window(scene.source, (1700, 1200, 256, 256), [], etag=scene.etag, hosts=[served.host])
        assert (found == np.tile(rgb, (6, 6, 1))[1200:1456, 1700:1956]).all(), "what could not be read is not kept"
    finally:
        inside.shutdown()
        thread.join()
        inside.server_close()


def test_two_versions_of_a_file_are_never_mixed(served: Served, make_tif: MakeRaster, rgb: Pixels) -> None:
    big = np.tile(rgb, (6, 6, 1))
    make_tif(big, "a.tif", tiled=True, blockxsize=256, blockysize=256)
    scene = open_scene(served.url("a.tif"), [], hosts=[served.host])
    close_idle()
    make_tif(255 - big, "a.tif", tiled=True, blockxsize=256, blockysize=256)
    with pytest.raises(InvalidRaster, match="was replaced while it was read"):
        read_window(scene.source, (1700, 1200, 256, 256), [], etag=scene.etag, hosts=[served.host])


def test_a_server_that_stumbles_is_asked_again(
    served: Served, make_tif: MakeRaster, rgb: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranges, "_PAUSE_S", 0.01)
    make_tif(np.tile(rgb, (6, 6, 1)), "a.tif", tiled=True, blockxsize=256, blockysize=256)
    scene = open_scene(served.url("a.tif"), [], hosts=[served.host])
    served.broken = 1
    found = read_window(scene.source, (1700, 1200, 90, 90), [], etag=scene.etag, hosts=[served.host])
    assert (found == np.tile(rgb, (6, 6, 1))[1200:1290, 1700:1790]).all()
    close_idle()
    served.broken = 99
    with pytest.raises(InvalidRaster, match=r"answered 500; try again later"):
        read_window(scene.source, (1700, 1200, 90, 90), [], etag=scene.etag, hosts=[served.host])


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("none.tif", InvalidRaster, r"does not exist \(404\)"),
        ("redirect.tif", NotAllowed, "redirects to 'http://169.254.169.254"),
        ("secret.tif", NotAllowed, "denies access"),
        ("whole.tif", InvalidRaster, "can't send parts of a file"),
        ("text.tif", InvalidRaster, "is not a GeoTIFF"),
        ("evil.vrt", NotAllowed, "is a VRT, which names further files"),
        ("half.tif", InvalidRaster, "can't be read"),
    ],
)
def test_what_a_server_may_answer(
    served: Served, make_tif: MakeRaster, rgb: Pixels, name: str, error: type[Exception], message: str
) -> None:
    whole = make_tif(rgb, "whole.tif").read_bytes()
    (served.folder / "half.tif").write_bytes(whole[: len(whole) // 2])
    (served.folder / "text.tif").write_text("hello" * 999)
    (served.folder / "evil.vrt").write_text('<VRTDataset rasterXSize="1" rasterYSize="1"/>')
    with pytest.raises(error, match=message) as caught:
        open_scene(served.url(name), [], hosts=[served.host])
    assert served.url(name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nobody_at_home(served: Served) -> None:
    with pytest.raises(InvalidRaster, match="can't be reached"):
        open_scene("http://127.0.0.1:1/a.tif", [], hosts=["127.0.0.1:1"])


@pytest.mark.parametrize(
    "url",
    [
        "ftp://h/a.tif", "file:///etc/passwd", "http://h", "http:///a.tif", "http://h:99999999/a.tif", "http://h\\@g/a.tif",
        "http://h/a b.tif", "http://h/a.tif#x", "http://h/\n", "s3://bucket", "s3://bucket/../a.tif", "gs://b u/a.tif",
        "az://c/a.tif?sig=1", "http://" + "h" * 3000, "vrt://a.tif", "http://[::1/a.tif", "gdal+http://h/a",
    ],
)  # fmt: skip
def test_strange_urls(url: str) -> None:
    with pytest.raises(InvalidRaster):
        open_scene(url, [Path("/")], hosts=["h", "bucket", "s3://bucket"])


def test_credentials_are_not_kept_in_tasks() -> None:
    for url in ("http://user:pass@h/a.tif", "https://h/a.tif?X-Amz-Signature=1", "https://h/a.tif?se=1&sig=secret"):
        with pytest.raises(NotAllowed, match="has a password or signature in it") as caught:
            open_scene(url, [], hosts=["h"])
        assert "pass@" not in str(caught.value)
        assert "sig=secret" not in str(caught.value)


@pytest.mark.parametrize(
    "address", ["10.0.0.1", "192.168.1.1", "169.254.169.254", "[::1]", "[fd00::1]", "[::ffff:10.0.0.1]", "100.64.0.1"]
)
def test_private_addresses(address: str) -> None:
    with pytest.raises(NotAllowed, match="private address"):
        remote.allowed(f"http://{address}/a.tif", [])
    assert remote.allowed(f"http://{address}/a.tif", [address]).host == address.strip("[]")


def test_a_local_file_reaches_no_network(served: Served, make_tif: MakeRaster, rgb: Pixels) -> None:
    import rasterio

    make_tif(rgb[:150, :200, :1], "b.tif")
    for name in (f"/vsicurl/{served.url('b.tif')}", served.url("b.tif")):
        path = make_tif(rgb[:, :, :1], f"{len(name)}.tif")
        with rasterio.open(path, "r+") as dataset:
            dataset.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=name)
        served.asked.clear()  # writing it, too, looked there
        with pytest.raises(NotAllowed, match="may not be read"):
            open_scene(path, [served.folder])
        assert served.asked == []


BUCKET = """
import sys
from pathlib import Path
from groundlook.core.errors import GroundlookError
from groundlook_adapters.rasters.reading import opened, remote
from groundlook_adapters.rasters.reading.read import open_scene, read_window
hosts = ["s3://bucket"]
scene = open_scene("s3://bucket/deep/a.tif", [], hosts=hosts)
print(scene.source, scene.georef.crs, scene.width, scene.etag[:2])
print(read_window(scene.source, (3, 4, 5, 6), [], etag=scene.etag, hosts=hosts).sum())
for url, listed in (("s3://other/a.tif", hosts), ("s3://bucket/none.tif", hosts), ("s3://bucket/text.tif", hosts)):
    try:
        open_scene(url, [], hosts=listed)
    except GroundlookError as error:
        print(type(error).__name__, error)
Path(sys.argv[1]).write_bytes(Path(sys.argv[2]).read_bytes())
opened._seen = remote.Memory()
print(read_window(scene.source, (3, 4, 5, 6), [], hosts=hosts).sum())
try:
    read_window(scene.source, (3, 4, 5, 6), [], etag=scene.etag, hosts=hosts)
except GroundlookError as error:
    print(error)
"""


def test_a_bucket(served: Served, make_tif: MakeRaster, rgb: Pixels) -> None:
    first, second = make_tif(rgb, "a.tif"), make_tif(rgb[::-1].copy(), "second.tif")
    (served.folder / "text.tif").write_text("hello" * 999)
    env = {
        **os.environ,
        "AWS_S3_ENDPOINT": served.host,
        "AWS_NO_SIGN_REQUEST": "YES",
        "AWS_HTTPS": "NO",
        "AWS_VIRTUAL_HOSTING": "FALSE",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    done = subprocess.run(
        [sys.executable, "-c", BUCKET, first, second], env=env, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0] == "s3://bucket/deep/a.tif EPSG:32611 400 b-"
    assert int(lines[1]) == int(rgb[4:10, 3:8].sum())
    assert lines[2].startswith(
        "NotAllowed s3://other/a.tif: s3://other is not listed; add it to GROUNDLOOK_RASTER_HOSTS"
    )
    assert lines[3].startswith("InvalidRaster s3://bucket/none.tif")
    assert lines[4].startswith("InvalidRaster s3://bucket/text.tif")
    assert int(lines[5]) == int(rgb[::-1][4:10, 3:8].sum())
    assert "was replaced" in lines[6]
    assert len(lines) == 7
