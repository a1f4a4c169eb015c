"""Which pieces of different tiles show the same thing: compared only where their tiles overlap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from groundlook_adapters.vectors.seams.pieces import Flags, Floats, Ints, Table

SAME = 0.5
"""Intersection over union from which two pieces are the same thing."""

COVERED = 0.8
"""Share of the smaller piece inside the larger from which the smaller is a part of it."""

THICK = 3.0
"""Pixels: what is thinner may lie inside a neighbour only because a hand was unsteady."""

_BATCH = 16_384


@dataclass(frozen=True, slots=True, eq=False)
class Links:
    """Pairs of rows of a Table that show the same thing, `first` < `second`. `iou`: in the strip that their windows
    share; 1 − distance / radius for points. `inside`: −1 where the first is a part of the second, 1 the other way
    round, 0 where neither is."""

    first: Ints
    second: Ints
    iou: Floats
    inside: Ints

    def take(self, which: Any) -> Links:
        """The pairs that an index or mask picks."""
        return Links(self.first[which], self.second[which], self.iou[which], self.inside[which])

    def join(self, other: Links) -> Links:
        """The pairs of both."""
        return Links(
            np.concatenate([self.first, other.first]),
            np.concatenate([self.second, other.second]),
            np.concatenate([self.iou, other.iou]),
            np.concatenate([self.inside, other.inside]),
        )


def no_links() -> Links:
    """No pairs."""
    none = np.zeros(0, dtype=np.int64)
    return Links(none, none, none.astype(np.float64), none)


def area_links(rows: Table, new: int) -> Links:
    """Pairs of areas, the second of them from row `new` on."""
    areas = np.flatnonzero(shapely.get_dimensions(rows.geometry) == 2)
    tree, targets = _tree(rows, areas[areas >= new])
    found = no_links()
    for begin in range(0, len(areas), _BATCH):
        batch = areas[begin : begin + _BATCH]
        asked, hit = tree.query(rows.geometry[batch])
        found = found.join(_compare(rows, *_candidates(rows, batch[asked], targets[hit])))
    return found


def point_links(rows: Table, new: int, radius: float) -> Links:
    """Pairs of points at most `radius` px apart, the second of them from row `new` on."""
    points = np.flatnonzero(shapely.get_dimensions(rows.geometry) == 0)
    tree, targets = _tree(rows, points[points >= new])
    asked, hit = tree.query(rows.geometry[points], predicate="dwithin", distance=radius)
    first, second, _ = _candidates(rows, points[asked], targets[hit], radius)
    apart = shapely.distance(rows.geometry[first], rows.geometry[second])
    return Links(first, second, 1 - apart / max(radius, 1e-12), np.zeros(len(first), dtype=np.int64))


def touching(rows: Table, new: int) -> Links:
    """Pairs of one kind that share a point at least, whatever their tiles, the second of them from row `new` on."""
    tree, targets = _tree(rows, np.arange(new, len(rows)))
    asked, hit = tree.query(rows.geometry, predicate="intersects")
    first, second = asked.astype(np.int64), targets[hit]
    keep = (first < second) & (rows.kind[first] == rows.kind[second])
    first, second = first[keep], second[keep]
    return Links(first, second, np.ones(len(first)), np.zeros(len(first), dtype=np.int64))


def beyond(windows: Ints, others: Ints) -> Flags:
    """(N, 4): the sides of each of N windows (left, top, right, bottom) beyond which one of `others`, overlapping it,
    goes on."""
    flags = np.zeros((len(windows), 4), dtype=bool)
    i, j = shapely.STRtree(shapely.box(*others.T)).query(shapely.box(*windows.T))
    a, b = windows[i], others[j]
    overlap = (np.minimum(a[:, 2:], b[:, 2:]) > np.maximum(a[:, :2], b[:, :2])).all(axis=1)
    further = np.concatenate([b[:, :2] < a[:, :2], b[:, 2:] > a[:, 2:]], axis=1) & overlap[:, None]
    np.logical_or.at(flags, i, further)
    return flags


def complete(rows: Table, margin: float = 1.5) -> Flags:
    """(N,): pieces that show all of their thing: more than `margin` px inside their window on every inner side."""
    off = np.concatenate([rows.bounds[:, :2] - rows.window[:, :2], rows.window[:, 2:] - rows.bounds[:, 2:]], axis=1)
    inside: Flags = np.asarray((~rows.inner | (off > margin)).all(axis=1))
    return inside


def _tree(rows: Table, which: Ints) -> tuple[Any, Ints]:
    return shapely.STRtree(rows.geometry[which]), which


def _candidates(rows: Table, first: Ints, second: Ints, slack: float = 0.0) -> tuple[Ints, Ints, Floats]:
    """Of pairs, those of one kind and two windows that reach into the strip that the windows share, and into each
    other's bounds there; and that strip (K, 4)."""
    keep: Flags = (first < second) & (rows.kind[first] == rows.kind[second])
    keep &= (rows.window[first] != rows.window[second]).any(axis=1)
    first, second = first[keep], second[keep]
    low = np.maximum(rows.window[first, :2], rows.window[second, :2])
    high = np.minimum(rows.window[first, 2:], rows.window[second, 2:])
    overlap: Flags = np.asarray((high > low).all(axis=1))
    for one in (first, second):
        overlap &= (rows.bounds[one, :2] <= high + slack).all(axis=1)
        overlap &= (rows.bounds[one, 2:] >= low - slack).all(axis=1)
    strip = np.concatenate([low, high], axis=1).astype(np.float64)
    return first[overlap], second[overlap], strip[overlap]


def _compare(rows: Table, first: Ints, second: Ints, strip: Floats) -> Links:
    a, b = _clipped(rows, first, strip), _clipped(rows, second, strip)
    area_a, area_b = shapely.area(a), shapely.area(b)
    both = np.zeros(len(a))
    real = (area_a > 0) & (area_b > 0)
    both[real] = shapely.area(shapely.intersection(a[real], b[real]))
    iou = both / np.where(real, area_a + area_b - both, 1.0)
    smaller = np.where(area_a <= area_b, -1, 1)
    covered = both >= COVERED * np.where(real, np.minimum(area_a, area_b), np.inf)
    # Of two stout things, one may reach into the strip by less than the other was drawn off: that says nothing
    part = _thickness(np.where(smaller < 0, a, b))
    covered &= (part >= THICK) | (np.minimum(*(_thickness(rows.geometry[i]) for i in (first, second))) < THICK)
    keep = (iou >= SAME) | covered
    return Links(first, second, iou, np.where(covered, smaller, 0)).take(keep)


def _thickness(areas: NDArray[Any]) -> Floats:
    """The shorter side of a long rectangle of the same area and length around, in px; half the side of a square."""
    thickness: Floats = 2 * shapely.area(areas) / np.maximum(shapely.length(areas), 1e-12)
    return thickness


def _clipped(rows: Table, which: Ints, strip: Floats) -> NDArray[Any]:
    """Geometries cut to their strips; repaired first where they are invalid, or cutting fails."""
    geometry, bounds = rows.geometry[which], rows.bounds[which]
    geometry[~shapely.is_valid(geometry)] = shapely.make_valid(geometry[~shapely.is_valid(geometry)])
    cut = (bounds[:, :2] < strip[:, :2]).any(axis=1) | (bounds[:, 2:] > strip[:, 2:]).any(axis=1)
    geometry[cut] = shapely.intersection(geometry[cut], shapely.box(*strip[cut].T))
    return geometry
