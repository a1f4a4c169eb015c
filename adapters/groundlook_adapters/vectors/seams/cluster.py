"""Links between pieces → things: the surest links first, and never two things of one tile made one."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import shapely

from groundlook_adapters.vectors.seams.links import Links, complete
from groundlook_adapters.vectors.seams.pieces import Flags, Floats, Ints, Merged, Table

_APART = 0.1
"""Share of the smaller by which two fragments of one thing may overlap."""


def things(rows: Table, links: Links) -> list[Merged]:
    """Every piece in exactly one thing, things in the order of their first pieces."""
    whole = complete(rows)
    thing = _things(rows, links, whole)
    least: dict[int, float] = {}
    same = thing[links.first] == thing[links.second]
    for name, iou in zip(thing[links.first[same]].tolist(), links.iou[same].tolist(), strict=True):
        least[name] = min(iou, least.get(name, 1.0))
    order = np.argsort(thing, kind="stable")
    starts = np.flatnonzero(np.diff(thing[order], prepend=-1))
    off = _off_centre(rows)
    return [_merged(rows, m, whole, off, least) for m in np.split(order, starts[1:])] if len(order) else []


def _things(rows: Table, links: Links, whole: Flags) -> Ints:
    """The thing of each piece, named by its first. Neighbours that touch, such as row houses, are linked to each other
    by slivers only: with the best links first, a tile that shows both as two keeps them two."""
    order = np.lexsort((links.second, links.first, -links.iou))
    first, second, inside = (c[order].tolist() for c in (links.first, links.second, links.inside))
    within: dict[int, set[int]] = defaultdict(set)
    for a, b, side in zip(first, second, inside, strict=True):
        if side:
            within[a if side < 0 else b].add(b if side < 0 else a)
    _, window = np.unique(rows.window, axis=0, return_inverse=True)
    seen = window.reshape(-1).tolist()
    name = list(range(len(rows)))
    members: dict[int, list[int]] = {}
    for a, b in zip(first, second, strict=True):
        one, other = sorted((name[a], name[b]))
        if one == other:
            continue
        left, right = members.get(one, [one]), members.get(other, [other])
        clashes = [(x, y) for x in left for y in right if seen[x] == seen[y]]
        if all(_fragments(rows, x, y, whole, within) for x, y in clashes):
            for x in right:
                name[x] = one
            members[one] = left + right
            members.pop(other, None)
    return np.array(name, dtype=np.int64)


def _fragments(rows: Table, x: int, y: int, whole: Flags, within: dict[int, set[int]]) -> bool:
    """Whether two pieces of one tile are parts of one thing that the tile's edge cuts: both are cut, they lie apart,
    and another tile shows one piece that has them both."""
    if whole[x] or whole[y] or not within[x] & within[y]:
        return False
    a, b = rows.geometry[x], rows.geometry[y]
    return bool(shapely.intersection(a, b).area <= _APART * min(a.area, b.area))


def _merged(rows: Table, which: Ints, whole: Flags, off: Floats, least: dict[int, float]) -> Merged:
    members = tuple(rows.pieces[which])
    label, views = members[0].label, len({m.window for m in members})
    point = rows.geometry[which[0]].geom_type in ("Point", "MultiPoint")
    iou = None if point else least.get(int(which[0]))
    if len(members) == 1:
        return Merged(members[0].geometry, label, members, "single", 1, None)
    shown = which[whole[which]]
    if point or len(shown):
        choice = shown if len(shown) else which
        best = choice[np.argmin(off[choice])]
        return Merged(rows.pieces[best].geometry, label, members, "central", views, iou)
    return Merged(shapely.union_all(shapely.make_valid(rows.geometry[which])), label, members, "union", views, iou)


def _off_centre(rows: Table) -> Floats:
    """How far each piece's middle is from its window's, to a hundredth of a px, so that ties don't hang on rounding."""
    twice = rows.bounds[:, :2] + rows.bounds[:, 2:] - rows.window[:, :2] - rows.window[:, 2:]
    off: Floats = np.round(np.hypot(twice[:, 0], twice[:, 1]) / 2, 2)
    return off
