"""Vector features as regions of a project's tiles: pre-annotations that know which feature they are.

A feature of many parts becomes one thing per part, as a person would draw it; each keeps its part's geometry,
unclipped, in the file's own CRS. What shape a region takes depends on the project's controls for its label:

- an area: PolygonLabels, one ring per region; where the piece has holes, BrushLabels if there is one, since a ring
  can't hold them (else the outer ring, and it is counted); then BrushLabels; then RectangleLabels, its envelope;
- a point: KeyPointLabels;
- a line: nothing takes one.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import shapely

from groundlook.core.errors import InvalidInput
from groundlook.core.geo import TileRef
from groundlook.core.geometry import Box, Point, Polygon, Shape
from groundlook.core.mask import Mask
from groundlook.core.types import LabelConfig, Original, Region
from groundlook_adapters.vectors.geometry.shapes import to_shape
from groundlook_adapters.vectors.load.clip import Ground, Piece
from groundlook_adapters.vectors.load.read import Features, leaves
from groundlook_adapters.vectors.load.vectorfile import Source

SMALL_AREA = 25.0
"""Square pixels from which on a piece is kept, however little of its feature it shows."""
_SHOWN_VALUES = 1000
_LONG = 80


@dataclass(frozen=True, slots=True)
class Labelling:
    """Which label a feature gets: `label` for all, or the value of `column`, by `map` (value → label) where that
    has it. With neither, the config's only label."""

    label: str | None = None
    column: str | None = None
    map: Mapping[str, str] = field(default_factory=dict)

    def checked(self, config: LabelConfig) -> Labelling:
        """The same, complete. Raises InvalidInput where it doesn't fit the config."""
        known = labels_of(config)
        if self.label is not None and self.column is not None:
            raise InvalidInput("--label and --label-column exclude each other; give one of them")
        if self.map and self.column is None:
            raise InvalidInput("--map needs --label-column, which says where the values stand")
        for label in filter(None, [self.label, *self.map.values()]):
            if label not in known:
                raise InvalidInput(f"label {label!r} is not in the project's config (it has: {', '.join(known)})")
        if self.label is None and self.column is None:
            if len(known) != 1:
                raise InvalidInput(f"which of {', '.join(known)} are these? Say --label, or --label-column")
            return Labelling(label=known[0])
        return self

    def of(self, value: str | None) -> str | None:
        """The label for a column's value, None where it is missing."""
        if self.label is not None:
            return self.label
        return None if value is None else self.map.get(value, value)


@dataclass(frozen=True, slots=True)
class Loaded:
    """One region for one task, and the feature behind it. `size`: (width, height) of the tile in pixels."""

    task: int
    size: tuple[int, int]
    region: Region
    original: Original


@dataclass(slots=True)
class Counts:
    """What became of a file's features. `read`: near the tiles; `placed`: of those, on some tile as some region;
    `outside`: on none. `small`: pieces left out. `no_label`: features per value without label; `no_control`: per
    sentence, "points as 'Tree'"."""

    read: int = 0
    placed: int = 0
    regions: int = 0
    outside: int = 0
    small: int = 0
    lines: int = 0
    broken: int = 0
    repaired: int = 0
    holes_dropped: int = 0
    no_label: dict[str, int] = field(default_factory=dict)
    no_control: dict[str, int] = field(default_factory=dict)
    tasks: set[int] = field(default_factory=set)


class Placer:
    """Puts the features of one file on the tiles of one project. `targets`: (task id, tile). `min_visible`: pieces
    that show a smaller share of their feature are left out, unless they have `SMALL_AREA`. `counts` grows."""

    def __init__(
        self,
        project: int,
        targets: Sequence[tuple[int, TileRef]],
        config: LabelConfig,
        labelling: Labelling,
        min_visible: float = 0.1,
    ) -> None:
        self.counts = Counts()
        self.labelling = labelling.checked(config)
        self.ground = Ground([tile for _, tile in targets])
        self._project, self._targets, self._min_visible = project, targets, min_visible
        self._controls = _controls(config)

    def place(self, source: Source, features: Features) -> Iterator[Loaded]:
        """The regions of one batch, tile by tile."""
        self.counts.read += len(features.ids) + features.broken
        self.counts.broken += features.broken
        self.counts.repaired += features.repaired
        parts = _Parts()
        for row, (shape, value) in enumerate(zip(features.geometry, features.values, strict=True)):
            label = self._label(value)
            if label is not None:
                self._take(parts, row, shape, label)
        seen: dict[int, bool] = dict.fromkeys(parts.owners, False)
        for piece in self.ground.cut(np.array(parts.shapes, dtype=object), source.crs):
            regions = self._regions(piece, parts.labels[piece.part])
            owner = parts.owners[piece.part]
            seen[owner] = seen[owner] or bool(regions)
            for index, shape in enumerate(regions):
                yield self._loaded(source, int(features.ids[owner]), parts, piece, index, shape)
        self.counts.placed += sum(seen.values())
        self.counts.outside += len(seen) - sum(seen.values())

    def _label(self, value: str | None) -> str | None:
        label = self.labelling.of(value)
        if label in self._controls:
            return label
        shown = "(no value)" if value is None else value[:_LONG]
        full = len(self.counts.no_label) >= _SHOWN_VALUES and shown not in self.counts.no_label
        _count(self.counts.no_label, "(further values)" if full else shown)
        return None

    def _take(self, parts: _Parts, row: int, shape: Any, label: str) -> None:
        """The parts of a feature that some control takes."""
        found = leaves(shape)
        dimensions = {shapely.get_dimensions(p) for p in found}
        usable = {d for d in dimensions if d != 1 and _control(self._controls[label], d, False) is not None}
        if 1 in dimensions:
            self.counts.lines += 1
        for dimension in sorted(dimensions - usable - {1}):
            _count(self.counts.no_control, f"{'points' if dimension == 0 else 'areas'} as {label!r}")
        for number, part in enumerate(found):
            if shapely.get_dimensions(part) in usable:
                parts.add(row, number if len(found) > 1 else None, part, label)

    def _regions(self, piece: Piece, label: str) -> list[Shape]:
        size = self._targets[piece.tile][1].size
        if piece.geometry.geom_type == "Point":
            return [Point(piece.geometry.x, piece.geometry.y)]
        seen = [p for p in leaves(piece.geometry) if self._is_seen(piece, p)]
        if not seen:
            self.counts.small += 1
            return []
        shown = seen[0] if len(seen) == 1 else shapely.MultiPolygon(seen)
        holes = any(len(p.interiors) for p in seen)
        like = _control(self._controls[label], 2, holes)
        if like is Box:
            left, top, right, bottom = shown.bounds
            return [Box(left, top, right - left, bottom - top)]
        self.counts.holes_dropped += holes and like is Polygon
        return to_shape(shown, Mask if like is Mask else Polygon, size)

    def _is_seen(self, piece: Piece, polygon: Any) -> bool:
        share = piece.share * polygon.area / piece.geometry.area
        return bool(share >= self._min_visible or polygon.area >= SMALL_AREA)

    def _loaded(self, source: Source, fid: int, parts: _Parts, piece: Piece, index: int, shape: Shape) -> Loaded:
        task, tile = self._targets[piece.tile]
        number, geometry = parts.numbers[piece.part], parts.wkb(piece.part)
        named = f"{source.name}/{fid}" + ("" if number is None else f"#{number}")
        uid = region_uid(self._project, task, source.key, fid, number, index, geometry)
        self.counts.regions += 1
        self.counts.tasks.add(task)
        region = Region(shape, parts.labels[piece.part], None, uid, "prediction")
        return Loaded(task, tile.size, region, Original(geometry, source.crs, shape, named))


class _Parts:
    """The simple geometries of a batch: whose each is (row), which of it (None: all of it), and its label."""

    def __init__(self) -> None:
        self.owners: list[int] = []
        self.numbers: list[int | None] = []
        self.shapes: list[Any] = []
        self.labels: list[str] = []
        self._wkb: dict[int, bytes] = {}

    def add(self, owner: int, number: int | None, shape: Any, label: str) -> None:
        self.owners.append(owner)
        self.numbers.append(number)
        self.shapes.append(shape)
        self.labels.append(label)

    def wkb(self, part: int) -> bytes:
        if part not in self._wkb:
            self._wkb[part] = bytes(shapely.to_wkb(self.shapes[part]))
        return self._wkb[part]


def region_uid(project: int, task: int, key: str, fid: int, part: int | None, index: int, geometry: bytes) -> str:
    """Ten characters of Label Studio's own alphabet (60 bits), the same for the same piece of the same feature on the
    same task; another geometry is another region, so that what was annotated keeps the original it was made of."""
    text = "\0".join(str(x) for x in (project, task, key, fid, part, index))
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape") + geometry).digest()
    return base64.urlsafe_b64encode(digest)[:10].decode()


def labels_of(config: LabelConfig) -> tuple[str, ...]:
    """Every label of every control that regions can go to, in the config's order."""
    return tuple(dict.fromkeys(label for control in config.controls for label in control.labels))


_SHAPES: dict[str, type[Shape]] = {
    "PolygonLabels": Polygon,
    "BrushLabels": Mask,
    "RectangleLabels": Box,
    "KeyPointLabels": Point,
}


def _controls(config: LabelConfig) -> dict[str, set[type[Shape]]]:
    found: dict[str, set[type[Shape]]] = {}
    for control in config.controls:
        for label in control.labels:
            found.setdefault(label, set()).update({_SHAPES[control.type]} if control.type in _SHAPES else set())
    return found


def _control(has: set[type[Shape]], dimension: int, holes: bool) -> type[Shape] | None:
    """What a geometry becomes, None where no control takes it. See the top of this file."""
    if dimension == 0:
        return Point if Point in has else None
    order: tuple[type[Shape], ...] = (Mask, Polygon, Box) if holes else (Polygon, Mask, Box)
    return next((kind for kind in order if kind in has), None)


def _count(counts: dict[str, int], key: str) -> None:
    counts[key] = counts.get(key, 0) + 1
