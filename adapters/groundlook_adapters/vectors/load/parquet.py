"""GeoParquet 1.x files by their "geo" metadata (https://geoparquet.org/releases/v1.1.0/), geometry as WKB."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyproj import CRS
from pyproj.exceptions import ProjError

from groundlook.core.errors import InvalidInput
from groundlook_adapters.vectors.load.vectorfile import Source, broken, choose, no_crs

_FAILURES = (pa.ArrowException, OSError, ValueError)
_MAX_METADATA = 10_000_000


def look_at_parquet(path: Path, layer: str | None, crs: str | None) -> Source:
    """See `source.look_at`; a GeoParquet has one layer, named like the file."""
    try:
        with pq.ParquetFile(path) as file:
            names, raw, count = (
                file.schema_arrow.names,
                (file.metadata.metadata or {}).get(b"geo"),
                file.metadata.num_rows,
            )
    except _FAILURES as error:
        raise broken(path, error) from None
    if raw is None or len(raw) > _MAX_METADATA:
        raise InvalidInput(f"{path} has no 'geo' metadata, so it is a table and no map; write it as GeoParquet")
    column, described = _column(path, raw, names)
    if described.get("encoding") != "WKB":
        found = str(described.get("encoding"))[:40]
        raise InvalidInput(f"{path}: geometry is encoded as {found!r}; write the GeoParquet with encoding WKB")
    chosen = choose(path, [path.stem], layer)
    fields = tuple(n for n in names if n != column)
    return Source(path, "Parquet", chosen, crs or _crs(path, described), fields, count, column)


def batches(source: Source, columns: Sequence[str], size: int) -> Iterator[Any]:
    """Record batches of `columns`, `size` rows at most. Raises InvalidInput."""
    try:
        with pq.ParquetFile(source.path) as file:
            yield from file.iter_batches(batch_size=size, columns=list(columns))
    except _FAILURES as error:
        raise broken(source.path, error) from None


def _column(path: Path, raw: bytes, names: Sequence[str]) -> tuple[str, dict[str, Any]]:
    try:
        geo = json.loads(raw)
        column = geo["primary_column"]
        described = geo["columns"][column]
        if column not in names or not isinstance(described, dict):
            raise ValueError(f"no column {str(column)[:40]!r}")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InvalidInput(f"{path}: its 'geo' metadata is broken ({error!r}); write it anew as GeoParquet") from None
    return str(column), described


def _crs(path: Path, described: dict[str, Any]) -> str:
    """PROJJSON; left out means OGC:CRS84, null means that nobody knows."""
    if "crs" not in described:
        return "OGC:CRS84"
    if described["crs"] is None:
        raise no_crs(path)
    try:
        found = CRS.from_json_dict(described["crs"])
        authority = found.to_authority(min_confidence=100)
    except (ProjError, TypeError, AttributeError, ValueError):
        raise InvalidInput(f"{path}: its CRS is no PROJJSON that PROJ knows; say which it is with --crs") from None
    if authority and CRS.from_authority(*authority) == found:
        return f"{authority[0]}:{authority[1]}"
    return str(found.to_wkt())
