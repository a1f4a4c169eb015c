"""Rasters → tiles → tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from groundlook.core.errors import GroundlookError, InvalidInput
from groundlook.core.geo import TileRef
from groundlook.core.tiling import Split
from groundlook.core.types import Project, SceneRow
from groundlook.service.wiring.folds import Blocks, Folds
from groundlook.service.wiring.parts import Wired
from groundlook_adapters.rasters.crs import parse_crs
from groundlook_adapters.rasters.pictures.expression import parse_expression
from groundlook_adapters.rasters.pictures.prerender import Album, album, prerender
from groundlook_adapters.rasters.pictures.render import FORMATS, Choice, Render
from groundlook_adapters.rasters.reading.read import Scene, read_rgb
from groundlook_adapters.rasters.signing import tile_path
from groundlook_adapters.rasters.tiling.geotile import task_data
from groundlook_adapters.rasters.tiling.ingest import AS_IS, MIN_VALID, scan, walk
from groundlook_adapters.rasters.tiling.tile_size import tile_size

__all__ = ["Choice", "Options", "Report", "ingest"]

IMPORT_ROWS = 500
SHOW_EVERY = 50
"""Tiles between two calls of `progress` within a scene."""

Placed = tuple[TileRef, Split]


@dataclass(slots=True)
class Report:
    """What an ingest did. `scenes`: rasters used to the end. `tasks`: sent; `known`: tiles that the project had;
    `empty`: tiles left out for want of data; `held_out`: of the tasks; `straddlers`: tasks that neither side may use,
    `dropped`: those left out instead; `pictures`: tiles whose picture is in the prerender folder. `failed`: one line
    per raster that could not be used, or not to the end."""

    scenes: int = 0
    tasks: int = 0
    known: int = 0
    empty: int = 0
    held_out: int = 0
    straddlers: int = 0
    dropped: int = 0
    pictures: int = 0
    failed: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Options:
    """`tile`, `overlap`: pixels, or both from `object_size`, metres. `xyz`: file-name pattern of slippy-map tiles.
    `block`: side in units of the CRS of the map blocks that are held out as a whole, `held_out`: their share (None:
    as the project has them, else 4 tiles and 0.2); `straddlers`: what becomes of tiles that lie in both kinds.
    `crs`: of rasters that lack one. `choice`: what to show. `image_format`: jpg, png or webp. `prerender`: folder
    for pictures, whose URLs in the tasks begin with `prerender_url`. `min_valid`: least share of pixels with data."""

    tile: int = 1024
    overlap: int = 128
    xyz: str | None = None
    block: float | None = None
    held_out: float | None = None
    object_size: float | None = None
    crs: str | None = None
    choice: Choice = AS_IS
    image_format: str = "jpg"
    prerender: Path | None = None
    prerender_url: str | None = None
    min_valid: float = MIN_VALID
    straddlers: Literal["mark", "drop"] = "mark"


def ingest(
    wired: Wired, project: Project, paths: Sequence[str], options: Options, progress: Callable[[Report], None]
) -> Report:
    """Turn every raster into tasks that the project does not have yet. One that can't be used is a line in `failed`;
    the rest goes on. Raises InvalidInput for options that fit no raster at all."""
    _check(options)
    return _Ingest(wired, project, options, progress).run(paths)


def pictures(options: Options) -> Album | None:
    """Where the pictures go; None where the service serves them."""
    if options.prerender is None:
        return None
    return album(options.prerender, options.prerender_url, options.image_format)


def _check(options: Options) -> None:
    if options.image_format not in FORMATS:
        raise InvalidInput(f"--image-format {options.image_format[:20]!r}: use one of {', '.join(FORMATS)}")
    if options.prerender_url is not None and options.prerender is None:
        raise InvalidInput("--prerender-url says where pictures are found that --prerender writes: give that, too")
    if options.tile < 1 or not 0 <= options.overlap < options.tile:
        raise InvalidInput(
            f"--tile {options.tile} with --overlap {options.overlap}: the overlap must be smaller than the tile"
        )
    if options.block is not None and not 0 < options.block < float("inf"):
        raise InvalidInput(f"--block {options.block:g}: the side of a held-out block must be a positive number")
    if options.crs is not None:
        try:
            parse_crs(options.crs)
        except InvalidInput as error:
            raise InvalidInput(f"--crs: {error}") from None
    for expression in options.choice.expressions:
        try:
            parse_expression(expression)  # a typo is one line, not one per raster
        except InvalidInput as error:
            raise InvalidInput(f"--expression {error}") from None


def _line(error: GroundlookError) -> str:
    """On one line, whatever a file is called."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(error))


class _Ingest:
    """One run. Tasks are sent in batches while the tiles of a scene are still being looked for, so that a scene of
    any size takes the same memory."""

    def __init__(self, wired: Wired, project: Project, options: Options, progress: Callable[[Report], None]) -> None:
        self._wired, self._project, self._options = wired, project, options
        self._progress, self._report = progress, Report()
        tiles = [t.tile for t in wired.client.tasks(project) if t.tile is not None]
        self._known = {tile.uid for tile in tiles}
        self._folds = Folds(wired.store, project.id, tiles, Blocks(options.block, options.held_out))
        self._album = pictures(options)
        self._rows: list[dict[str, Any]] = []

    def run(self, paths: Sequence[str]) -> Report:
        options, settings = self._options, self._wired.settings
        found = scan(
            paths, settings.roots, options.xyz, crs=options.crs, choice=options.choice, hosts=settings.raster_hosts
        )
        for scene in found:
            try:
                if isinstance(scene, GroundlookError):
                    raise scene
                self._scene(scene)
                self._report.scenes += 1
            except GroundlookError as error:
                self._report.failed.append(_line(error))
            self._progress(self._report)
        while self._rows:
            self._send()
        self._progress(self._report)
        return self._report

    def _scene(self, scene: Scene) -> None:
        # Before a task shows it, and for tasks that were there before this home was.
        row = SceneRow(scene.id, scene.source, scene.etag, scene.render.text(), scene.width, scene.height)
        self._wired.store.put_scene(row)
        unread: list[str] = []
        for count, (tile, split, error) in enumerate(self._shown(scene)):
            if error is not None:
                unread.append(str(error))
            else:
                self._rows.append(self._data(tile, split))
            if len(self._rows) >= IMPORT_ROWS:
                self._send()
            if count % SHOW_EVERY == 0:
                self._progress(self._report)
        if unread:
            raise InvalidInput(f"{unread[0]} ({len(unread)} tiles of it could not be read, the others are tasks)")

    def _shown(self, scene: Scene) -> Iterator[tuple[TileRef, Split, GroundlookError | None]]:
        """The new tiles, once their picture can be had."""
        if self._album is None:
            return ((tile, split, None) for tile, split in self._new(scene))
        return self._drawn(scene, self._album)

    def _drawn(self, scene: Scene, album: Album) -> Iterator[tuple[TileRef, Split, GroundlookError | None]]:
        settings, render = self._wired.settings, Render.parse(scene.render.text())

        def read(tile: TileRef) -> Any:
            return read_rgb(
                tile.source, tile.window, render, settings.roots, etag=tile.etag, hosts=settings.raster_hosts
            )

        for tile, split, error in prerender(self._new(scene), album, read):
            self._report.pictures += error is None
            yield tile, split, error

    def _new(self, scene: Scene) -> Iterator[Placed]:
        """The tiles that the project lacks, with their folds; the others are counted."""
        options, report = self._options, self._report
        size, overlap = options.tile, options.overlap
        if options.object_size is not None:
            size, overlap = tile_size(scene, options.object_size)
        fold = self._folds.scene(scene, size)
        roots, hosts = self._wired.settings.roots, self._wired.settings.raster_hosts
        for tile in walk(scene, size, overlap, options.min_valid, roots=roots, hosts=hosts):
            if tile is None:
                report.empty += 1
                continue
            if tile.uid in self._known:
                report.known += 1
                continue
            split = fold(tile)
            if split == "margin" and options.straddlers == "drop":
                report.dropped += 1
                continue
            self._known.add(tile.uid)
            yield tile, split

    def _data(self, tile: TileRef, split: Split) -> dict[str, Any]:
        self._report.held_out += split == "val"
        self._report.straddlers += split == "margin"
        wired = self._wired
        if self._album is not None:
            url = self._album.url(tile)
        else:
            url = wired.settings.url + tile_path(wired.key, tile.scene_id, tile.window, self._options.image_format)
        data = task_data(tile, split, url)
        return {**data, self._project.config.data_key: data["image"]}

    def _send(self) -> None:
        batch, self._rows = self._rows[:IMPORT_ROWS], self._rows[IMPORT_ROWS:]
        self._report.tasks += self._wired.client.import_tasks(self._project, batch)
