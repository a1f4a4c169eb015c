"""What every dataset format shares: the tile that goes in, what is seen of its regions, and the tally of it all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import shapely
from numpy.typing import NDArray

from groundlook.core.geo import TileRef
from groundlook.core.geometry import Box, Point, Shape, WholeTile
from groundlook.core.mask import Mask
from groundlook.core.types import Region
from groundlook_adapters.vectors.geometry.shapes import to_geometry

Form = Literal["coco", "yolo", "yolo-obb", "voc", "mask-cog", "stac-label"]
FORMS: tuple[Form, ...] = ("coco", "yolo", "yolo-obb", "voc", "mask-cog", "stac-label")

Picture = Callable[[TileRef], NDArray[np.uint8]]
"""The tile as annotators saw it: uint8 RGB (H, W, 3). Raises InvalidImage, InvalidRaster, NotAllowed."""

SizeOf = Callable[[TileRef], tuple[int, int]]
"""(width, height) in pixels of the scene that a tile was cut from. Raises NotFound, InvalidRaster."""

_PROBLEMS = 20


@dataclass(frozen=True, slots=True)
class DatasetTile:
    """One reviewed tile; no `regions` means "looked at, nothing there". `split`: train, val or margin."""

    tile: TileRef
    regions: tuple[Region, ...]
    task: int = 0
    annotation: int = 0
    split: str = "train"


@dataclass(frozen=True, slots=True)
class DatasetReport:
    """What was written. `listing`: the file with sha256 and name of each of the `files` (itself not among them), as
    `sha256sum -c` reads it. `tiles`: taken in; `images`: pictures, masks or items written; `splits`: tiles per split.
    `clipped`: regions of which a part lay outside their tile. `skipped`: how many were left out, by reason
    (`tile_…` counts tiles, the rest regions). `problems`: what the first of the tiles left out died of, in words."""

    folder: Path
    form: Form
    files: int
    listing: Path
    tiles: int
    images: int
    regions: int
    clipped: int
    splits: Mapping[str, int]
    skipped: Mapping[str, int]
    problems: tuple[str, ...]


@dataclass(slots=True)
class Tally:
    """Counts while writing; becomes the report."""

    tiles: int = 0
    images: int = 0
    regions: int = 0
    clipped: int = 0
    splits: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def skip(self, reason: str) -> None:
        """One region is left out."""
        self.skipped[reason] += 1

    def skip_tile(self, reason: str, problem: str) -> None:
        """One tile is left out."""
        self.skipped[f"tile_{reason}"] += 1
        if len(self.problems) < _PROBLEMS:
            self.problems.append(problem)


class Writer(Protocol):
    """One format."""

    def add(self, tile: DatasetTile) -> None:
        """Write one tile; nothing of it stays in memory."""

    def close(self) -> None:
        """Write what needs all tiles to be seen."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is in the picture of one region. `place`: of its label among the labels. `geometry`: shapely, in tile
    pixels, cut at the tile's edge; a Point for keypoints, the convex hull for masks (formats that keep their pixels
    take them from `region`). `whole`: nothing was cut off."""

    region: Region
    place: int
    geometry: Any
    whole: bool

    def corners(self) -> NDArray[np.float64] | None:
        """(4, 2): the true corners, in the order in which they were drawn, of a rectangle that is all in the
        picture; None for everything else."""
        shape = self.region.shape
        return shape.corners() if self.whole and isinstance(shape, Box) else None


def seen(tile: DatasetTile, places: Mapping[str, int], tally: Tally) -> Iterator[Seen]:
    """Those regions that have a place in the picture: classes of whole tiles are not among them, and not counted.
    What is left out is counted in `tally` by its reason."""
    width, height = tile.tile.size
    frame = shapely.box(0, 0, width, height)
    for region in tile.regions:
        if isinstance(region.shape, WholeTile):
            continue
        if region.label not in places:
            tally.skip("label_not_in_config")
        elif isinstance(region.shape, Mask) and (region.shape.width, region.shape.height) != (width, height):
            tally.skip("mask_of_another_size")
        else:
            geometry = _geometry(region.shape, (width, height))
            part = None if geometry is None else _inside(geometry, frame)
            if part is None:
                tally.skip("nothing_left" if geometry is None else "outside_tile")
            else:
                yield Seen(region, places[region.label], part, bool(frame.covers(geometry)))


def _geometry(shape: Shape, size: tuple[int, int]) -> Any | None:
    if isinstance(shape, Mask):
        return _hull(shape)
    geometry, _ = to_geometry(shape, size)
    return None if geometry is None or geometry.is_empty else geometry


def _hull(mask: Mask) -> Any | None:
    """None for a mask without pixels, or with some outside itself."""
    corners = mask.corners()
    if len(corners) == 0 or mask.runs.min() < 0 or mask.runs.max() > mask.width * mask.height:
        return None
    top, bottom = int(corners[0, 1]), int(corners[2, 1])
    rows = Mask(mask.width, bottom - top, mask.runs - top * mask.width).pixels()
    filled = np.flatnonzero(rows.any(axis=1))
    left = rows[filled].argmax(axis=1)
    right = mask.width - rows[filled, ::-1].argmax(axis=1)
    y = filled + top
    ends = [np.stack([x, y + down], axis=1) for x in (left, right) for down in (0, 1)]
    return shapely.MultiPoint(np.concatenate(ends).astype(np.float64)).convex_hull


def without_points(things: Iterator[Seen], tally: Tally) -> Iterator[Seen]:
    """What has an area; keypoints are counted as left out."""
    for thing in things:
        if isinstance(thing.region.shape, Point):
            tally.skip("point_has_no_area")
        else:
            yield thing


def whole_tile_classes(tile: DatasetTile, places: Mapping[str, int], tally: Tally) -> list[int]:
    """Places of the labels that were given to the tile as a whole, in the labels' order, each once."""
    found = set()
    for region in tile.regions:
        if isinstance(region.shape, WholeTile):
            if region.label in places:
                found.add(places[region.label])
            else:
                tally.skip("label_not_in_config")
    return sorted(found)


def skip_whole_tile_classes(tile: DatasetTile, tally: Tally) -> None:
    """For formats that can't hold them."""
    for _ in [r for r in tile.regions if isinstance(r.shape, WholeTile)]:
        tally.skip("class_of_whole_tile")


def _inside(geometry: Any, frame: Any) -> Any | None:
    if frame.covers(geometry):
        return geometry
    if geometry.geom_type == "Point":
        return None
    parts = polygons(shapely.intersection(geometry, frame))
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)


def polygons(geometry: Any) -> list[Any]:
    """The parts of any geometry that have an area."""
    if geometry.geom_type == "Polygon":
        return [geometry] if geometry.area > 0 else []
    return [p for g in getattr(geometry, "geoms", ()) for p in polygons(g)]


def places_of(labels: Sequence[str]) -> dict[str, int]:
    """Label → its place in the config, from 0; the first counts where one is there twice."""
    return {label: i for i, label in reversed(list(enumerate(labels)))}
