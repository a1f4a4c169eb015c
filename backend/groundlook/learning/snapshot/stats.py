"""Stats: what a snapshot holds, by split, class and site."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from groundlook.core.geo import TileRef
from groundlook.core.geometry import Box, Shape, has_area
from groundlook.core.mask import Mask
from groundlook.core.types import Snapshot

Square = Callable[[TileRef], float | None]
"""Square metres on the ground of a tile; None where it has no place on Earth."""


@dataclass(slots=True)
class ClassStats:
    """The regions of one class. `px`: what they cover in pixels of their tiles; `m2`: in square metres, of those whose
    tile is on the map; None where none is."""

    regions: int = 0
    tiles: int = 0
    px: float = 0.0
    m2: float | None = None


@dataclass(slots=True)
class PartStats:
    """A part of a snapshot. `empty`: tiles that somebody looked at without finding anything. `m2`: the ground of its
    tiles, summed; None where none is on the map. `classes`: by label; those without a region too."""

    tiles: int = 0
    empty: int = 0
    regions: int = 0
    m2: float | None = None
    classes: dict[str, ClassStats] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stats:
    """`splits`, `sites`, `sensors`: by name, "" where tasks name none. `annotators`: how many tiles each had a say in.
    `ground_truth`: tiles that were marked as the right answer."""

    whole: PartStats
    splits: Mapping[str, PartStats]
    sites: Mapping[str, PartStats]
    sensors: Mapping[str, PartStats]
    annotators: Mapping[str, int]
    ground_truth: int


def stats(snapshot: Snapshot, square: Square) -> Stats:
    """Count and measure. Overlaps between regions, and between tiles, count as often as they are there."""
    examples = snapshot.examples
    counted = _counted(snapshot, square)
    whole = _parts(counted, [""] * len(examples))
    people = Counter(name for e in examples for name in set(e.annotators))
    return Stats(
        whole.get("") or PartStats(classes={label: ClassStats() for label in counted.labels}),
        _parts(counted, [e.task.split for e in examples]),
        _parts(counted, [e.task.site for e in examples]),
        _parts(counted, [e.task.sensor for e in examples]),
        dict(sorted(people.items())),
        sum(e.ground_truth for e in examples),
    )


def areas_px(shapes: Sequence[Shape]) -> NDArray[np.float64]:
    """Square pixels (N,) of N shapes; 0 of points and classes of whole tiles."""
    areas = np.zeros(len(shapes))
    rings: list[tuple[int, NDArray[np.float64]]] = []
    for i, shape in enumerate(shapes):
        if isinstance(shape, Box):
            areas[i] = abs(shape.width * shape.height)
        elif isinstance(shape, Mask):
            areas[i] = shape.area
        elif has_area(shape) and len(corners := shape.corners()) > 2:
            rings.append((i, corners))
    if rings:
        of = np.repeat(np.arange(len(rings)), [len(corners) for _, corners in rings])
        polygons = shapely.polygons(shapely.linearrings(np.concatenate([c for _, c in rings]), indices=of))
        broken = ~shapely.is_valid(polygons)
        polygons[broken] = shapely.make_valid(polygons[broken])
        areas[[i for i, _ in rings]] = shapely.area(polygons)
    return areas


@dataclass(frozen=True, slots=True)
class _Counted:
    """N examples and their R regions. `of`: the example of each region (R,); `label`: its place in `labels`; `px`: its
    area. `metres`: of each tile (N,), NaN unknown; `m2`: of each region (R,), likewise."""

    labels: tuple[str, ...]
    of: NDArray[np.int64]
    label: NDArray[np.int64]
    px: NDArray[np.float64]
    metres: NDArray[np.float64]
    m2: NDArray[np.float64]


def _counted(snapshot: Snapshot, square: Square) -> _Counted:
    tiles = [e.task.tile for e in snapshot.examples]
    known = [None if tile is None else square(tile) for tile in tiles]
    metres = np.array([np.nan if one is None else one for one in known], np.float64)
    sizes = np.array([1 if tile is None else tile.size[0] * tile.size[1] for tile in tiles], np.float64)
    regions = [region for e in snapshot.examples for region in e.regions]
    of = np.repeat(np.arange(len(tiles)), np.array([len(e.regions) for e in snapshot.examples], np.int64))
    place = {label: i for i, label in enumerate(dict.fromkeys((*snapshot.labels, *(r.label for r in regions))))}
    label = np.array([place[region.label] for region in regions], np.int64)
    px = areas_px([region.shape for region in regions])
    return _Counted(tuple(place), of, label, px, metres, px * (metres / sizes)[of])


def _parts(counted: _Counted, names: Sequence[str]) -> dict[str, PartStats]:
    """By name: `names` (N) says to which part each example belongs."""
    order = {name: i for i, name in enumerate(sorted(set(names)))}
    part = np.array([order[name] for name in names], np.int64)
    wide = len(counted.labels)
    cell = part[counted.of] * wide + counted.label
    first = np.unique(counted.of * wide + counted.label, return_index=True)[1]  # of each label on each tile

    def by_part(at: NDArray[np.int64], rows: NDArray[Any] | None = None) -> NDArray[Any]:
        return np.bincount(at, rows, len(order))

    def by_class(at: NDArray[np.int64], rows: NDArray[Any] | None = None) -> NDArray[Any]:
        return np.bincount(at, rows, len(order) * wide).reshape(len(order), wide)

    tiles, full = by_part(part), by_part(part[np.unique(counted.of)])
    ground, placed = (by_part(part, rows) for rows in _known(counted.metres))
    regions, shown, px = by_class(cell), by_class(cell[first]), by_class(cell, counted.px)
    m2, on_map = (by_class(cell, rows) for rows in _known(counted.m2))
    return {
        name: PartStats(
            tiles=int(tiles[i]),
            empty=int(tiles[i] - full[i]),
            regions=int(regions[i].sum()),
            m2=float(ground[i]) if placed[i] else None,
            classes={
                label: ClassStats(
                    regions=int(regions[i, j]),
                    tiles=int(shown[i, j]),
                    px=float(px[i, j]),
                    m2=float(m2[i, j]) if on_map[i, j] else None,
                )
                for j, label in enumerate(counted.labels)
            },
        )
        for name, i in order.items()
    }


def _known(rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """`rows` with 0 for what is not known, and what is."""
    known = np.isfinite(rows)
    return np.where(known, rows, 0.0), known
