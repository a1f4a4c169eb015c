"""Leaks: what training and held-out tasks share, so that a model is praised for what it has seen."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any, Literal

import numpy as np
import shapely

from groundlook.core.geo import TileRef
from groundlook.core.types import Example, Snapshot

Footprint = Callable[[TileRef], Any]
"""The ground of a tile in degrees, longitude first, as a shapely Polygon or MultiPolygon; None where it has none."""

HAIR = 1e-3
"""Of the smaller tile, what may overlap: neighbours touch, and their common edge is not the same number in two CRS."""


@dataclass(frozen=True, slots=True)
class Leak:
    """A training task and a held-out one that share something. "ground": the share of the smaller one's `share`;
    "image": both show the same picture."""

    train: int
    val: int
    why: Literal["ground", "image"]
    share: float = 1.0


def leaks(snapshot: Snapshot, footprint: Footprint) -> list[Leak]:
    """Pairs, each once: by its picture where that is the same, else by its ground. Of a picture that several tasks of a
    side show, every task is in a pair, but not every pair is told: a thousand on both sides would be a million."""
    train, val = snapshot.part("train"), snapshot.part("val")
    found = {(leak.train, leak.val): leak for leak in (*_on_ground(train, val, footprint), *_same_image(train, val))}
    return [found[pair] for pair in sorted(found)]


def _same_image(train: Sequence[Example], val: Sequence[Example]) -> list[Leak]:
    ours, theirs = _showing(train), _showing(val)
    pairs = (pair for key in ours.keys() & theirs.keys() for pair in _paired(ours[key], theirs[key]))
    return [Leak(one, other, "image") for one, other in pairs]


def _showing(examples: Sequence[Example]) -> dict[Hashable, list[int]]:
    """The tasks of each picture."""
    found: dict[Hashable, list[int]] = {}
    for example in examples:
        for key in _pictures(example):
            found.setdefault(key, []).append(example.task.id)
    return found


def _paired(ours: list[int], theirs: list[int]) -> Iterator[tuple[int, int]]:
    """As many as the longer one has; the shorter one begins again at its end."""
    return islice(zip(cycle(ours), cycle(theirs), strict=False), max(len(ours), len(theirs)))


def _pictures(example: Example) -> list[Hashable]:
    """What tells a picture: its URL; of our tiles the content of the raster and the window."""
    task = example.task
    own = [] if task.tile is None else [(task.tile.etag or task.tile.source, task.tile.window)]
    return [*own, *(url for url in (task.image, *task.others.values()) if url)]


def _on_ground(train: Sequence[Example], val: Sequence[Example], footprint: Footprint) -> list[Leak]:
    ours, theirs = _placed(train, footprint), _placed(val, footprint)
    if not ours or not theirs:
        return []
    ground = np.array([place for _, place in ours]), np.array([place for _, place in theirs])
    one, other = shapely.STRtree(ground[1]).query(ground[0], predicate="intersects")
    a, b = ground[0][one], ground[1][other]
    shares = shapely.area(shapely.intersection(a, b)) / np.minimum(shapely.area(a), shapely.area(b))
    return [
        Leak(ours[i][0], theirs[j][0], "ground", float(share))
        for i, j, share in zip(one.tolist(), other.tolist(), shares, strict=True)
        if share > HAIR
    ]


def _placed(examples: Sequence[Example], footprint: Footprint) -> list[tuple[int, Any]]:
    found = ((e.task.id, None if e.task.tile is None else footprint(e.task.tile)) for e in examples)
    return [(task, place) for task, place in found if place is not None]
