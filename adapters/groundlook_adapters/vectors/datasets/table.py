"""A snapshot as one Parquet table, a row for each region: for statistics, and for readers that want no pictures.

Unlike the GeoParquet of exports nothing is joined, moved or left out: geometries are in the CRS of their own tile,
which `crs` names, and in pixels where it is null, so the file is Parquet with WKB in it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from groundlook.core.errors import InvalidInput
from groundlook.core.geo import TileRef
from groundlook.core.types import Example, Region, Snapshot
from groundlook_adapters.vectors.geometry.shapes import to_geometry, to_map

ROWS = 10_000
COLUMNS: tuple[tuple[str, Any], ...] = (
    ("snapshot", pa.string()),
    ("project", pa.int64()),
    ("task", pa.int64()),
    ("split", pa.string()),
    ("site", pa.string()),
    ("sensor", pa.string()),
    ("image", pa.string()),
    ("tile_uid", pa.string()),
    ("region", pa.string()),
    ("label", pa.string()),
    ("annotations", pa.list_(pa.int64())),
    ("annotators", pa.list_(pa.string())),
    ("ground_truth", pa.bool_()),
    ("area_px", pa.float64()),
    ("area_m2", pa.float64()),
    ("crs", pa.string()),
    ("geometry", pa.binary()),
)
"""Name and Arrow type. `annotations`, `annotators`: those that the region was made of or chosen from. Areas are null of
points, `area_m2` and `crs` where the tile is on no map."""


def write_table(
    path: Path, snapshot: Snapshot, square: Callable[[TileRef], float | None], overwrite: bool = False
) -> int:
    """Write `snapshot` to the file `path`, whole or not at all; how many regions there are. `square`: square metres of
    a tile. A tile without regions has one row without label, since "nothing there" is an answer. Raises InvalidInput
    for a file in the way."""
    if path.is_dir() or (path.exists() and not overwrite):
        raise InvalidInput(f"{path} exists; choose another name, or say that it may be overwritten")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    layout = pa.schema(list(COLUMNS))
    rows = (row for example in snapshot.examples for row in _rows(snapshot, example, square))
    try:
        with pq.ParquetWriter(temporary, layout, compression="zstd") as writer:
            while chunk := list(islice(rows, ROWS)):
                arrays = [
                    pa.array(column, kind) for column, (_, kind) in zip(zip(*chunk, strict=True), COLUMNS, strict=True)
                ]
                writer.write_batch(pa.record_batch(arrays, schema=layout))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return sum(len(example.regions) for example in snapshot.examples)


def _rows(snapshot: Snapshot, example: Example, square: Callable[[TileRef], float | None]) -> Iterator[tuple[Any, ...]]:
    task, tile = example.task, example.task.tile
    about = (task.site or None, task.sensor or None, task.image or None, None if tile is None else tile.uid)
    lead = (snapshot.id, snapshot.project, task.id, task.split, *about)
    behind = (list(example.annotation_ids), list(example.annotators), example.ground_truth)
    metres = None if tile is None else square(tile)
    scale = None if metres is None or tile is None else metres / (tile.size[0] * tile.size[1])
    for region in example.regions:
        yield (*lead, region.uid or None, region.label, *behind, *_placed(region, tile, scale))
    if not example.regions:
        yield (*lead, None, None, *behind, None, None, None, None)


def _placed(region: Region, tile: TileRef | None, scale: float | None) -> tuple[Any, ...]:
    """Areas, CRS and WKB."""
    geometry, _ = to_geometry(region.shape, (0, 0) if tile is None else tile.size)
    if geometry is None:
        return None, None, None, None
    area = geometry.area or None
    metres = None if area is None or scale is None else area * scale
    if tile is None or tile.georef is None:
        return area, metres, None, shapely.to_wkb(geometry)
    return area, metres, tile.georef.crs, shapely.to_wkb(to_map(geometry, tile.georef))
