"""What goes into a merge and what comes out, and pieces as columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from groundlook.core.geo import WindowPx

Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """What one tile shows of a thing. `geometry`: shapely, pixels of the *scene*'s grid, x first, inside `window`.
    `key`: whatever the caller knows it by; never looked at."""

    geometry: Any
    label: str
    window: WindowPx
    key: Any


@dataclass(frozen=True, slots=True, eq=False)
class Merged:
    """One thing of the scene and the pieces it was made of.

    `rule`: "single" (one piece, as it was), "central" (the most central of those that show all of it), "union" (none
    did), "dissolve" (pieces of one surface). `views`: how many tiles show it. `iou_min`: of the pieces that were taken
    for the same thing, the least overlap where their tiles overlap, 0…1; None for points, surfaces and single pieces.
    """

    geometry: Any
    label: str
    members: tuple[Piece, ...]
    rule: str
    views: int
    iou_min: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """N pieces as columns. `kind` (N,): the same for pieces of one label and one dimension (points, areas). `window`
    int64 (N, 4): left, top, right, bottom. `bounds` float64 (N, 4): of the geometry, in that order too. `inner` (N, 4):
    the sides of the window beyond which another window goes on."""

    pieces: NDArray[Any]
    geometry: NDArray[Any]
    kind: Ints
    window: Ints
    bounds: Floats
    inner: Flags

    def take(self, which: Any) -> Table:
        """The rows that an index or mask picks."""
        columns = (self.pieces, self.geometry, self.kind, self.window, self.bounds, self.inner)
        return Table(*(c[which] for c in columns))

    def join(self, other: Table) -> Table:
        """The rows of both, these first."""
        return Table(
            *(
                np.concatenate([mine, theirs])
                for mine, theirs in (
                    (self.pieces, other.pieces),
                    (self.geometry, other.geometry),
                    (self.kind, other.kind),
                    (self.window, other.window),
                    (self.bounds, other.bounds),
                    (self.inner, other.inner),
                )
            )
        )

    def __len__(self) -> int:
        return len(self.kind)


def table(pieces: Sequence[Piece], kinds: dict[tuple[str, int], int]) -> Table:
    """Pieces as columns; without geometry, or with coordinates that are no numbers, they are left out.
    `kinds` is added to: (label, dimension) → number."""
    geometry = np.array([p.geometry for p in pieces], dtype=object)
    there = np.isfinite(shapely.bounds(geometry)).all(axis=1) if len(pieces) else np.zeros(0, dtype=bool)
    pieces, geometry = [p for p, keep in zip(pieces, there, strict=True) if keep], geometry[there]
    dimension = shapely.get_dimensions(geometry).tolist()
    kind = [kinds.setdefault((p.label, d), len(kinds)) for p, d in zip(pieces, dimension, strict=True)]
    window = np.array([p.window for p in pieces], dtype=np.int64).reshape(-1, 4)
    window[:, 2:] += window[:, :2]
    rows = np.empty(len(pieces), dtype=object)
    rows[:] = pieces
    inner = np.zeros((len(pieces), 4), dtype=bool)
    return Table(rows, geometry, np.array(kind, dtype=np.int64), window, shapely.bounds(geometry), inner)


def groups(count: int, first: Ints, second: Ints) -> Ints:
    """The connected component of each of `count` nodes, named by its least node; edges `first`–`second`."""
    name: Ints = np.arange(count)
    while True:
        least = np.minimum(name[first], name[second])
        before = name.copy()
        np.minimum.at(name, first, least)
        np.minimum.at(name, second, least)
        name = name[name]
        if np.array_equal(name, before):
            return name
