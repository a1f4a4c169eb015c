"""Ground: where, when and by what the tiles of tasks were seen, as arrays."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from datetime import date

import numpy as np
from numpy.typing import NDArray

from groundlook.core.geo import Points, TileRef
from groundlook.core.pool import Ground
from groundlook.core.types import Task

ToLonLat = Callable[[str, Points], Points | None]
"""(CRS, map coordinates (N, 2)) → WGS84 degrees (N, 2), longitude first; None where the CRS is not of the Earth."""

EARTH_M = 6_371_008.8
"""Mean radius (IUGG)."""
BLOCK_TILES = 10
"""The side of a block, in sides of the middle tile."""
_EPOCH = date(1970, 1, 1).toordinal()


def ground_of(tasks: Sequence[Task], to_lonlat: ToLonLat) -> Ground:
    """See `core.pool.Ground`. Metres are those of a sinusoidal map about the middle longitude: true along x and in
    area; far from that meridian squares lean. A tile without a place on Earth has none; sensors are not known."""
    lonlat = _lonlat([task.tile for task in tasks], to_lonlat)
    xy, reach = _metres(lonlat)
    days = [_day(task.tile) for task in tasks]
    return Ground(
        xy=xy,
        reach=reach,
        day=np.array([np.nan if d is None else d.toordinal() - _EPOCH for d in days], np.float64),
        scene=_codes([None if t.tile is None else t.tile.scene_id or t.tile.source for t in tasks]),
        block=_blocks(xy, reach),
        season=np.array([-1 if d is None else (d.month - 1) // 3 for d in days], np.int64),
        sensor=np.full(len(tasks), -1, np.int64),
    )


def _lonlat(tiles: Sequence[TileRef | None], to_lonlat: ToLonLat) -> NDArray[np.float64]:
    """(N, 3, 2): of the middle, of the right side's and the top side's middle; NaN where there is none."""
    found = np.full((len(tiles), 3, 2), np.nan)
    by_crs: dict[str, list[int]] = {}
    for i, tile in enumerate(tiles):
        if tile is not None and tile.georef is not None:
            by_crs.setdefault(tile.georef.crs, []).append(i)
    for crs, rows in by_crs.items():
        points = np.stack([_marks(tiles[i]) for i in rows])
        lonlat = to_lonlat(crs, points.reshape(-1, 2))
        if lonlat is not None:
            found[rows] = lonlat.reshape(-1, 3, 2)
            continue
        for i, own in zip(rows, points, strict=True):  # one of them has no longitude: the others may have
            one = to_lonlat(crs, own)
            if one is not None:
                found[i] = one
    return found


def _marks(tile: TileRef | None) -> NDArray[np.float64]:
    """Middle, right, top in map coordinates (3, 2)."""
    if tile is None or tile.georef is None:
        return np.full((3, 2), np.nan)
    width, height = tile.size
    a, b, c, d, e, f = tile.georef.transform
    x, y = width / 2, height / 2
    return np.array([(a * u + b * v + c, d * u + e * v + f) for u, v in ((x, y), (width, y), (x, 0.0))])


def _metres(lonlat: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(N, 2) and (N,): places, and half of the longer sides."""
    known = np.isfinite(lonlat[:, 0, 0])
    if not known.any():
        return np.full((len(lonlat), 2), np.nan), np.full(len(lonlat), np.nan)
    turns = np.deg2rad(lonlat[known, 0, 0])
    middle = np.rad2deg(np.arctan2(np.sin(turns).mean(), np.cos(turns).mean()))
    east = (lonlat[..., 0] - middle + 180) % 360 - 180
    north = np.deg2rad(lonlat[..., 1])
    places = EARTH_M * np.stack([np.deg2rad(east) * np.cos(north[:, :1]), north], axis=-1)
    reach = np.hypot(*(places[:, 1:] - places[:, :1]).transpose(2, 0, 1)).max(axis=1)
    return places[:, 0], reach


def _blocks(xy: NDArray[np.float64], reach: NDArray[np.float64]) -> NDArray[np.int64]:
    known = np.isfinite(xy[:, 0])
    side = 2 * BLOCK_TILES * float(np.median(reach[known])) if known.any() else 0.0
    found = np.full(len(xy), -1, np.int64)
    if side > 0:
        cells = np.floor(xy[known] / side).astype(np.int64)
        found[known] = np.unique(cells, axis=0, return_inverse=True)[1].ravel()
    return found


def _codes(names: Sequence[Hashable | None]) -> NDArray[np.int64]:
    """Equal names, equal numbers, −1 for None; numbered as they come."""
    known: dict[Hashable, int] = {}
    return np.array([-1 if n is None else known.setdefault(n, len(known)) for n in names], np.int64)


def _day(tile: TileRef | None) -> date | None:
    try:
        return date.fromisoformat((tile.acquired or "")[:10]) if tile is not None else None
    except ValueError:
        return None
