"""The real service with a SAM in a process of its own, over a raster of painted blocks. No Label Studio.

For `bench models` and for tests of clicks. Every tile is painted as the pictures are that the small SAM learnt from, so
that each object's exact mask is known.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

import cv2
import httpx
import numpy as np
import psutil
import rasterio
from numpy.typing import NDArray
from rasterio import Affine

from groundlook.core.types import Project
from groundlook_adapters.labelstudio.config import parse_config
from groundlook_adapters.rasters.reading.read import open_scene
from groundlook_adapters.rasters.tiling.geotile import task_data
from groundlook_adapters.rasters.tiling.ingest import tiles
from groundlook_adapters.store.sqlite import SqliteStore

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a bench is run from anywhere
from tests.bench.own_service import OwnService, own_service
from tests.weights.scenery import blocks

TINY = Path(__file__).resolve().parents[1] / "weights" / "sam_tiny.safetensors"
"""The small SAM that tests/weights/make_sam.py trains."""
LABELS = ("Building", "Pool")
PROJECT = "1.1795166970"
_CHOICES = "".join(f'<Label value="{label}"/>' for label in LABELS)
CONFIG = (
    '<View><Image name="image" value="$image"/>'
    f'<BrushLabels name="brush" toName="image">{_CHOICES}</BrushLabels>'
    f'<KeyPointLabels name="spot" toName="image" smart="true">{_CHOICES}</KeyPointLabels>'
    f'<RectangleLabels name="box" toName="image" smart="true">{_CHOICES}</RectangleLabels></View>'
)
Item = dict[str, Any]
_T, _R = TypeVar("_T"), TypeVar("_R")


@dataclass(frozen=True, slots=True)
class Painted:
    """A raster and its truth. `objects`: for each tile int32 (side, side), 0 where nothing stands, else its number."""

    path: Path
    side: int
    objects: tuple[NDArray[np.int32], ...]

    def numbers(self, tile: int) -> list[int]:
        """The objects of a tile, the largest first; those of less than 0.2 % of it aside."""
        counts = np.bincount(self.objects[tile].reshape(-1))
        return [int(i) for i in np.argsort(-counts) if i and counts[i] > self.side**2 // 500]

    def inside(self, tile: int, number: int) -> tuple[float, float]:
        """The middle of the object's thickest part: x, y in pixels of the tile."""
        mask = (self.objects[tile] == number).astype(np.uint8)
        deep = cv2.distanceTransform(cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT), cv2.DIST_L2, 5)
        y, x = np.unravel_index(int(deep.argmax()), deep.shape)
        return float(x) - 0.5, float(y) - 0.5  # the middle of the pixel, less the border


def paint(path: Path, columns: int, rows: int, side: int, seed: int = 4) -> Painted:
    """A tiled GeoTIFF of `columns` × `rows` pictures of `side` px."""
    rng = np.random.default_rng(seed)
    pictures = [blocks(side, rng) for _ in range(columns * rows)]
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = {"width": columns * side, "height": rows * side, "count": 3, "dtype": "uint8", "photometric": "RGB"}
    place = {"crs": "EPSG:32631", "transform": Affine(0.3, 0, 448000, 0, -0.3, 5412000)}
    grid = {"tiled": True, "blockxsize": 256, "blockysize": 256}
    with rasterio.open(path, "w", driver="GTiff", **shape, **place, **grid) as out:
        for i, picture in enumerate(pictures):
            window = rasterio.windows.Window(i % columns * side, i // columns * side, side, side)
            out.write(picture.pixels.transpose(2, 0, 1), window=window)
    return Painted(path, side, tuple(p.objects for p in pictures))


@dataclass(frozen=True, slots=True)
class ClicksHouse:
    """A running service. `bodies`: the `data` of the task of each tile, in the order of `painted.objects`."""

    service: OwnService
    bodies: tuple[dict[str, Any], ...]
    painted: Painted

    @property
    def process(self) -> psutil.Process:
        """The service's."""
        return self.service.process

    def client(self) -> httpx.Client:
        """One for each thread."""
        return self.service.client()

    def body(self, tile: int, items: Sequence[Item], **more: Any) -> dict[str, Any]:
        """What Label Studio posts for prompts on a tile; `more`: of the task, `annotations` for one."""
        task = {"id": tile + 1, "data": self.bodies[tile], "annotations": [], "drafts": [], "predictions": [], **more}
        params = {"login": None, "password": None, "context": {"result": list(items)}}
        return {"tasks": [task], "project": PROJECT, "label_config": CONFIG, "params": params}

    def point(self, x: float, y: float, label: str = LABELS[0], positive: bool = True, uid: str = "p0") -> Item:
        """A click as the editor sends it; x, y in pixels of the tile."""
        percent = 100 / self.painted.side
        value = {"x": x * percent, "y": y * percent, "width": 0.28, "labels": [label], "keypointlabels": [label]}
        return {
            **self._item(uid),
            "from_name": "spot",
            "type": "keypointlabels",
            "value": value,
            "is_positive": positive,
        }

    def box(self, x: float, y: float, w: float, h: float, label: str = LABELS[0], uid: str = "b0") -> Item:
        """A rectangle as the editor sends it; pixels of the tile."""
        x, y, w, h = (v * 100 / self.painted.side for v in (x, y, w, h))
        value = {"x": x, "y": y, "width": w, "height": h, "rotation": 0, "rectanglelabels": [label]}
        return {**self._item(uid), "from_name": "box", "type": "rectanglelabels", "value": value}

    def _item(self, uid: str) -> Item:
        side = self.painted.side
        size = {"original_width": side, "original_height": side, "image_rotation": 0}
        return {**size, "id": uid, "to_name": "image", "origin": "manual"}

    def on_object(self, tile: int, which: int, label: str = LABELS[0]) -> Item:
        """A click on one of the tile's objects, counted from the largest, again and again."""
        numbers = self.painted.numbers(tile)
        return self.point(*self.painted.inside(tile, numbers[which % len(numbers)]), label)

    def ready(self, client: httpx.Client, seconds: float = 1800.0) -> None:
        """Wait until the model answers: the first time on a machine its fastest runtime is found out. Raises
        RuntimeError."""
        end = time.monotonic() + seconds
        while (reply := client.post("/predict", json=self.body(0, [self.on_object(0, 0)]))).status_code != 200:
            if reply.status_code != 503 or time.monotonic() > end:
                raise RuntimeError(f"no answer: HTTP {reply.status_code}: {reply.text[:300]}")
            time.sleep(1)

    def at_once(self, users: int, work: Callable[[httpx.Client, _T], _R], items: Sequence[_T]) -> list[_R]:
        """`work` of every item, in order, by so many users at once, each with a connection of its own."""
        free: SimpleQueue[httpx.Client] = SimpleQueue()

        def one(item: _T) -> _R:
            client = free.get()
            try:
                return work(client, item)
            finally:
                free.put(client)

        with ExitStack() as stack, ThreadPoolExecutor(users) as pool:
            for _ in range(users):
                free.put(stack.enter_context(self.client()))
            return list(pool.map(one, items))

    def encodes(self, client: httpx.Client) -> int:
        """How often the service has encoded a picture."""
        lines = client.get("/metrics").text.splitlines()
        return int(float(next(line.split()[1] for line in lines if line.startswith("groundlook_encodes_total "))))


def regions(reply: httpx.Response) -> list[Item]:
    """What a click was answered with, without the ids, which are new each time. Raises RuntimeError."""
    if reply.status_code != 200:
        raise RuntimeError(f"HTTP {reply.status_code}: {reply.text[:300]}")
    (result,) = reply.json()["results"]
    return [{k: v for k, v in item.items() if k != "id"} for item in result["result"]]


@contextmanager
def clicks_house(
    home: Path, painted: Painted, sam: Path, environ: Mapping[str, str] | None = None, config: str = CONFIG
) -> Iterator[ClicksHouse]:
    """The service, up, with one project; its model may still be loading."""
    root = painted.path.parent
    store = SqliteStore(home / "store.db")
    store.put_project(Project(1, "http://127.0.0.1:9", "0" * 40, parse_config(config), "clicks"))
    store.close()
    found, _ = tiles(open_scene(painted.path, [root]), painted.side, 0)
    refs = sorted(found, key=lambda r: r.window[1::-1])
    bodies = tuple(task_data(r, "train", f"http://127.0.0.1/tiles/{r.scene_id}") for r in refs)
    with own_service(home, root, {"GROUNDLOOK_SAM": str(sam), **(environ or {})}) as service:
        yield ClicksHouse(service, bodies, painted)
