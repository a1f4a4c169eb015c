"""The parts of the running product, joined."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidImage, InvalidInput, NotAllowed
from groundlook.core.geo import Tile, TileRef, WindowPx
from groundlook.core.plan import ModelSpec
from groundlook.core.ports import Encodings
from groundlook.core.prompts import Picture, Prompts
from groundlook.core.tiling import Split, spatial_split
from groundlook.core.types import Annotation, Control, LabelConfig, Project, Task
from groundlook.learning.registry import FileRegistry
from groundlook.loop import LANES, Loop, LoopSettings
from groundlook.models.classifier.embedders import register
from groundlook.models.embedders.named import embedder_of
from groundlook.models.sam.pictures import picture_of
from groundlook.scoring.score import calibrate, score_calibrated
from groundlook.service.brought import SAM, Brought
from groundlook.service.metrics import ENCODES
from groundlook.service.settings import Settings
from groundlook.service.shelf import ModelShelf
from groundlook.service.wiring.folds import HELD_OUT, SEED
from groundlook.service.wiring.planned import PlanReader
from groundlook.service.wiring.shapes import ControlShapes
from groundlook.strategies.rules import Rules
from groundlook_adapters.jobs.at_home import AtHome
from groundlook_adapters.jobs.embedded import EmbeddedJobs
from groundlook_adapters.jobs.engine import Engine
from groundlook_adapters.jobs.remote import RedisJobs
from groundlook_adapters.labelstudio.client import LabelStudioClient
from groundlook_adapters.labelstudio.config import parse_config
from groundlook_adapters.labelstudio.images import HttpImages
from groundlook_adapters.labelstudio.prompts import asked_image, decode_prompts
from groundlook_adapters.labelstudio.queue.window import WindowQueue
from groundlook_adapters.labelstudio.wire import decode_annotation, encode_prediction, encode_region
from groundlook_adapters.mlflow import MlflowTracker
from groundlook_adapters.rasters.crs import to_lonlat
from groundlook_adapters.rasters.pictures.cache import PictureCache
from groundlook_adapters.rasters.pictures.render import encode
from groundlook_adapters.rasters.reading.opened import opened
from groundlook_adapters.rasters.reading.read import quicklook, read_rgb
from groundlook_adapters.rasters.signing import verify
from groundlook_adapters.rasters.tiling.geotile import tile_ref
from groundlook_adapters.store.encodings import EncodingCache
from groundlook_adapters.store.features import FeatureFiles
from groundlook_adapters.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from fastapi import FastAPI

    from groundlook_adapters.jobs.exchange import RedisExchange

__all__ = ["TaskImages", "Wired", "decode_task", "encode_region", "web_app", "wire"]


QUICKLOOK_PX, QUICKLOOK_QUALITY = 800, 85
"""Longest side of a scene's quick-look, and its JPEG quality."""
_UPLOAD = re.compile(r"^/data/upload/\d+/[0-9a-f]{8}-")
"""What Label Studio puts before the name of an uploaded file."""


@dataclass(frozen=True, slots=True)
class Wired:
    """Everything a command needs, ready to use."""

    settings: Settings
    client: LabelStudioClient
    store: SqliteStore
    jobs: Engine
    exchange: AtHome | RedisExchange
    registry: FileRegistry
    loop: Loop
    images: TaskImages
    brought: Brought
    encodings: EncodingCache
    key: bytes

    def __enter__(self) -> Wired:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Drop connections and close files; nothing may be used afterwards."""
        self.client.close()
        self.images.close()
        self.encodings.close()
        self.jobs.close()
        self.exchange.close()
        self.store.close()


def wire(settings: Settings) -> Wired:
    """Open the home (made when missing) and join the parts. Reads and writes files under `settings.home` only."""
    settings.home.mkdir(parents=True, exist_ok=True)
    client = LabelStudioClient(decode_task)
    store = SqliteStore(settings.home / "store.db")
    jobs = RedisJobs(settings.redis, LANES) if settings.redis else EmbeddedJobs(settings.home / "jobs.db", LANES)
    exchange = _exchange(settings)
    registry = FileRegistry(settings.home / "models")
    images = TaskImages(settings, client)
    encodings = EncodingCache(
        settings.home / "encodings", settings.encodings_mb, settings.encodings_disk_mb, settings.redis
    )
    brought = Brought(_sam(settings), Counted(encodings), settings.home / "models", settings.runtime)
    embedder = embedder_of(settings.embedder)
    register(embedder)
    loop = Loop(
        labels=client,
        queue=WindowQueue(client),
        images=images,
        store=store,
        features=FeatureFiles(settings.home / "features"),
        jobs=jobs,
        exchange=exchange,
        registry=registry,
        models=ModelShelf(registry, brought, settings.arch, settings.epochs, store.current_window),
        segmenters=brought,
        shapes=ControlShapes(),
        embedder=embedder,
        score=score_calibrated,
        calibrate=calibrate,
        to_lonlat=to_lonlat,
        home=settings.home,
        settings=LoopSettings(
            window=settings.window,
            retrain_every=settings.retrain_every,
            gate=settings.gate,
            rehearsal=settings.rehearsal,
            retrain_hours=settings.retrain_hours,
            retrain_gain=settings.retrain_gain,
            shards=bool(settings.redis),
            held_out_every=settings.held_out_every,
            debounce=settings.debounce,
            strategy=settings.strategy,
            random_share=settings.random_share,
        ),
        rules=Rules(settings.empties, settings.alike),
        tracker=MlflowTracker(settings.mlflow) if settings.mlflow else None,
    )
    key = _signing_key(settings.home / "tiles.key")
    return Wired(settings, client, store, jobs, exchange, registry, loop, images, brought, encodings, key)


def web_app(wired: Wired) -> FastAPI:
    """The HTTP service over `wired`."""
    # Most commands serve nothing, and FastAPI is a third of what they would import.
    from groundlook.service.app import create_app
    from groundlook.service.labelstudio_api import Wire
    from groundlook.service.pages.router import pages_router
    from groundlook.service.tiles_api import QUICKLOOK, tiles_router
    from groundlook.service.wiring.scenes import SceneBoard

    roots, hosts = wired.settings.roots, wired.settings.raster_hosts

    def render(scene_id: str, window: WindowPx, fmt: str) -> bytes:
        scene = wired.store.scene(scene_id)
        source, mark = scene.source, scene.etag
        if fmt == QUICKLOOK:
            small = quicklook(source, scene.render, roots, QUICKLOOK_PX, etag=mark, hosts=hosts)
            return encode(small, "jpg", QUICKLOOK_QUALITY)
        return encode(read_rgb(source, window, scene.render, roots, etag=mark, hosts=hosts), fmt)

    def check(scene_id: str, window: WindowPx, fmt: str, signature: str) -> bool:
        return verify(wired.key, scene_id, window, fmt, signature)

    contract = Wire(
        decode_task,
        encode_prediction,
        _event_annotation,
        parse_config,
        _prompts,
        asked_image,
        PlanReader(wired.settings),
    )

    def warm() -> None:
        _warm()
        wired.brought.warm()

    limit = int(wired.settings.max_body_mb * 1_000_000)
    pictures = PictureCache(wired.settings.home / "pictures", wired.settings.tile_cache_mb * 2**20)
    tiles = tiles_router(render, check, pictures)
    pages = pages_router(SceneBoard(wired.client, wired.store, wired.key), wired.settings.login)
    return create_app(wired.loop, contract, tiles, wired.settings.login, limit, warm, pages)


def decode_task(body: Mapping[str, Any], project: Project) -> Task:
    """A task's JSON → Task. Its data is hostile: what is wrong with it is an InvalidInput that names the field."""
    data = body.get("data")
    if not isinstance(data, Mapping):
        raise InvalidInput(f"task {body.get('id')!r} has no data; import it again")
    image = data.get(project.config.data_key)
    tile = tile_ref(data)
    site, sensor = data.get("site"), data.get("sensor")
    image = image if isinstance(image, str) else ""
    return Task(
        id=body["id"] if isinstance(body.get("id"), int) and 0 <= body["id"] < 2**63 else 0,
        image=image,
        tile=tile,
        split=_split(data.get("split"), image, tile),
        labelled=bool(body.get("is_labeled")),
        others={c.image: str(data[c.data_key]) for c in project.config.others if isinstance(data.get(c.data_key), str)},
        site=site[:200] if isinstance(site, str) else "" if tile is None else tile.scene_id,
        sensor=sensor[:200] if isinstance(sensor, str) else "",
    )


def _split(said: Any, image: str, tile: TileRef | None) -> Split:
    """The side that a task's data names. Pictures that were not ingested by us name none: one in five is held out, by a
    hash of its URL, or nothing that was learned of them could be judged. Of an upload the file's name decides, so that
    a picture that is uploaded again has the same side."""
    if said in ("train", "val", "margin"):
        return cast(Split, said)
    if tile is not None or not image:
        return "train"
    return spatial_split(TileRef(_UPLOAD.sub("", image), "", (0, 0, 1, 1)), 1.0, HELD_OUT, SEED)


class TaskImages:
    """Implements `core.ports.Images`: our tiles from the raster itself, or by their URL where that lies elsewhere and
    the URL's host is allowed; foreign tasks by their URL."""

    def __init__(self, settings: Settings, client: LabelStudioClient) -> None:
        self._roots, self._hosts = settings.roots, settings.raster_hosts
        self._http = HttpImages(settings.image_hosts, lambda project: client.headers(project.url, project.token))

    def close(self) -> None:
        """Drop connections."""
        self._http.close()

    def read(self, project: Project, task: Task) -> Tile:
        """See `core.ports.Images`."""
        tile = task.tile
        if tile is None:
            return Tile(self._http.read(project, task.image))
        roots, hosts = self._roots, self._hosts
        try:
            return Tile(read_rgb(tile.source, tile.window, tile.render, roots, etag=tile.etag, hosts=hosts), tile)
        except NotAllowed:
            found = self._shown(project, task, tile)
            if found is None:
                raise
            return found

    def _shown(self, project: Project, task: Task, tile: TileRef) -> Tile | None:
        """A tile as its service shows it; None where that may not be asked. Raises InvalidImage."""
        try:
            pixels = self._http.read(project, task.image)
        except NotAllowed:
            return None
        if pixels.shape[1::-1] != tile.size:
            raise InvalidImage(f"{task.image} is no picture of its tile of {tile.size} px; ingest the scene again")
        return Tile(pixels, tile)

    def picture(self, project: Project, task: Task, image: str = "") -> Picture:
        """See `core.ports.Images`. What is no tile of ours is fetched at once: its URL may show something else now."""
        if image or task.tile is None:
            pixels = self._http.read(project, task.others.get(image, "") if image else task.image)
            return picture_of(Tile(pixels))
        ref = task.tile
        with opened(ref.source, self._roots, self._hosts, etag=ref.etag):
            pass  # an answer out of the cache is of this very file
        return Picture(ref.uid, ref.size, lambda: self.read(project, task))


class Counted:
    """Implements `core.ports.Encodings`, and counts what had to be made."""

    def __init__(self, encodings: Encodings) -> None:
        self._encodings = encodings

    def get(
        self, key: str, make: Callable[[], Mapping[str, NDArray[np.float16]]], bulk: bool = False
    ) -> Mapping[str, NDArray[np.float16]]:
        """See `core.ports.Encodings`."""

        def counted() -> Mapping[str, NDArray[np.float16]]:
            ENCODES.inc()
            return make()

        return self._encodings.get(key, counted, bulk)

    def has(self, key: str) -> bool:
        """See `core.ports.Encodings`."""
        return self._encodings.has(key)


def _exchange(settings: Settings) -> AtHome | RedisExchange:
    if not settings.redis:
        return AtHome()
    from groundlook_adapters.jobs.exchange import RedisExchange

    return RedisExchange(settings.redis)


def _sam(settings: Settings) -> ModelSpec | None:
    if not settings.sam:
        return None
    return ModelSpec("sam", SAM, settings.sam, settings.sam_sha256, settings.sam_arch)


def _prompts(
    context: Any, config: LabelConfig, size: tuple[int, int], wanted: str, saved: frozenset[str]
) -> tuple[tuple[Prompts, ...], Control]:
    asked = decode_prompts(context, config, size, wanted, saved)
    return asked.prompts, asked.control


def _event_annotation(body: Mapping[str, Any], task_id: int) -> Annotation:
    return decode_annotation(body, task_id, None)


def _warm() -> None:
    label = '<RectangleLabels name="l" toName="i"><Label value="a"/></RectangleLabels>'
    parse_config(f'<View><Image name="i" value="$i"/>{label}</View>')


def _signing_key(path: Path) -> bytes:
    """The key of tile URLs: made once, readable by its owner only."""
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return path.read_bytes()
    with os.fdopen(handle, "wb") as file:
        file.write(secrets.token_bytes(32))
    return path.read_bytes()
