"""Layers → files, all or nothing."""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pyogrio.errors

from groundlook.core.errors import InvalidInput
from groundlook_adapters.vectors.export.geoparquet import write_geoparquet
from groundlook_adapters.vectors.export.rows import GEOMETRY
from groundlook_adapters.vectors.systems import system

DRIVERS = {"gpkg": "GPKG", "geojson": "GeoJSON", "flatgeobuf": "FlatGeobuf", "geoparquet": "Parquet"}

_ENDINGS = {"gpkg": "gpkg", "geojson": "geojson", "flatgeobuf": "fgb", "geoparquet": "parquet"}
"""What a draft is called: GDAL goes by the ending, and users may choose another."""

# RFC 7946 has GDAL wind rings counter-clockwise and cut them at the antimeridian. Its usual 7 digits round by up to
# 6 mm, a quarter of a pixel of a 2 cm drone image; 9 digits by 0.06 mm. Text that looks like JSON stays text, so that
# a column has one type.
_GEOJSON = {"RFC7946": "YES", "COORDINATE_PRECISION": "9", "AUTODETECT_JSON_STRINGS": "NO"}

_REFUSALS = (
    pyogrio.errors.DataSourceError,
    pyogrio.errors.DataLayerError,
    pyogrio.errors.FeatureError,
    pyogrio.errors.FieldError,
    pyogrio.errors.GeometryError,
    pyogrio.errors.CRSError,
    pa.ArrowException,
    RuntimeError,
)


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of one file. `geometry_type`: as GDAL names it; `schema`: Arrow's, the last column is the geometry as
    WKB in `crs`, x/longitude first; `batches`: record batches of it, made anew by every call."""

    name: str
    crs: str
    geometry_type: str
    schema: Any
    batches: Callable[[], Iterator[Any]]


@dataclass(frozen=True, slots=True)
class Written:
    """A layer on disk."""

    file: Path
    layer: str
    crs: str
    features: int


@contextmanager
def draft(path: Path) -> Iterator[Path]:
    """A hidden folder beside `path`, gone at the end, for what is not finished. Whatever the disk refuses inside is an
    InvalidInput that names `path` and says what is free."""
    if not path.parent.is_dir():
        raise InvalidInput(f"{path.parent} is not a folder; make it first")
    folder = path.parent / f".{path.stem[:80]}.{secrets.token_hex(4)}"
    try:
        folder.mkdir()
        yield folder
    except (OSError, sqlite3.Error) as error:
        free = shutil.disk_usage(path.parent).free >> 20
        reason = " ".join(str(error).split()).replace(str(folder), str(path.parent))[:300]
        raise InvalidInput(
            f"{path} can't be written ({reason}); {free} MiB are free there: make room, or write to another folder"
        ) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write(files: Mapping[Path, Sequence[Layer]], form: str, folder: Path) -> list[Written]:
    """Write every file inside `folder`, count what is on disk, then put them all in their places. Raises OSError."""
    written, finished = [], {}
    for number, (path, layers) in enumerate(files.items()):
        beside = finished[path] = folder / f"{number}.{_ENDINGS[form]}"
        for layer in layers:
            rows = _write_layer(beside, form, layer)
            _check(beside, form, layer.name, rows)
            written.append(Written(path, layer.name, layer.crs, rows))
        with beside.open("rb") as file:
            os.fsync(file.fileno())
    for path, beside in finished.items():
        os.replace(beside, path)
    return written


def _write_layer(file: Path, form: str, layer: Layer) -> int:
    watched = _Watched(layer.batches())
    try:
        if form == "geoparquet":
            write_geoparquet(file, layer.crs, layer.schema, watched)
        else:
            pyogrio.write_arrow(
                pa.RecordBatchReader.from_batches(layer.schema, iter(watched)),
                file,
                layer=layer.name,
                driver=DRIVERS[form],
                geometry_name=GEOMETRY,
                geometry_type=layer.geometry_type,
                crs=system(layer.crs).to_wkt(),
                layer_options=_options(form, file),
            )
    except _REFUSALS as error:
        if watched.error is not None:  # GDAL only says that the stream ended
            raise watched.error from None
        raise OSError(str(error)) from None
    return watched.rows


def _options(form: str, file: Path) -> dict[str, str]:
    if form == "flatgeobuf":
        return {"TEMPORARY_DIR": str(file.parent)}
    return _GEOJSON if form == "geojson" else {}


class _Watched:
    """Passes batches on, counts their rows and keeps what was raised on the way."""

    def __init__(self, batches: Iterable[Any]) -> None:
        self._batches = batches
        self.rows = 0
        self.error: BaseException | None = None

    def __iter__(self) -> Iterator[Any]:
        try:
            for batch in self._batches:
                self.rows += batch.num_rows
                yield batch
        except GeneratorExit:
            raise
        except BaseException as error:
            self.error = error
            raise


def _check(file: Path, form: str, layer: str, rows: int) -> None:
    # GDAL's GeoJSON writer does not notice a full disk.
    try:
        if form == "geoparquet":
            found = pq.read_metadata(file).num_rows
        else:
            name = layer if form == "gpkg" else None
            found = pyogrio.read_info(file, layer=name, force_feature_count=True)["features"]
    except _REFUSALS as error:
        raise OSError(str(error)) from None
    if found != rows:
        raise OSError(f"{found} of {rows} features reached the disk")
