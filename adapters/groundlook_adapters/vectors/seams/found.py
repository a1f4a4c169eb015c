"""What a model finds in the windows of a scene → the things of that scene, each once, in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress
from typing import Any

import numpy as np
import shapely

from groundlook.core.errors import InvalidInput
from groundlook.core.geo import TileRef
from groundlook.core.geometry import Box, Point, Polygon, Shape, WholeTile
from groundlook.core.mask import Mask
from groundlook.core.types import Prediction, Region
from groundlook_adapters.vectors.geometry.scan import pixels_inside
from groundlook_adapters.vectors.geometry.shapes import to_geometry, to_shape
from groundlook_adapters.vectors.seams.cluster import things
from groundlook_adapters.vectors.seams.links import Links, area_links, point_links
from groundlook_adapters.vectors.seams.pieces import Flags, Merged, Piece, Table, groups, table
from groundlook_adapters.vectors.seams.sweep import Sweep
from groundlook_adapters.vectors.seams.views import Views, merged_boxes, view_groups, view_links

_RADIUS = 4.0
"""Pixels by which two windows may place one keypoint apart."""

Seen = tuple[TileRef, Region]
"""A region, in pixels of the tile that shows it."""


@dataclass(frozen=True, slots=True)
class Found:
    """One thing of a scene. `region`: in pixels of `tile`, which it may reach beyond. `views`: windows that show it."""

    tile: TileRef
    region: Region
    views: int = 1


class Seams:
    """Takes the predictions of a scene's windows, row by row, and gives out what no later window can show any more.

    Upright boxes are merged as `views` says, other shapes as `merge_instances` does. From a label's first turned box on
    all its boxes count as turned, those that wait as well: one window may see upright what another sees at .2°.
    Classes of whole tiles, and the surfaces of a segmentation, are given out as they come: surfaces are dissolved by
    whoever writes them.
    `size`: (width, height) of the scene in px.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self._loose: list[Found] = []
        self._boxes, self._shapes = _Boxes(size), _Shapes(size)
        self._turned: set[str] = set()

    def add(self, tile: TileRef, prediction: Prediction) -> None:
        """The regions of one window. Raises InvalidInput for a mask that is none."""
        for region in prediction.regions:
            shape = region.shape
            if prediction.kind == "segmentation" or isinstance(shape, WholeTile):
                self._loose.append(Found(tile, region))
            elif isinstance(shape, Box) and not self._is_turned(shape, region.label):
                self._boxes.add(tile, region, shape)
            else:
                self._shapes.add(tile, region)

    def _is_turned(self, box: Box, label: str) -> bool:
        if box.rotation and label not in self._turned:
            self._turned.add(label)
            for tile, region in self._boxes.taken(label):
                self._shapes.add(tile, region)
        return label in self._turned

    def finished(self, top: int | None) -> list[Found]:
        """What can't change once all further windows begin at row `top` or below; all that is left without."""
        loose, self._loose = self._loose, []
        return [*loose, *self._boxes.finished(top), *self._shapes.finished(top)]


class _Boxes:
    """Upright boxes that a later window may still show."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._size = size
        self._labels: dict[str, int] = {}
        self._rows: list[tuple[float, ...]] = []
        self._seen: list[Seen] = []

    def add(self, tile: TileRef, region: Region, box: Box) -> None:
        column, row, width, height = tile.window
        x0, y0, x1, y1 = box.x + column, box.y + row, box.x + box.width + column, box.y + box.height + row
        if not (math.isfinite(x0 + y0 + x1 + y1) and x1 > x0 and y1 > y0):
            return
        label = self._labels.setdefault(region.label, len(self._labels))
        score = 1.0 if region.score is None else region.score
        self._rows.append((x0, y0, x1, y1, score, column, row, column + width, row + height, label))
        self._seen.append((tile, region))

    def taken(self, label: str) -> list[Seen]:
        """Those of `label`, which are here no more."""
        kept = [seen[1].label != label for seen in self._seen]
        taken = [seen for seen, stays in zip(self._seen, kept, strict=True) if not stays]
        self._rows, self._seen = list(compress(self._rows, kept)), list(compress(self._seen, kept))
        return taken

    def finished(self, top: int | None) -> list[Found]:
        if not self._rows:
            return []
        rows = np.array(self._rows, dtype=np.float64)
        windows, labels = rows[:, 5:9].astype(np.int64), rows[:, 9].astype(np.int64)
        inner = np.concatenate([windows[:, :2] > 0, windows[:, 2:] < self._size], axis=1)
        views = Views(rows[:, :4].copy(), windows, inner, labels)
        pairs = view_links(views)
        done: Flags = np.ones(len(rows), dtype=bool)
        if top is not None:  # windows that only meet can be joined, too
            group = groups(len(rows), pairs.first, pairs.second)
            still = np.zeros(len(rows), dtype=bool)
            still[group[windows[:, 3] >= top]] = True
            done = ~still[group]
        seen, held = self._seen, np.flatnonzero(~done).tolist()
        self._rows, self._seen = [self._rows[i] for i in held], [seen[i] for i in held]
        place = np.cumsum(done) - 1
        inside = pairs.take(done[pairs.first])
        closed = replace(inside, first=place[inside.first], second=place[inside.second])
        return _boxes(views.take(done), rows[done, 4], closed, [seen[i] for i in np.flatnonzero(done).tolist()])


def _boxes(views: Views, scores: Any, pairs: Any, seen: Sequence[Seen]) -> list[Found]:
    thing = view_groups(views, pairs)
    boxes, best = merged_boxes(views, np.maximum(scores, 1e-6), thing)
    highest = np.zeros(len(seen))
    np.maximum.at(highest, thing, scores)
    count = np.bincount(thing, minlength=len(seen))
    order = np.argsort(best, kind="stable")  # so that those of one tile follow each other
    found = []
    for row, (x0, y0, x1, y1) in zip(best[order].tolist(), boxes[order].tolist(), strict=True):
        tile, region = seen[row]
        name = int(thing[row])
        if count[name] > 1:
            column, line = tile.window[:2]
            score = None if region.score is None else float(highest[name])
            region = replace(region, shape=Box(x0 - column, y0 - line, x1 - x0, y1 - y0), score=score)
        found.append(Found(tile, region, int(count[name])))
    return found


class _Shapes:
    """Turned boxes, polygons, masks, ellipses and points that a later window may still show."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._size = size
        self._sweep = Sweep.of(_Instances())
        self._row: list[Piece] = []

    def add(self, tile: TileRef, region: Region) -> None:
        geometry, _ = to_geometry(region.shape, tile.size)
        if geometry is not None and not geometry.is_empty:
            corner = np.array(tile.window[:2], dtype=np.float64)
            placed = shapely.transform(geometry, lambda points: points + corner)
            self._row.append(Piece(placed, region.label, tile.window, (tile, region)))

    def finished(self, top: int | None) -> list[Found]:
        row, self._row = self._row, []
        if row:
            self._sweep.add(row)
        if not len(self._sweep.held):
            return []
        return [f for merged in self._sweep.finished(top) for f in _whole(merged, self._size)]


@dataclass(slots=True)
class _Instances:
    """`merge_instances`, one band at a time."""

    kinds: dict[tuple[str, int], int] = field(default_factory=dict)

    def rows(self, pieces: list[Piece]) -> Table:
        return table(pieces, self.kinds)

    def links(self, rows: Table, new: int) -> Links:
        return area_links(rows, new).join(point_links(rows, new, _RADIUS))

    def closed(self, rows: Table, top: int) -> Flags:
        ends: Flags = rows.window[:, 3] <= top
        return ends

    def things(self, rows: Table, links: Links) -> list[Merged]:
        return things(rows, links)


def _whole(merged: Merged, size: tuple[int, int]) -> list[Found]:
    """As regions again: the very region of the window that was chosen, or what all windows together show."""
    scores = [m.key[1].score for m in merged.members if m.key[1].score is not None]
    chosen = next((m for m in merged.members if m.geometry is merged.geometry), None)
    tile, region = (chosen or merged.members[0]).key
    if scores:
        region = replace(region, score=max(scores))
    if chosen is not None:
        return [Found(tile, region, merged.views)]
    column, row = tile.window[:2]
    here = shapely.transform(merged.geometry, lambda points: points - np.array([column, row], dtype=np.float64))
    shape = _SHAPES.get(type(region.shape), _as_drawn)(here, type(region.shape))
    if shape is not None:
        return [Found(tile, replace(region, shape=shape), merged.views)]
    frame, mask = _painted(tile, merged.geometry, size)
    return [Found(frame, replace(region, shape=mask), merged.views)] if len(mask.runs) else []


def _as_drawn(geometry: Any, like: type[Shape]) -> Shape | None:
    """The one shape that the union is, of a turned box or an ellipse the one around it."""
    found = to_shape(geometry, like, (0, 0))
    return found[0] if len(found) == 1 else None


def _ring(geometry: Any, _like: type[Shape]) -> Shape | None:
    """A polygon, where the union is one ring: several, or one with holes, are pixels."""
    simple = geometry.geom_type == "Polygon" and not geometry.interiors
    return _as_drawn(geometry, Polygon) if simple else None


def _never(_geometry: Any, _like: type[Shape]) -> Shape | None:
    return None


_SHAPES: dict[type, Callable[[Any, type[Shape]], Shape | None]] = {Polygon: _ring, Mask: _never, Point: _as_drawn}


def _painted(tile: TileRef, geometry: Any, size: tuple[int, int]) -> tuple[TileRef, Mask]:
    """The pixels of an area of the scene, and the window around them."""
    x0, y0, x1, y1 = shapely.bounds(geometry)
    left, top = max(0, math.floor(x0)), max(0, math.floor(y0))
    window = (left, top, min(size[0], math.ceil(x1)) - left, min(size[1], math.ceil(y1)) - top)
    if min(window[2:]) < 1:
        raise InvalidInput(f"a shape found at {(x0, y0, x1, y1)} lies outside the scene of {size} px")
    column, row = tile.window[:2]
    placed = None if tile.georef is None else tile.georef.window(left - column, top - row)
    here = shapely.transform(geometry, lambda points: points - np.array([left, top], dtype=np.float64))
    return replace(tile, window=window, georef=placed), pixels_inside(here, window[2:])
