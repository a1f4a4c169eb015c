"""Regions on their way out, kept in a temporary SQLite file, so that a million of them need no memory.

They come in any order and are read back scene by scene, in the order of their windows, as the seam merge wants them.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import shapely

from groundlook.core.errors import InvalidInput
from groundlook.core.geo import GeoRef, TileRef, WindowPx
from groundlook.core.geometry import Point, Shape, WholeTile
from groundlook.core.types import Original
from groundlook_adapters.vectors.export.features import Feature, Kind, Reviewed
from groundlook_adapters.vectors.export.originals import unedited, usable
from groundlook_adapters.vectors.export.waiting import Waiting, is_plain
from groundlook_adapters.vectors.geometry.shapes import to_geometry

_SCHEMA = """
pragma journal_mode = off;
pragma synchronous = off;
pragma cache_size = -32000;
create table tile (
    id integer primary key, scene integer, uid text unique, split text, col integer, row integer, width integer,
    height integer
);
create table note (
    id integer primary key, task integer, annotation integer, annotator text, created real, lead_time real,
    project integer
);
create table original (id integer primary key, digest blob unique, source text, crs text, geometry blob);
create table piece (
    id integer primary key, scene integer, kind text, opinion integer, row integer, col integer, width integer,
    height integer, tile integer, note integer, region text, label text, score real, origin text, geometry blob,
    original integer, edited integer, whole integer default 0
);
create table reviewed (
    tile integer, task integer, project integer, annotator text, regions integer, empty integer
);
create table removed (original integer, scene integer, opinion integer);
"""
_INDEX = """
create index by_original on piece (original, scene, opinion) where original is not null;
create index by_removed on removed (original, scene, opinion);
update piece set whole = 1 where original is not null and not exists (
    select 1 from piece other where other.original = piece.original and other.scene = piece.scene
    and other.opinion = piece.opinion and (other.edited or other.label <> piece.label)
) and not exists (
    select 1 from removed where removed.original = piece.original and removed.scene = piece.scene
    and removed.opinion = piece.opinion
);
create index by_place on piece (scene, kind, whole, opinion, row, col, id);
create index by_task on reviewed (tile, task);
"""
_PIECES = """
select p.col, p.row, p.width, p.height, p.opinion, p.geometry, p.region, p.label, p.score, p.origin,
    n.task, n.annotation, n.annotator, n.created, n.lead_time, n.project, t.uid, t.split, p.original, o.source
from piece p cross join note n on n.id = p.note cross join tile t on t.id = p.tile
    left join original o on o.id = p.original
where p.scene = ? and p.kind = ? and p.whole = ? and p.opinion = ?
"""
_CHUNK = 2000
_COLUMNS, _UID = 16, 9
"""Of what is known of a piece when it comes; which of them its name is."""
_SAME_GRID_PX = 1e-3
"""Two windows of one raster say the same grid to within rounding; a raster that was placed anew does not."""


@dataclass(frozen=True, slots=True)
class ScenePlace:
    """A raster that tiles were cut from. `georef`: of the whole scene's grid."""

    id: int
    source: str
    etag: str
    scene_id: str
    acquired: str | None
    georef: GeoRef


class Member(NamedTuple):
    """What is known of one region beside its geometry."""

    region: str
    label: str
    score: float | None
    origin: str
    task: int
    annotation: int
    annotator: str
    created: float
    lead_time: float
    project: int
    tile_uid: str
    split: str
    original: int | None
    source: str | None


class SpooledPiece(NamedTuple):
    """`geometry`: shapely, in pixels of the scene; `window`: where its tile lies in it."""

    geometry: Any
    window: WindowPx
    opinion: int
    member: Member


class Spool:
    """Add everything, `finish`, then read. `skipped`: regions that can't be written, by reason: "without_georef" (the
    tile is on no map), "without_area" (a box without width), "unreadable" (a mask that is none). `repaired`: how many
    crossed themselves."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.executescript(_SCHEMA)
        self._db.execute("begin")
        self.scenes: list[ScenePlace] = []
        self.pieces = self.repaired = 0
        self.skipped: Counter[str] = Counter()
        self._grids: dict[tuple[Any, ...], list[ScenePlace]] = {}
        self._tile: tuple[TileRef, tuple[int, int]] | None = None
        self._note: tuple[tuple[Any, ...], int] | None = None
        self._waiting = Waiting()

    def close(self) -> None:
        """Close the file, which is the caller's to remove."""
        self._db.close()

    def add(self, feature: Feature) -> None:
        """Keep one region, or count why it is left out."""
        tile, region = feature.tile, feature.region
        if tile.georef is None:
            self.skipped["without_georef"] += 1
            return
        column, row, width, height = tile.window
        geometry = None
        if not is_plain(region.shape):
            try:
                geometry, repaired = to_geometry(region.shape, tile.size)
            except InvalidInput:
                self.skipped["unreadable"] += 1
                return
            if geometry is None or geometry.is_empty:
                self.skipped["without_area"] += 1
                return
            self.repaired += repaired
        self.pieces += 1
        tile_id, scene = self._tile_of(tile, feature.split)
        original, edited = self._original(feature)
        head = (scene, kind_of(region.shape), feature.opinion, row, column, width, height, tile_id)
        said = (self._note_of(feature), _clean(region.uid), _clean(region.label), region.score, region.origin)
        self._waiting.add(region.shape, geometry, (column, row), (*head, *said, original, edited))
        if self._waiting.full:
            self._put()

    def _put(self) -> None:
        """What waits goes into the file."""
        waiting, self._waiting = self._waiting, Waiting()
        rows = []
        for blob, values in waiting.placed():
            name = values[_UID] or hashlib.sha256(blob).hexdigest()[:16]
            rows.append((*values[:_UID], name, *values[_UID + 1 : -2], blob, *values[-2:]))
        self._db.executemany(f"insert into piece values (null{', ?' * _COLUMNS}, 0)", rows)  # noqa: S608

    def add_reviewed(self, reviewed: Reviewed) -> None:
        """Keep one look at a tile. A tile that is on no map is passed over."""
        if reviewed.tile.georef is not None:
            tile, scene = self._tile_of(reviewed.tile, reviewed.split)
            gone = [(self._original_of(original), scene, reviewed.opinion) for original in reviewed.removed]
            self._db.executemany("insert into removed values (?, ?, ?)", gone)
            values = (tile, reviewed.task, reviewed.project, reviewed.annotator, reviewed.regions, reviewed.empty)
            self._db.execute("insert into reviewed values (?, ?, ?, ?, ?, ?)", values)

    def finish(self) -> None:
        """After the last region: put in order, and find the originals that are written as they were: every piece that
        came back is as it was sent, and none is missing from a tile that was looked at."""
        self._put()
        self._db.execute("commit")
        self._db.executescript(_INDEX)

    # reading

    def kinds(self, scene: int) -> set[Kind]:
        """The kinds of a scene's regions."""
        return {kind for (kind,) in self._db.execute("select distinct kind from piece where scene = ?", (scene,))}

    def opinions(self, scene: int, kind: Kind) -> list[int]:
        """The opinions there are on a scene, the first first."""
        sql = "select distinct opinion from piece where scene = ? and kind = ? order by opinion"
        return [number for (number,) in self._db.execute(sql, (scene, kind))]

    def read(self, scene: int, kind: Kind, opinion: int) -> Iterator[SpooledPiece]:
        """The regions that have a geometry of their own, ordered by their windows' row and column."""
        return self._read("order by p.row, p.col, p.id", (scene, kind, 0, opinion))

    def read_whole(self, scene: int, kind: Kind, opinion: int) -> Iterator[SpooledPiece]:
        """The regions that stand for an original; those of one original follow each other."""
        return self._read("order by p.original, p.id", (scene, kind, 1, opinion))

    def _read(self, order: str, key: tuple[Any, ...]) -> Iterator[SpooledPiece]:
        cursor = self._db.execute(f"{_PIECES} {order}", key)
        while rows := cursor.fetchmany(_CHUNK):
            geometries = shapely.from_wkb(np.array([row[5] for row in rows], dtype=object))
            for geometry, row in zip(geometries, rows, strict=True):
                yield SpooledPiece(geometry, row[:4], row[4], Member(*row[6:]))

    def original(self, number: int) -> tuple[bytes, str]:
        """WKB and CRS of an original."""
        found = self._db.execute("select geometry, crs from original where id = ?", (number,)).fetchone()
        return found[0], found[1]

    def has_reviewed(self) -> bool:
        """Whether any look at a tile was kept."""
        return bool(self._db.execute("select exists (select 1 from reviewed)").fetchone()[0])

    def reviewed(self, scene: int) -> Iterator[tuple[Any, ...]]:
        """((column, row, width, height), tile uid, split, task, project, annotators as JSON text, how many
        annotations, regions in all of them, 1 where none has a region) of each task, in the order of the windows."""
        sql = """
        select t.col, t.row, t.width, t.height, t.uid, t.split, r.task, max(r.project),
            json_group_array(distinct r.annotator), count(*), sum(r.regions), min(r.empty)
        from tile t join reviewed r on r.tile = t.id where t.scene = ?
        group by t.id, r.task order by t.row, t.col, t.id, r.task
        """
        for row in self._db.execute(sql, (scene,)):
            yield row[:4], *row[4:]

    # what many regions share

    def _tile_of(self, tile: TileRef, split: str) -> tuple[int, int]:
        """(its row, its scene). Regions of a tile follow each other, so the last one is remembered."""
        if self._tile is None or (self._tile[0] is not tile and self._tile[0] != tile):
            uid = tile.uid
            found = self._db.execute("select id, scene from tile where uid = ?", (uid,)).fetchone()
            if found is None:
                values = (self._scene_of(tile), uid, split, *tile.window)
                added = self._db.execute("insert into tile values (null, ?, ?, ?, ?, ?, ?, ?)", values)
                found = (added.lastrowid, values[0])
            self._tile = (tile, found)
        return self._tile[1]

    def _scene_of(self, tile: TileRef) -> int:
        column, row, _, _ = tile.window
        whole = _placed(tile).window(-column, -row)
        a, b, _, d, e, _ = whole.transform
        alike = self._grids.setdefault((tile.source, tile.etag, whole.crs, a, b, d, e), [])
        corner = whole.to_map(np.zeros((1, 2)))
        for scene in alike:
            if np.abs(scene.georef.to_pixel(corner)).max() < _SAME_GRID_PX:
                return scene.id
        scene = ScenePlace(len(self.scenes), tile.source, tile.etag, tile.scene_id, tile.acquired, whole)
        alike.append(scene)
        self.scenes.append(scene)
        return scene.id

    def _note_of(self, feature: Feature) -> int:
        who = _clean(feature.annotator)
        key = (feature.task, feature.annotation, who, feature.created, feature.lead_time, feature.project)
        if self._note is None or self._note[0] != key:
            number = self._db.execute("insert into note values (null, ?, ?, ?, ?, ?, ?)", key).lastrowid
            self._note = (key, int(number or 0))
        return self._note[1]

    def _original(self, feature: Feature) -> tuple[int | None, bool]:
        """(its row, whether the region can't stand for it)."""
        original = feature.original
        if original is None:
            return None, False
        same = unedited(feature.region.shape, original.shape) and usable(original, original.shape) is not None
        return self._original_of(original), not same

    def _original_of(self, original: Original) -> int:
        """Its row; made where there is none."""
        head = f"{len(original.source)}|{original.source}|{original.crs}|".encode()
        digest = hashlib.sha256(head + original.geometry).digest()
        values = (digest, original.source, original.crs, original.geometry)
        self._db.execute("insert or ignore into original values (null, ?, ?, ?, ?)", values)
        (number,) = self._db.execute("select id from original where digest = ?", (digest,)).fetchone()
        return int(number)


def _clean(text: str) -> str:
    """Without what UTF-8 can't hold (Label Studio's JSON may have half a character), and without NUL, at which GDAL
    takes a text to end."""
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def _placed(tile: TileRef) -> GeoRef:
    if tile.georef is None:
        raise InvalidInput(f"{tile.source} has no georeference; leave its tiles out")
    return tile.georef


def kind_of(shape: Shape) -> Kind:
    """Where a region is written."""
    if isinstance(shape, Point):
        return "points"
    return "tiles" if isinstance(shape, WholeTile) else "regions"
