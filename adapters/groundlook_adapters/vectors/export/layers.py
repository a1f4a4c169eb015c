"""Spooled regions → merged, placed on the map, and in batches of rows as they are written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice
from typing import Any

import numpy as np
import pyarrow as pa
import shapely

from groundlook.core.errors import InvalidInput
from groundlook.core.ports import Progress
from groundlook_adapters.vectors.degrees import allowance, to_degrees
from groundlook_adapters.vectors.export.features import Kind
from groundlook_adapters.vectors.export.rows import (
    FEATURE_COLUMNS,
    REVIEWED_COLUMNS,
    feature_row,
    reviewed_row,
    schema,
)
from groundlook_adapters.vectors.export.spool import Member, ScenePlace, Spool, SpooledPiece
from groundlook_adapters.vectors.export.write import Layer
from groundlook_adapters.vectors.geometry.shapes import to_map
from groundlook_adapters.vectors.seams.merge import Piece, merge_stream
from groundlook_adapters.vectors.systems import mover

LONLAT = "EPSG:4326"
BATCH_ROWS = 5000

Placed = tuple[tuple[Any, ...], Any]
"""A row of values and its shapely geometry on the map."""


@dataclass(frozen=True, slots=True)
class Merging:
    """`instances`: join the pieces of one object in neighbouring tiles; `dissolve`: labels (water, land cover) of
    which everything that touches becomes one feature. A vector feature of which no piece was
    edited, relabelled or removed (on a tile that somebody looked at) is always that feature."""

    instances: bool = True
    dissolve: tuple[str, ...] = ()


@dataclass(slots=True)
class Tally:
    """What came of the regions, counted as they are written. `merged`: features made of several regions; `originals`:
    features that are the vector feature they came in as."""

    labels: Counter[str] = field(default_factory=Counter)
    merged: int = 0
    originals: int = 0


class Layers:
    """Layers of what `spool` holds. `degrees`: as RFC 7946 wants longitude and latitude, see `to_degrees`."""

    def __init__(self, spool: Spool, merging: Merging, progress: Progress, degrees: bool = False) -> None:
        self._degrees = degrees
        self.tally = Tally()
        self._spool, self._merging, self._progress = spool, merging, progress
        self._done = 0

    def features(self, name: str, crs: str, kinds: Sequence[Kind], scenes: Sequence[ScenePlace]) -> Layer:
        """The regions of `kinds` in `scenes`, which share `crs` unless that is WGS84 degrees."""
        return Layer(
            name,
            crs,
            _geometry_type(kinds),
            schema(FEATURE_COLUMNS),
            lambda: _batches(self._place(crs, kinds, scenes), FEATURE_COLUMNS, _geometry_type(kinds)),
        )

    def reviewed(self, name: str, crs: str, scenes: Sequence[ScenePlace]) -> Layer:
        """The outlines of the tiles that were looked at."""

        def rows() -> Iterator[Placed]:
            for scene in scenes:
                spooled = ((reviewed_row(r, scene), _window_outline(*r[0])) for r in self._spool.reviewed(scene.id))
                yield from self._on_map(spooled, scene, crs)

        return Layer(
            name,
            crs,
            "MultiPolygon",
            schema(REVIEWED_COLUMNS),
            lambda: _batches(rows(), REVIEWED_COLUMNS, "MultiPolygon"),
        )

    def _place(self, crs: str, kinds: Sequence[Kind], scenes: Sequence[ScenePlace]) -> Iterator[Placed]:
        for scene in scenes:
            for kind in (k for k in kinds if k in self._spool.kinds(scene.id)):
                for opinion in self._spool.opinions(scene.id, kind):
                    yield from self._counted(self._on_map(self._merged(scene, kind, opinion), scene, crs))
                    yield from self._counted(self._originals(scene, kind, opinion, crs))

    def _counted(self, placed: Iterable[Placed]) -> Iterator[Placed]:
        for row, geometry in placed:
            self.tally.labels[row[_LABEL]] += 1
            yield row, geometry

    def _merged(self, scene: ScenePlace, kind: Kind, opinion: int) -> Iterator[Placed]:
        """Rows with their geometries in pixels of the scene."""
        pieces = self._tick(self._spool.read(scene.id, kind, opinion))
        if kind != "tiles" and self._merging.instances:
            yield from self._joined(pieces, scene, kind, opinion)
            return
        dissolve = self._merging.dissolve if kind == "regions" else ()
        for piece in pieces:
            if piece.member.label not in dissolve:
                yield feature_row([piece.member], kind, scene, opinion, "single", 1, None), piece.geometry
        if dissolve:
            again = self._spool.read(scene.id, kind, opinion)
            yield from self._joined((p for p in again if p.member.label in dissolve), scene, kind, opinion)

    def _joined(self, pieces: Iterable[SpooledPiece], scene: ScenePlace, kind: Kind, opinion: int) -> Iterator[Placed]:
        joinable = (Piece(p.geometry, p.member.label, p.window, p.member) for p in pieces)
        surfaces = self._merging.dissolve if kind == "regions" else ()
        for found in merge_stream(joinable, surfaces):
            members = [piece.key for piece in found.members]
            self.tally.merged += len(members) > 1
            yield (
                feature_row(members, kind, scene, opinion, found.rule, found.views, found.iou_min),
                found.geometry,
            )

    def _originals(self, scene: ScenePlace, kind: Kind, opinion: int, crs: str) -> Iterator[Placed]:
        pieces = self._tick(self._spool.read_whole(scene.id, kind, opinion))
        for number, group in groupby((p.member for p in pieces), key=_original_of):
            members: list[Member] = list(group)
            blob, native = self._spool.original(number)
            geometry = shapely.force_2d(shapely.from_wkb(blob))
            self.tally.originals += 1
            views = len({m.tile_uid for m in members})
            (placed,) = self._moved([geometry], native, crs, scene)
            yield feature_row(members, kind, scene, opinion, "original", views, None), placed

    def _on_map(self, rows: Iterable[Placed], scene: ScenePlace, crs: str) -> Iterator[Placed]:
        """Geometries in pixels of `scene` → in `crs`, many at a time."""
        rows = iter(rows)
        while chunk := list(islice(rows, BATCH_ROWS)):
            placed = to_map(_array([geometry for _, geometry in chunk]), scene.georef)
            moved = self._moved(placed, scene.georef.crs, crs, scene)
            yield from zip((row for row, _ in chunk), moved, strict=True)

    def _moved(self, geometries: Sequence[Any], source: str, target: str, scene: ScenePlace) -> Sequence[Any]:
        if not self._degrees:
            return moved(geometries, source, target)
        try:
            return to_degrees(geometries, source, allowance(scene.georef))
        except InvalidInput as error:
            raise InvalidInput(f"{error}; export these regions as gpkg") from None

    def _tick(self, pieces: Iterable[SpooledPiece]) -> Iterator[SpooledPiece]:
        for piece in pieces:
            self._done += 1
            if self._done % 1000 == 0:
                total = self._spool.pieces
                self._progress(min(1.0, self._done / total), f"{self._done:,} of {total:,} regions written")
            yield piece


_LABEL = [name for name, _ in FEATURE_COLUMNS].index("label")


def _original_of(member: Member) -> int:
    return member.original or 0


def _geometry_type(kinds: Sequence[Kind]) -> str:
    """One type per layer, as GIS programs like it best; several kinds in one layer only where the format has no
    layers."""
    if len(kinds) > 1:
        return "Unknown"
    return "Point" if kinds[0] == "points" else "MultiPolygon"


def _window_outline(column: int, row: int, width: int, height: int) -> Any:
    return shapely.box(column, row, column + width, row + height)


def moved(geometries: Sequence[Any], source: str, target: str) -> Sequence[Any]:
    """Geometries of one CRS in another, vertex by vertex; the same objects where both are the same. Raises InvalidInput
    where there is no such place."""
    try:
        move = mover(source, target)
        if move is None:
            return geometries
        # pyproj takes a single point in an array for a scalar, which NumPy deprecates: never send one alone.
        placed = shapely.transform(_array([*geometries, geometries[-1]]), move)[:-1]
        if np.isfinite(shapely.get_coordinates(placed)).all():
            return list(placed)
    except InvalidInput:
        pass
    raise InvalidInput(f"vector data in {source[:60]!r} has no place in {target[:60]!r}; load it again in that CRS")


def _batches(rows: Iterator[Placed], columns: Sequence[tuple[str, Any]], geometry_type: str) -> Iterator[Any]:
    layout = schema(columns)
    while chunk := list(islice(rows, BATCH_ROWS)):
        values = zip(*(row for row, _ in chunk), strict=True)
        arrays = [pa.array(column, kind) for column, (_, kind) in zip(values, columns, strict=True)]
        geometries = _array([geometry for _, geometry in chunk])
        if geometry_type == "MultiPolygon":
            geometries = _several(geometries)
        yield pa.record_batch([*arrays, pa.array(list(shapely.to_wkb(geometries)), pa.binary())], schema=layout)


def _several(geometries: Any) -> Any:
    """Polygons as multipolygons of one part."""
    single = shapely.get_type_id(geometries) == shapely.GeometryType.POLYGON
    if single.any():
        geometries[single] = shapely.multipolygons(geometries[single], indices=np.arange(int(single.sum())))
    return geometries


def _array(geometries: Sequence[Any]) -> Any:
    found = np.empty(len(geometries), dtype=object)
    found[:] = list(geometries)
    return found
