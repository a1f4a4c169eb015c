"""Features out of a vector file, batch by batch: memory holds one batch, whatever the file's size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput
from groundlook_adapters.vectors.load.source import FAILURES, offline
from groundlook_adapters.vectors.load.vectorfile import Source, broken
from groundlook_adapters.vectors.systems import Bounds

BATCH = 4096


@dataclass(frozen=True, slots=True)
class Features:
    """`ids`: what the file calls them, (N,) int64; GeoParquet: the row. `geometry`: (N,) shapely, two-dimensional,
    valid, in the file's CRS, x first. `values`: of the asked column as text, None where it is null.

    `broken`: further ones whose geometry is beyond repair; `repaired`: of the N, those that were not valid.
    """

    ids: NDArray[np.int64]
    geometry: NDArray[Any]
    values: Sequence[str | None]
    broken: int
    repaired: int


def read(
    source: Source, near: Bounds | None = None, column: str | None = None, size: int = BATCH
) -> Iterator[Features]:
    """The features whose bounds meet `near` (in the file's CRS; None = all), in the file's order. Features without
    geometry are passed over. Raises InvalidInput, also on the way where a file is cut off."""
    if column is not None and column not in source.fields:
        there = ", ".join(source.fields[:30]) or "none"
        raise InvalidInput(f"{source.path} has no column {column!r}; its columns: {there}")
    rows = _parquet(source, column, size) if source.form == "Parquet" else _ogr(source, near, column, size)
    for ids, wkb, values in rows:
        yield _features(ids, wkb, values, near)


_Raw = tuple[NDArray[np.int64], NDArray[Any], Sequence[Any]]


def _ogr(source: Source, near: Bounds | None, column: str | None, size: int) -> Iterator[_Raw]:
    options: dict[str, Any] = {"layer": source.layer, "columns": [column] if column else [], "bbox": near}
    try:
        with ExitStack() as stack:
            with offline():
                opened = pyogrio.open_arrow(source.path, return_fids=True, use_pyarrow=True, batch_size=size, **options)
                meta, reader = stack.enter_context(opened)
            geometry = meta["geometry_name"] or "wkb_geometry"
            for batch in reader:
                yield _raw(batch, batch.column(meta["fid_column"]).to_numpy(), geometry, column)
    except FAILURES as error:
        raise broken(source.path, error) from None


def _parquet(source: Source, column: str | None, size: int) -> Iterator[_Raw]:
    from groundlook_adapters.vectors.load.parquet import batches

    first = 0
    for batch in batches(source, [source.geometry, *([column] if column else [])], size):
        yield _raw(batch, np.arange(first, first + batch.num_rows), source.geometry, column)
        first += batch.num_rows


def _raw(batch: Any, ids: NDArray[Any], geometry: str, column: str | None) -> _Raw:
    names = batch.schema.names
    wkb = np.array(batch.column(names.index(geometry)).to_pylist(), dtype=object)
    values = batch.column(names.index(column)).to_pylist() if column else [None] * len(ids)
    return ids.astype(np.int64), wkb, values


def _features(ids: NDArray[np.int64], wkb: NDArray[Any], values: Sequence[Any], near: Bounds | None) -> Features:
    there = np.array([w is not None for w in wkb], dtype=bool)
    shapes = shapely.force_2d(shapely.from_wkb(wkb, on_invalid="ignore"))
    usable = there & ~shapely.is_missing(shapes) & ~shapely.is_empty(shapes)
    usable[usable] = finite(shapes[usable])
    bad = int((there & ~usable & ~shapely.is_empty(shapes)).sum())
    if near is not None:
        left, bottom, right, top = shapely.bounds(shapes).T
        with np.errstate(invalid="ignore"):
            usable &= (left <= near[2]) & (right >= near[0]) & (bottom <= near[3]) & (top >= near[1])
    rows = np.flatnonzero(usable)
    mended, repaired = mend(shapes[rows])
    kept = ~shapely.is_empty(mended)
    rows = rows[kept]
    texts = [_text(values[i]) for i in rows]
    return Features(ids[rows], mended[kept], texts, bad + int((~kept).sum()), int((repaired & kept).sum()))


def mend(shapes: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """(N,) geometries → valid ones of the same dimension (empty where nothing is left), and which were not valid.
    Repaired by make_valid, never by a buffer of 0: that drops the smaller half of a figure of eight."""
    wrong = ~shapely.is_valid(shapes)
    if not wrong.any():
        return shapes, wrong
    shapes = shapes.copy()
    fixed = shapely.make_valid(shapes[wrong])
    shapes[wrong] = [same_dimension(f, s) for f, s in zip(fixed, shapes[wrong], strict=True)]
    return shapes, wrong


def same_dimension(geometry: Any, like: Any) -> Any:
    """The parts of a geometry of any type that have the dimension of `like`: polygons of a repaired polygon."""
    dimension = shapely.get_dimensions(like)
    parts = [p for p in leaves(geometry) if shapely.get_dimensions(p) == dimension and (dimension < 2 or p.area > 0)]
    if len(parts) == 1:
        return parts[0]
    return shapely.union_all(parts) if parts else shapely.GeometryCollection()


def leaves(geometry: Any) -> list[Any]:
    """The simple geometries in one of any type, in order, nested collections opened."""
    if not hasattr(geometry, "geoms"):
        return [] if geometry.is_empty else [geometry]
    return [leaf for part in geometry.geoms for leaf in leaves(part)]


def finite(shapes: NDArray[Any]) -> NDArray[np.bool_]:
    """(N,) Which have no coordinate that is NaN or infinite."""
    points, owner = shapely.get_coordinates(shapes, return_index=True)
    bad = np.unique(owner[~np.isfinite(points).all(axis=1)])
    good = np.ones(len(shapes), dtype=bool)
    good[bad] = False
    return good


def _text(value: Any) -> str | None:
    """A cell as people write it: 3 rather than 3.0, which integers with gaps are read as."""
    if value is None or value != value:
        return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()
