"""Which ground decides whether a tile is held out: one place, one fold, on every date and in every CRS.

Folds are given to blocks of a map (core/tiling), so two tiles of one place agree if they are looked up in the blocks
of one CRS. Every scene therefore takes the *split spaces* of the ground that it overlaps, its own CRS only where
there is none yet; a tile whose spaces disagree is `margin`. By induction any two tiles that share ground share a
space, hence a block, hence can't be one trained on and the other held out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from groundlook.core.geo import GeoRef, Points, TileRef, WindowPx
from groundlook.core.tiling import Split, spatial_split
from groundlook_adapters.rasters.crs import parse_crs
from groundlook_adapters.rasters.tiling.footprint import Box, scene_extent
from groundlook_adapters.rasters.tiling.reproject import from_lonlat, reproject

_EDGE = 16
"""Points per side of a tile's outline in another CRS."""


class Places:
    """The ground of a project, scene by scene, and the split space of each. Longitudes are only worked out once a
    second CRS comes along."""

    def __init__(self) -> None:
        self._rows: list[tuple[GeoRef, WindowPx, str]] = []
        self._done = 0
        self._boxes = np.zeros((0, 4))
        self._owners: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._names: dict[str, int] = {}

    def add(self, georef: GeoRef, window: WindowPx, space: str) -> None:
        """Ground that a scene covers (`window` px of what `georef` places), and the space that decides its folds."""
        self._rows.append((georef, window, space))
        self._names.setdefault(space, len(self._names))
        self._names.setdefault(georef.crs, len(self._names))

    def spaces(self, georef: GeoRef, window: WindowPx) -> tuple[str, ...]:
        """The CRSs whose blocks decide the folds of a scene there: its own if it is among them first, then in the
        order in which they came."""
        if set(self._names) <= {georef.crs}:
            return (georef.crs,)
        extent = scene_extent(georef, window)
        if extent is None:
            return (georef.crs,)
        self._locate()
        found = {int(i) for box in _unrolled(extent) for i in self._owners[_overlap(self._boxes, box)]}
        names = [name for name, i in self._names.items() if i in found]
        return tuple(sorted(names, key=lambda name: name != georef.crs)) or (georef.crs,)

    def _locate(self) -> None:
        boxes: list[Box] = []
        owners: list[int] = []
        for georef, window, space in self._rows[self._done :]:
            extent = scene_extent(georef, window)
            for box in () if extent is None else _unrolled(extent):
                boxes.append(box)
                owners.append(self._names[space])
        self._done = len(self._rows)
        if boxes:
            self._boxes = np.concatenate([self._boxes, np.array(boxes)])
            self._owners = np.concatenate([self._owners, np.array(owners, dtype=np.int64)])


def fold(tile: TileRef, spaces: Sequence[str], block: Callable[[str], float], share: float, seed: str) -> Split:
    """Train, val or margin, by the blocks of every one of `spaces`. `block`: side of a block in a space's units;
    `share`, `seed`: see `core.tiling.spatial_split`. A tile that has no place in one of them is `margin`."""
    if tile.georef is None:
        return spatial_split(tile, block(""), share, seed)
    folds: set[Split] = set()
    for space in spaces:
        found = outlines(tile, space)
        if not found:
            return "margin"
        folds |= {spatial_split(tile, block(space), share, seed, (space, points)) for points in found}
    return folds.pop() if len(folds) == 1 else "margin"


def side_in(tile: TileRef, space: str) -> float | None:
    """The longer side of the tile's envelope in a space, in its units: what a block there is measured by."""
    found = outlines(tile, space)
    return float(max(np.ptp(points, axis=0).max() for points in found)) if found else None


def outlines(tile: TileRef, space: str) -> list[Points]:
    """Points whose envelopes cover the tile in `space`: two of them where it goes round the back of the Earth."""
    assert tile.georef is not None  # noqa: S101 (the callers asked)
    if space == tile.georef.crs:
        return _wrapped(tile.outline(), space)
    width, height = tile.size
    t = np.linspace(0, 1, _EDGE, endpoint=False)[:, None]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height], [0, 0]], dtype=np.float64)
    edges = np.concatenate([corners[i] + t * (corners[i + 1] - corners[i]) for i in range(4)])
    points = reproject(tile.georef.crs, space, tile.georef.to_map(edges))
    if points is None:
        return []
    whole = period(space)
    if whole is not None:
        points[:, 0] = np.unwrap(points[:, 0], period=whole)
        if abs(points[0, 0] - points[-1, 0]) > whole / 2:
            return []  # around a pole: all longitudes
    # Between the points an edge bows by less than this.
    bow = np.abs(points[1::2] - (points[::2] + np.roll(points, -2, axis=0)[::2]) / 2).max(axis=0)
    low, high = points.min(axis=0) - bow, points.max(axis=0) + bow
    return _wrapped(np.stack([low, high]), space)


def _wrapped(points: Points, space: str) -> list[Points]:
    """In a CRS whose x goes round the Earth, x is brought to half a turn either side of 0."""
    whole = period(space)
    low, high = points.min(axis=0), points.max(axis=0)
    if whole is None or (low[0] >= -whole / 2 and high[0] <= whole / 2):
        return [points]
    if high[0] - low[0] >= whole:
        low[0], high[0] = -whole / 2, whole / 2
        return [np.stack([low, high])]
    turns = whole * np.floor((low[0] + whole / 2) / whole)
    low[0], high[0] = low[0] - turns, high[0] - turns
    if high[0] <= whole / 2:
        return [np.stack([low, high])]
    return [
        np.array([[low[0], low[1]], [whole / 2, high[1]]]),
        np.array([[-whole / 2, low[1]], [high[0] - whole, high[1]]]),
    ]


@lru_cache(maxsize=256)
def period(crs: str) -> float | None:
    """The x that 360° of longitude make, where x depends on longitude alone (degrees, the Mercators, plate carrée);
    None elsewhere: there nothing comes round."""
    parsed = parse_crs(crs)
    if parsed.is_geographic:
        return float(2 * np.pi / parsed.units_factor[1])
    places = np.array([[lon + step, lat] for lat in (0, 60) for lon in (-100, 10, 100) for step in (0, 1)], dtype=float)
    points = from_lonlat(crs, places)
    if points is None:
        return None
    steps = points[1::2, 0] - points[::2, 0]
    degree = float(np.median(steps))
    # one of the three places may lie where this CRS begins anew
    close = np.abs(steps - degree) <= 1e-9 * abs(degree)
    rows = np.abs(points[:6, 0] - points[6:, 0]) <= 1e-9 * abs(degree) * 360
    return abs(degree) * 360 if degree != 0 and close.reshape(2, 3).sum(axis=1).min() >= 2 and rows.all() else None


def _unrolled(extent: Box) -> list[Box]:
    """The same ground with longitudes in −180…180: two boxes where it crosses the antimeridian."""
    west, south, east, north = extent
    if east - west >= 360:
        return [(-180.0, south, 180.0, north)]
    turns = 360 * np.floor((west + 180) / 360)
    west, east = west - turns, east - turns
    if east <= 180:
        return [(west, south, east, north)]
    return [(west, south, 180.0, north), (-180.0, south, east - 360, north)]


def _overlap(boxes: Points, box: Box) -> NDArray[np.bool_]:
    west, south, east, north = box
    found: NDArray[np.bool_] = (
        (boxes[:, 0] <= east) & (boxes[:, 2] >= west) & (boxes[:, 1] <= north) & (boxes[:, 3] >= south)
    )
    return found
