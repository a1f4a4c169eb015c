"""What `bench serve` measures: the real service in a process of its own, over a home made for it. No Label Studio."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import rasterio
import torch
from rasterio import Affine

from groundlook.core.geo import Tile
from groundlook.core.types import UNTRAINED_VERSION, ModelCard, Project, RankedTask, Window
from groundlook.learning.registry import FileRegistry, version_of
from groundlook.models.weights.file import Weights, digest, save
from groundlook.models.yolo import network
from groundlook.models.yolo.predict import YoloModel
from groundlook_adapters.labelstudio.config import parse_config
from groundlook_adapters.rasters.reading.read import open_scene, read_rgb
from groundlook_adapters.rasters.tiling.geotile import task_data
from groundlook_adapters.rasters.tiling.ingest import tiles
from groundlook_adapters.store.sqlite import SqliteStore

sys.path.insert(0, str(Path(__file__).parent))
from own_service import own_service

ARCH, LABELS, SIDE, TILE = "yolov5n.yaml", ("Building",), 3072, 512
BOXES = 20
"""Detections that a tile is to have, so that regions are encoded and sent."""
SERVED, MODELLESS = 1, 2
"""Ids of the two projects: one whose model is served, and one that has none."""
CONFIG = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
    '<Label value="Building"/></RectangleLabels></View>'
)


@dataclass(frozen=True, slots=True)
class ServeHouse:
    """`bodies`: the `data` of a task for each of the scene's tiles; `tiles`: the same tiles with their pixels."""

    http: httpx.Client
    process: psutil.Process
    model: YoloModel
    bodies: list[dict[str, Any]]
    tiles: list[Tile]

    def predict(self, ids: list[int], project: int = SERVED) -> list[Any]:
        """One /predict of Label Studio's; the results. Task i shows tile i modulo their number."""
        rows = [{"id": i, "data": self.bodies[i % len(self.bodies)], "annotations": []} for i in ids]
        body = {"tasks": rows, "project": f"{project}.1795166970", "label_config": CONFIG, "params": {"context": None}}
        reply = self.http.post("/predict", json=body)
        reply.raise_for_status()
        found: list[Any] = reply.json()["results"]
        if len(found) != len(ids) or not all(isinstance(r, dict) for r in found):
            raise RuntimeError(f"{len(found)} results for {len(ids)} tasks: {reply.text[:300]}")
        return found

    def bare(self, ids: list[int]) -> None:
        """The model alone, in this process, on the same tiles."""
        self.model.predict([self.tiles[i % len(self.tiles)] for i in ids])

    def read(self, task: int) -> None:
        """The tile's pixels alone, read in this process."""
        ref = self.tiles[task % len(self.tiles)].ref
        if ref is not None:
            read_rgb(ref.source, ref.window, ref.render, [Path(ref.source).parent])


@contextmanager
def serve_house(home: Path) -> Iterator[ServeHouse]:
    """The service, up and warm, with one project whose model is served."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    raster = _raster(home / "rasters" / "scene.tif")
    scene = open_scene(raster, [raster.parent])
    refs, _ = tiles(scene, TILE, 0)
    pictures = [Tile(read_rgb(r.source, r.window, r.render, [raster.parent]), r) for r in refs]
    bodies = [task_data(r, "train", f"http://127.0.0.1/tiles/{r.scene_id}") for r in refs]
    card, weights = _weights(home, pictures[0])
    _projects(home, card)
    registry = FileRegistry(home / "models")
    registry.save(SERVED, card, weights)
    registry.promote(SERVED, card.version, None)
    model = YoloModel.load(card, weights, LABELS)
    with own_service(home, raster.parent) as service, service.client() as client:
        yield ServeHouse(client, service.process, model, bodies, pictures)


def _raster(path: Path) -> Path:
    """A tiled, deflated GeoTIFF of smooth ground with bright rectangles."""
    rng = np.random.default_rng(5)
    ground = np.kron(rng.integers(60, 140, (3, SIDE // 64, SIDE // 64)), np.ones((1, 64, 64))).astype(np.uint8)
    ground += rng.integers(0, 12, ground.shape, dtype=np.uint8)
    for x, y in rng.integers(0, SIDE - 60, (600, 2)):
        ground[:, y : y + rng.integers(20, 60), x : x + rng.integers(20, 60)] = rng.integers(150, 250)
    path.parent.mkdir(parents=True)
    place = {"crs": "EPSG:32631", "transform": Affine(0.3, 0, 448000, 0, -0.3, 5412000)}
    shape = {"width": SIDE, "height": SIDE, "count": 3, "dtype": "uint8", "photometric": "RGB"}
    blocks = {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate"}
    with rasterio.open(path, "w", driver="GTiff", **shape, **place, **blocks) as out:
        out.write(ground)
    return path


def _weights(home: Path, tile: Tile) -> tuple[ModelCard, Path]:
    """Random weights, whose last bias is moved until some anchors of `tile` are sure of themselves."""
    torch.manual_seed(5)
    module = network.build(ARCH, len(LABELS)).eval()
    x = torch.from_numpy(tile.pixels.copy()).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        logits = torch.logit(module(x)[0][0, 4].double()).sort(descending=True).values
    shift = float(np.log(0.3 / 0.7) - logits[4 * BOXES])  # overlapping ones are suppressed
    state = module.state_dict()
    for name in [n for n in state if ".cv3." in n and n.endswith(".2.bias")]:
        state[name] = state[name] + shift
    path = save(home / "made.safetensors", Weights(state, LABELS, ARCH))
    sha = digest(path)
    return ModelCard(version_of("yolo", ["bench", ARCH, sha]), "yolo", ARCH, LABELS, sha, verdict="promoted"), path


def _projects(home: Path, card: ModelCard) -> None:
    store = SqliteStore(home / "store.db")
    tasks = tuple(RankedTask(10_000_000 + i, i, 0.5, "bench") for i in range(30))
    for project, version in ((SERVED, card.version), (MODELLESS, UNTRAINED_VERSION)):
        store.put_project(Project(project, "http://127.0.0.1:9", "0" * 40, parse_config(CONFIG), "bench"))
        store.add_window(project, Window(1, version, tasks, time.time()))
