"""Features of a vector file as pieces of tiles: moved into each scene's CRS once, then cut in tile pixels.

Vertices are moved one by one, exactly; no vertex is added on the way. A straight edge of a file in degrees is a curve
in UTM: over the side of a building that is nothing, over an edge of 10 km a few metres. Cutting is done in pixels,
where a turned or sheared tile is an upright rectangle and where coordinates are small enough to keep every digit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput
from groundlook.core.geo import GeoRef, TileRef
from groundlook_adapters.vectors.load.read import finite, mend, same_dimension
from groundlook_adapters.vectors.systems import Bounds, covering, mover, system

_EDGE = 1e-6
"""Pixels that a point may lie outside of its tile by rounding."""
_CRUMB = 1e-6
"""Square pixels under which two things only touch."""
_TURN = 360.0


@dataclass(frozen=True, slots=True)
class Piece:
    """What one tile shows of one part. `part`, `tile`: their positions in what was given. `geometry`: shapely, in
    tile pixels. `share`: of the part's area, 0…1; 1 for what lies in the tile as a whole."""

    part: int
    tile: int
    geometry: Any
    share: float


class Ground:
    """Where the tiles of a project lie, for files of any CRS. Tiles without georeference are not on any ground."""

    def __init__(self, tiles: Sequence[TileRef]) -> None:
        by_crs: dict[str, list[int]] = {}
        for place, tile in enumerate(tiles):
            if tile.georef is not None:
                by_crs.setdefault(tile.georef.crs, []).append(place)
        self._scenes = {crs: _Scenes(crs, tiles, places) for crs, places in by_crs.items()}

    def bounds(self, crs: str) -> Bounds | None:
        """What a file in `crs` must be read of; None: all of it. Raises InvalidInput where no tile can be reached."""
        boxes: list[Bounds] = []
        for scenes in self._reached(crs):
            found = scenes.boxes(crs)
            if found is None:
                return None
            boxes += found
        left, bottom, right, top = np.array(boxes).T
        return float(left.min()), float(bottom.min()), float(right.max()), float(top.max())

    def unreached(self, crs: str) -> list[str]:
        """The CRSs of tiles that nothing leads to from `crs`."""
        return [scenes.crs for scenes in self._scenes.values() if not _leads(crs, scenes.crs)]

    def cut(self, parts: NDArray[Any], crs: str) -> Iterator[Piece]:
        """The pieces of `parts` ((N,) simple, valid shapely geometries in `crs`), tile by tile. Polygons are cut at
        the tile's edge; points on it belong to it; lines are cut, too."""
        for scenes in self._reached(crs):
            yield from scenes.cut(parts, crs)

    def _reached(self, crs: str) -> list[_Scenes]:
        found = [scenes for scenes in self._scenes.values() if _leads(crs, scenes.crs)]
        if not found:
            there = ", ".join(s[:40] for s in self._scenes) or "none is georeferenced"
            raise InvalidInput(f"no tile of the project can be reached from CRS {crs[:40]!r} (tiles: {there})")
        return found


class _Scenes:
    """The tiles of one CRS, and a tree of their outlines' boxes."""

    def __init__(self, crs: str, tiles: Sequence[TileRef], places: Sequence[int]) -> None:
        self.crs = crs
        self._tiles, self._places = tiles, places
        corners = np.array([tiles[place].outline() for place in places])
        low, high = corners.min(axis=1), corners.max(axis=1)
        scenes: dict[str, list[int]] = {}
        for row, place in enumerate(places):
            scenes.setdefault(tiles[place].source, []).append(row)
        self._frames = [corners[rows].reshape(-1, 2) for rows in scenes.values()]
        self._boxes: dict[str, list[Bounds] | None] = {}
        self._tree = shapely.STRtree(shapely.box(low[:, 0], low[:, 1], high[:, 0], high[:, 1]))
        self._turns = (0.0, -_TURN, _TURN) if system(crs).is_geographic else (0.0,)

    def boxes(self, crs: str) -> list[Bounds] | None:
        """What covers these scenes in `crs`; None: it can't be said."""
        if crs not in self._boxes:
            found = [covering(frame, self.crs, crs) for frame in self._frames]
            self._boxes[crs] = [box for scene in found for box in scene] if all(found) else None
        return self._boxes[crs]

    def cut(self, parts: NDArray[Any], crs: str) -> Iterator[Piece]:
        """See `Ground.cut`."""
        rows = self._near(parts, crs)
        move = mover(crs, self.crs)
        moved = parts[rows] if move is None else shapely.transform(parts[rows], move)
        bounds = shapely.bounds(moved).reshape(-1, 4)
        usable = np.flatnonzero(finite(moved))
        for turn in self._turns:  # a scene in degrees may count on beyond ±180, a file seldom does
            boxes = bounds[usable] + (turn, 0.0, turn, 0.0)
            which, at = self._tree.query(shapely.box(*boxes.T))
            order = np.lexsort((which, at))
            which, at = usable[which[order]], at[order]
            firsts = np.flatnonzero(np.diff(at, prepend=-1))
            for near, some in zip(at[firsts], np.split(which, firsts)[1:], strict=True):
                for piece in _in_tile(moved[some], self._tiles[self._places[near]], turn):
                    yield Piece(int(rows[some[piece.part]]), self._places[near], piece.geometry, piece.share)

    def _near(self, parts: NDArray[Any], crs: str) -> NDArray[np.int64]:
        boxes = self.boxes(crs)
        if boxes is None:
            return np.arange(len(parts))
        tree = shapely.STRtree(shapely.box(*np.array(boxes).T))
        found, _ = tree.query(shapely.box(*shapely.bounds(parts).reshape(-1, 4).T))
        rows: NDArray[np.int64] = np.unique(found)
        return rows


def _in_tile(moved: NDArray[Any], tile: TileRef, turn: float) -> Iterator[Piece]:
    assert tile.georef is not None  # noqa: S101 (only such tiles are in the tree)
    pixels = _pixels(moved, tile.georef, turn)
    for part, (geometry, share) in enumerate(_cut(pixels, tile.size)):
        if geometry is not None:
            yield Piece(part, 0, geometry, share)


def _pixels(shapes: NDArray[Any], georef: GeoRef, turn: float) -> NDArray[Any]:
    shift = np.array([turn, 0.0])
    placed = shapely.transform(shapes, lambda points: georef.to_pixel(points + shift))
    return mend(placed)[0]


def _cut(shapes: NDArray[Any], size: tuple[int, int]) -> Iterator[tuple[Any, float]]:
    """Each of `shapes` as the tile shows it, and which share of it that is; None where it shows nothing."""
    width, height = size
    frame = shapely.box(0, 0, width, height)
    shapely.prepare(frame)
    inside = shapely.covers(frame, shapes)
    for shape, whole in zip(shapes, inside, strict=True):
        if whole:
            yield shape, 1.0
        elif shape.geom_type == "Point":
            yield _point(shape, width, height)
        else:
            yield _clipped(shape, frame)


def _point(shape: Any, width: int, height: int) -> tuple[Any, float]:
    x, y = shape.x, shape.y
    if not (-_EDGE <= x <= width + _EDGE and -_EDGE <= y <= height + _EDGE):
        return None, 0.0
    return shapely.Point(min(max(x, 0.0), width), min(max(y, 0.0), height)), 1.0


def _clipped(shape: Any, frame: Any) -> tuple[Any, float]:
    piece = same_dimension(shapely.intersection(shape, frame), shape)
    if piece.is_empty:
        return None, 0.0
    if shape.geom_type in ("LineString", "LinearRing"):
        return piece, float(piece.length / shape.length)
    return (piece, float(piece.area / shape.area)) if piece.area > _CRUMB else (None, 0.0)


def _leads(source: str, target: str) -> bool:
    try:
        mover(source, target)
    except InvalidInput:
        return False
    return True
