"""Pieces that overlapping tiles show of one scene → the things of that scene, each once.

Instances (houses, cars) are matched only where two tiles overlap, so that neighbours that touch stay apart; surfaces
(water, land cover) are dissolved. Classes of whole tiles are neither: don't send them here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import shapely

from groundlook_adapters.vectors.seams.cluster import things
from groundlook_adapters.vectors.seams.links import Links, area_links, point_links, touching
from groundlook_adapters.vectors.seams.pieces import Flags, Merged, Piece, Table, groups, table
from groundlook_adapters.vectors.seams.sweep import Sweep, bands, swept

__all__ = ["Merged", "Piece", "dissolve", "merge_instances", "merge_stream"]

_OUTSIDE = 16.0
"""Pixels by which a drawn surface may stand out of its tile."""


def merge_instances(pieces: Sequence[Piece], *, radius: float = 2.0) -> list[Merged]:
    """Things of one scene, each once, in the order (row, column) of the windows that show them first.

    Two pieces of different windows and one label are the same thing where, in the strip that their windows share,
    their IoU is 0.5 or more, or 0.8 of the smaller lies in the larger; points, where they are `radius` px apart at
    most. Of a thing that a tile shows complete (more than 1.5 px from every side beyond which another window goes
    on) the most central view is kept; else the views are united. Pieces of one window stay apart, unless its edge cut
    one thing in two that another tile shows whole.
    """
    return swept(pieces, _Instances(radius))


def dissolve(pieces: Sequence[Piece]) -> list[Merged]:
    """Surfaces of one scene: pieces of one label that touch become one, separate parts of a piece become several."""
    return swept(pieces, _Surfaces())


def merge_stream(pieces: Iterable[Piece], semantic: Collection[str] = (), *, radius: float = 2.0) -> Iterator[Merged]:
    """`dissolve` for the labels in `semantic`, `merge_instances` for the rest, in bounded memory: what no later
    window can touch is given out as the sweep goes on. A surface is held until it ends, so one that runs through the
    whole scene is held whole.

    `pieces`: of one scene, sorted by row, then column of their windows, consumed once. Raises InvalidInput where they
    are not.
    """
    instances, surfaces = Sweep.of(_Instances(radius)), Sweep.of(_Surfaces())
    for row, band in bands(pieces):
        for sweep in (instances, surfaces):
            yield from sweep.finished(row)
        instances.add([p for p in band if p.label not in semantic])
        surfaces.add([p for p in band if p.label in semantic])
    yield from instances.finished(None)
    yield from surfaces.finished(None)


@dataclass(slots=True)
class _Instances:
    radius: float
    kinds: dict[tuple[str, int], int] = field(default_factory=dict)

    def rows(self, pieces: list[Piece]) -> Table:
        return table(pieces, self.kinds)

    def links(self, rows: Table, new: int) -> Links:
        return area_links(rows, new).join(point_links(rows, new, self.radius))

    def closed(self, rows: Table, top: int) -> Flags:
        ends: Flags = rows.window[:, 3] <= top
        return ends

    def things(self, rows: Table, links: Links) -> list[Merged]:
        return things(rows, links)


@dataclass(slots=True)
class _Surfaces:
    kinds: dict[tuple[str, int], int] = field(default_factory=dict)

    def rows(self, pieces: list[Piece]) -> Table:
        """A row per part of a piece."""
        whole = table(pieces, self.kinds)
        geometry = whole.geometry.copy()
        broken = ~shapely.is_valid(geometry)
        geometry[broken] = shapely.make_valid(geometry[broken])
        parts, of = shapely.get_parts(geometry, return_index=True)
        rows = whole.take(of)
        return Table(rows.pieces, parts, rows.kind, rows.window, shapely.bounds(parts), rows.inner)

    def links(self, rows: Table, new: int) -> Links:
        return touching(rows, new)

    def closed(self, rows: Table, top: int) -> Flags:
        ends: Flags = rows.bounds[:, 3] < top - _OUTSIDE
        return ends

    def things(self, rows: Table, links: Links) -> list[Merged]:
        group = groups(len(rows), links.first, links.second)
        order = np.argsort(group, kind="stable")
        starts = np.flatnonzero(np.diff(group[order], prepend=-1))
        return [m for part in np.split(order, starts[1:]) for m in _dissolved(rows.take(part))] if len(order) else []


def _dissolved(rows: Table) -> list[Merged]:
    """Of parts that hang together: one surface, or several that meet in points only."""
    surfaces = shapely.get_parts(shapely.union_all(rows.geometry))
    if len(surfaces) == 1:
        return [_surface(surfaces[0], rows)]
    inside = shapely.STRtree(surfaces).query(shapely.point_on_surface(rows.geometry), predicate="intersects")
    return [_surface(s, rows.take(inside[0][inside[1] == k])) for k, s in enumerate(surfaces)]


def _surface(geometry: Any, rows: Table) -> Merged:
    members = tuple(dict.fromkeys(rows.pieces))
    views = len({m.window for m in members})
    if len(rows) == 1 and members[0].geometry.geom_type == geometry.geom_type:
        return Merged(rows.geometry[0], members[0].label, members, "single", 1, None)
    return Merged(geometry, members[0].label, members, "dissolve", views, None)
