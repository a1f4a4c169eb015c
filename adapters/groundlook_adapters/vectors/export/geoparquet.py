"""GeoParquet 1.1 out, with the bounds of every row beside it, so that readers skip what they don't need.

https://geoparquet.org/releases/v1.1.0/. The wheels of pyogrio have no Parquet driver.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from groundlook_adapters.vectors.export.rows import GEOMETRY
from groundlook_adapters.vectors.systems import system

ROW_GROUP = 50_000
_SIDES = ("xmin", "ymin", "xmax", "ymax")
_BBOX = pa.struct([(side, pa.float64()) for side in _SIDES])


def write_geoparquet(path: Path, crs: str, schema: Any, batches: Iterable[Any]) -> None:
    """Write record batches of `schema`, whose last column is WKB, with zstd and a covering `bbox` column. One row
    group is held at a time."""
    types: set[str] = set()
    bounds: list[Any] = []
    full = schema.append(pa.field("bbox", _BBOX))
    # Without Arrow's own copy of the schema, its readers take the "geo" metadata from the file, as GDAL's do.
    with pq.ParquetWriter(path, full, compression="zstd", store_schema=False) as writer:
        for table in _grouped(batches, schema):
            geometries = shapely.from_wkb(table.column(GEOMETRY).to_numpy(zero_copy_only=False))
            types.update(g.geom_type for g in geometries)
            boxes = shapely.bounds(geometries)
            bounds.append(shapely.total_bounds(geometries))
            sides = [pa.array(np.ascontiguousarray(boxes[:, i])) for i in range(4)]
            column = pa.StructArray.from_arrays(sides, names=list(_SIDES))
            writer.write_table(table.append_column(full.field("bbox"), column), row_group_size=ROW_GROUP)
        writer.add_key_value_metadata({"geo": json.dumps(_geo(crs, types, bounds))})


def _geo(crs: str, types: set[str], bounds: list[Any]) -> dict[str, Any]:
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": sorted(types),
        "crs": system(crs).to_json_dict(),
        "covering": {"bbox": {side: ["bbox", side] for side in _SIDES}},
    }
    if bounds:
        low, high = np.min(bounds, axis=0), np.max(bounds, axis=0)
        column["bbox"] = [float(v) for v in (*low[:2], *high[2:])]
    return {"version": "1.1.0", "primary_column": GEOMETRY, "columns": {GEOMETRY: column}}


def _grouped(batches: Iterable[Any], schema: Any) -> Iterator[Any]:
    waiting: list[Any] = []
    for batch in batches:
        waiting.append(batch)
        if sum(b.num_rows for b in waiting) >= ROW_GROUP:
            yield pa.Table.from_batches(waiting, schema=schema)
            waiting = []
    if waiting:
        yield pa.Table.from_batches(waiting, schema=schema)
