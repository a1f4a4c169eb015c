"""Rasters → tiles → tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from groundlook.core.errors import GroundlookError
from groundlook.core.geo import TileRef
from groundlook.core.tiling import spatial_split
from groundlook.core.types import Project, SceneRow
from groundlook.service.wiring.parts import Wired
from groundlook_adapters.rasters.geotile import task_data
from groundlook_adapters.rasters.ingest import scan, tiles
from groundlook_adapters.rasters.read import Scene
from groundlook_adapters.rasters.signing import tile_path

IMPORT_ROWS = 500
BLOCK_TILES = 4
SEED = "groundlook"
"""The same everywhere: a place has the same fold in every project and on every date."""


@dataclass(slots=True)
class Report:
    """What an ingest did. `failed`: one line per raster that could not be used."""

    scenes: int = 0
    tasks: int = 0
    known: int = 0
    empty: int = 0
    held_out: int = 0
    failed: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Options:
    """`tile`, `overlap`: pixels. `xyz`: file-name pattern of slippy-map tiles. `block`: side in units of the CRS of
    the map blocks that are held out as a whole, None = 4 tiles; `held_out`: their share."""

    tile: int = 1024
    overlap: int = 128
    xyz: str | None = None
    block: float | None = None
    held_out: float = 0.2


def ingest(
    wired: Wired, project: Project, paths: Sequence[str], options: Options, progress: Callable[[Report], None]
) -> Report:
    """Turn every raster into tasks that the project does not have yet. One that can't be used is a line in `failed`;
    the rest goes on."""
    known = {t.tile.uid for t in wired.client.tasks(project) if t.tile is not None}
    report = Report()
    rows: list[dict[str, Any]] = []
    for scene in scan(paths, wired.settings.roots, options.xyz):
        if isinstance(scene, GroundlookError):
            report.failed.append(str(scene))
            continue
        try:
            rows += _rows(wired, project, scene, options, known, report)
        except GroundlookError as error:
            report.failed.append(str(error))
        while len(rows) >= IMPORT_ROWS:
            _send(wired, project, rows, report)
        progress(report)
    while rows:
        _send(wired, project, rows, report)
    progress(report)
    return report


def _rows(
    wired: Wired, project: Project, scene: Scene, options: Options, known: set[str], report: Report
) -> list[dict[str, Any]]:
    found, empty = tiles(scene, options.tile, options.overlap)
    new = [t for t in found if t.uid not in known]
    known.update(t.uid for t in new)
    report.scenes += 1
    report.empty += empty
    report.known += len(found) - len(new)
    row = SceneRow(scene.id, scene.source, scene.etag, scene.render.text(), scene.width, scene.height)
    wired.store.put_scene(row)
    block = _block(wired, project.id, scene, options)
    return [_data(wired, project, tile, block, options, report) for tile in new]


def _block(wired: Wired, project_id: int, scene: Scene, options: Options) -> float:
    """The block side for this CRS: as given, or as the project's first scene in it had it."""
    if options.block is not None or scene.georef is None:
        return options.block or 1.0
    key = f"block:{scene.georef.crs}"
    default = BLOCK_TILES * options.tile * max(scene.georef.gsd())
    block = wired.store.value(project_id, key, default)
    wired.store.put_value(project_id, key, block)
    return block


def _data(
    wired: Wired, project: Project, tile: TileRef, block: float, options: Options, report: Report
) -> dict[str, Any]:
    split = spatial_split(tile, block, options.held_out, SEED)
    report.held_out += split == "val"
    url = wired.settings.url + tile_path(wired.key, tile.scene_id, tile.window)
    data = task_data(tile, split, url)
    return {**data, project.config.data_key: data["image"]}


def _send(wired: Wired, project: Project, rows: list[dict[str, Any]], report: Report) -> None:
    batch, rows[:] = rows[:IMPORT_ROWS], rows[IMPORT_ROWS:]
    report.tasks += wired.client.import_tasks(project, batch)
