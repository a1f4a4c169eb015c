"""What `bench geo` measures rasters with: a large scene, the real service over it, and the peers' ways."""

from __future__ import annotations

import asyncio
import re
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import rasterio
from rasterio.windows import Window

from groundlook.core.geo import TileRef
from groundlook.core.tiling import grid
from groundlook.core.types import SceneRow
from groundlook_adapters.rasters.pictures.prerender import album, prerender
from groundlook_adapters.rasters.pictures.render import RGB, Render
from groundlook_adapters.rasters.reading.opened import close_idle
from groundlook_adapters.rasters.reading.read import open_scene, read_rgb
from groundlook_adapters.rasters.signing import tile_path
from groundlook_adapters.rasters.tiling.geotile import task_data
from groundlook_adapters.rasters.tiling.ingest import walk
from groundlook_adapters.store.sqlite import SqliteStore

sys.path.insert(0, str(Path(__file__).parent))
from own_service import own_service

TILE, KEY = 1024, b"bench" * 7


def big_scene(path: Path, side: int, like: int = 24) -> Path:
    """A tiled, deflated uint8 RGB GeoTIFF of `side`² px, written strip by strip. `like`: strength of its texture; 0
    is cheap to write."""
    rng = np.random.default_rng(1)
    place = rasterio.Affine(0.3, 0, 500000, 0, -0.3, 5400000)
    form = {"driver": "GTiff", "dtype": "uint8", "count": 3, "width": side, "height": side, "crs": "EPSG:32631"}
    how = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate", "interleave": "pixel"}
    texture = cv2.GaussianBlur(rng.normal(0, 1, (512, side, 3)).astype(np.float32), (0, 0), 3) * like * 9 + 120
    strip = np.clip(texture, 1, 255).astype(np.uint8).transpose(2, 0, 1)
    with rasterio.open(path, "w", transform=place, **form, **how) as dataset:
        for row in range(0, side, 512):
            height = min(512, side - row)
            dataset.write(np.roll(strip, row, axis=2)[:, :height], window=Window(0, row, side, height))
    return path


def endpoint(folder: Path, scene: Path, clients: int, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds of every cold and every cached answer of the real service in a process of its own."""
    home = folder / "home"
    home.mkdir()
    found = open_scene(scene, [folder])
    store = SqliteStore(home / "store.db")
    store.put_scene(SceneRow(found.id, found.source, found.etag, found.render.text(), found.width, found.height))
    store.close()
    (home / "tiles.key").write_bytes(KEY)
    with own_service(home, folder) as service:
        paths = [tile_path(KEY, found.id, w) for w in grid(found.width, found.height, TILE, 0)]
        cold = _ask(service.port, paths, clients)
        cached = [s for _ in range(rounds) for s in _ask(service.port, paths, clients)]
    return cold, cached


def _ask(port: int, paths: list[str], clients: int) -> list[float]:
    """Seconds of each answer. Plain sockets: an HTTP library alone takes longer than a cached tile."""
    left, seconds = list(reversed(paths)), []

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while left:
            path, started = left.pop(), time.perf_counter()
            writer.write(f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            size = int(re.findall(rb"(?i)content-length: (\d+)", head)[0])
            body = await reader.readexactly(size)
            seconds.append(time.perf_counter() - started)
            if not head.startswith(b"HTTP/1.1 200"):
                raise AssertionError(f"{path}: {body[:200]!r}")
        writer.close()

    async def all_clients() -> None:
        await asyncio.gather(*(client() for _ in range(clients)))

    asyncio.run(all_clients())
    return seconds


def rio_tiler_tiles(scene: Path, clients: int) -> list[float]:
    """Seconds that rio-tiler takes for every tile: opened, read through `part` at native size, encoded as JPEG."""
    from rio_tiler.errors import NoOverviewWarning
    from rio_tiler.io import Reader

    warnings.simplefilter("ignore", NoOverviewWarning)
    with rasterio.open(scene) as dataset:
        windows = list(grid(dataset.width, dataset.height, TILE, 0))
        boxes = [dataset.window_bounds(Window(*w)) for w in windows]
        crs = dataset.crs

    def one(box: tuple[float, float, float, float]) -> float:
        started = time.perf_counter()
        with Reader(str(scene)) as reader:
            image = reader.part(box, dst_crs=crs, bounds_crs=crs, width=TILE, height=TILE)
            image.render(img_format="JPEG", quality=90)
        return time.perf_counter() - started

    with ThreadPoolExecutor(clients) as pool:
        return list(pool.map(one, boxes))


def ingest_loop(scene: Path, out: Path) -> None:
    """Everything that an ingest does before Label Studio: look, tile, task data, pictures."""
    roots = [scene.parent]
    close_idle()  # nothing of an earlier turn is in memory
    found = open_scene(scene, roots)
    render = Render.parse(found.render.text())

    def read(tile: TileRef) -> RGB:
        return read_rgb(tile.source, tile.window, render, roots, etag=tile.etag)

    wanted = ((tile, None) for tile in walk(found, TILE, 0) if tile is not None)
    for tile, _, error in prerender(wanted, album(out, ""), read):
        if error is not None:
            raise error
        task_data(tile, "train", "")


def bare_loop(scene: Path, out: Path) -> None:
    """What a careful person writes in ten lines: open once, read windows, encode, write."""
    out.mkdir(parents=True)
    with rasterio.open(scene) as dataset:
        for column, row, width, height in grid(dataset.width, dataset.height, TILE, 0):
            pixels = dataset.read(window=Window(column, row, width, height)).transpose(1, 2, 0)
            _, data = cv2.imencode(".jpg", pixels[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
            (out / f"{column}_{row}.jpg").write_bytes(data.tobytes())


def _most(what: str, scene: Path) -> float:
    if what == "whole":  # as segment-geospatial does
        with rasterio.open(scene) as dataset:
            pixels = dataset.read().transpose(1, 2, 0)
            np.ascontiguousarray(pixels)
    else:
        found = open_scene(scene, [scene.parent])
        refs = [tile for tile in walk(found, TILE, 0) if tile is not None]
        read_rgb(found.source, refs[0].window, found.render, [scene.parent], etag=found.etag)
    # ru_maxrss is no use: a child begins with its parent's.
    (line,) = [row for row in Path("/proc/self/status").read_text().splitlines() if row.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    sys.stdout.write(str(_most(sys.argv[1], Path(sys.argv[2]))))
