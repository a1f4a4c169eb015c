"""Stats: what a snapshot holds, by split, class and site."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import shapely

from groundlook.core.geo import TileRef
from groundlook.core.geometry import Shape, has_area
from groundlook.core.mask import Mask
from groundlook.core.types import Example, Snapshot

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
    whole = _part(snapshot.labels)
    splits: dict[str, PartStats] = {}
    sites: dict[str, PartStats] = {}
    sensors: dict[str, PartStats] = {}
    for example in snapshot.examples:
        task = example.task
        named = ((splits, task.split), (sites, task.site), (sensors, task.sensor))
        parts = [parts.setdefault(name, _part(snapshot.labels)) for parts, name in named]
        _count(example, None if task.tile is None else square(task.tile), [whole, *parts])
    people = Counter(name for e in snapshot.examples for name in set(e.annotators))
    truth = sum(e.ground_truth for e in snapshot.examples)
    return Stats(whole, _sorted(splits), _sorted(sites), _sorted(sensors), dict(sorted(people.items())), truth)


def area_px(shape: Shape) -> float:
    """Square pixels; 0 of points and classes of whole tiles."""
    if isinstance(shape, Mask):
        return float(shape.area)
    corners = shape.corners() if has_area(shape) else ()
    if len(corners) < 3:
        return 0.0
    polygon = shapely.Polygon(corners)
    return float((polygon if polygon.is_valid else shapely.make_valid(polygon)).area)


def _count(example: Example, metres: float | None, parts: Iterable[PartStats]) -> None:
    tile = example.task.tile
    scale = None if metres is None or tile is None else metres / (tile.size[0] * tile.size[1])
    measured = [(region.label, area_px(region.shape)) for region in example.regions]
    for part in parts:
        part.tiles += 1
        part.empty += not example.regions
        part.regions += len(example.regions)
        part.m2 = _plus(part.m2, metres)
        for label in {label for label, _ in measured}:
            part.classes.setdefault(label, ClassStats()).tiles += 1
        for label, px in measured:
            found = part.classes[label]
            found.regions += 1
            found.px += px
            found.m2 = _plus(found.m2, None if scale is None else px * scale)


def _plus(before: float | None, more: float | None) -> float | None:
    return before if more is None else (before or 0.0) + more


def _part(labels: Iterable[str]) -> PartStats:
    return PartStats(classes={label: ClassStats() for label in labels})


def _sorted(parts: Mapping[str, PartStats]) -> dict[str, PartStats]:
    return dict(sorted(parts.items()))
