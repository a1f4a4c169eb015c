"""A service over a home of its own, with a raster, a connected project and a stand-in for the hosts of images."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
import rasterio

from groundlook.core.types import Control, LabelConfig, Project
from groundlook.service.settings import Settings
from groundlook.service.wiring import Wired, web_app, wire
from groundlook_adapters.rasters.reading.read import Scene
from groundlook_adapters.rasters.tiling.geotile import task_data
from groundlook_adapters.rasters.tiling.ingest import scan, tiles

CONFIG = LabelConfig(
    "label", "RectangleLabels", "image", "image", ("House",), (Control("label", "RectangleLabels", ("House",)),)
)
XML = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
    '<Label value="House"/></RectangleLabels></View>'
)


class Files(BaseHTTPRequestHandler):
    """Serves what is in `files`; remembers the headers it was asked with."""

    files: dict[str, bytes]
    asked: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        type(self).asked.append((self.path, self.headers.get("Authorization")))
        body = type(self).files.get(self.path)
        if self.path == "/away.png":
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.1:1/elsewhere.png")
            self.end_headers()
            return
        self.send_response(200 if body is not None else 404)
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, format: str, *args: Any) -> None:
        pass


@dataclass
class House:
    """The service under test."""

    wired: Wired
    project: Project
    files: type[Files]
    host: str
    folder: Path

    def client(self) -> httpx.AsyncClient:
        """Talks to the application in this process."""
        transport = httpx.ASGITransport(web_app(self.wired), raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://groundlook")

    def tile_tasks(self, count: int) -> list[dict[str, Any]]:
        """Tasks as Label Studio sends them, over the tiles of the raster, again and again."""
        scene = next(iter(scan([str(self.folder / "scene.tif")], [self.folder])))
        assert isinstance(scene, Scene)
        found, _ = tiles(scene, 64, 0)
        return [
            {"id": i + 1, "data": task_data(found[i % len(found)], "train", "http://x/i.jpg"), "project": 7}
            for i in range(count)
        ]

    def image_task(self, name: str, number: int = 1) -> dict[str, Any]:
        """A task that holds nothing but an image's URL."""
        return {"id": number, "data": {"image": name}, "project": 7}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    folder = tmp_path / "rasters"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(1, 255, (3, 256, 256), dtype=np.uint8)
    place = rasterio.Affine(0.5, 0, 500000, 0, -0.5, 5400000)
    profile = {"driver": "GTiff", "count": 3, "dtype": "uint8", "width": 256, "height": 256}
    with rasterio.open(folder / "scene.tif", "w", crs="EPSG:32631", transform=place, **profile) as out:
        out.write(pixels)
    files = type("Here", (Files,), {"files": {}, "asked": []})
    png = cv2.imencode(".png", pixels.transpose(1, 2, 0)[:64, :64])[1].tobytes()
    files.files = {"/good.png": png, "/empty.png": b"", "/cut.png": png[:200], "/text.png": b"<html>no</html>"}
    server = ThreadingHTTPServer(("127.0.0.1", 0), files)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    host = f"http://127.0.0.1:{server.server_address[1]}"
    settings = Settings(home=tmp_path / "home", roots=(folder,), max_body_mb=1.0)
    wired = wire(settings)
    project = Project(7, host, "legacy-token", CONFIG, "Test")
    wired.store.put_project(project)
    yield House(wired, project, files, host, folder)
    server.shutdown()
    server.server_close()
    thread.join()
    wired.close()
