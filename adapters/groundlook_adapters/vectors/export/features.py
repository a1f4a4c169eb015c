"""What goes into an export: regions of annotated tiles, and the tiles that were looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from groundlook.core.geo import TileRef
from groundlook.core.types import Original, Region

Kind = Literal["regions", "points", "tiles"]
"""What a region is on the map: an area, a point, or a class of a whole tile."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One region and where it comes from. `region` is in pixels of `tile`; `created`: seconds since the epoch, 0 =
    unknown; `lead_time`: seconds spent on the whole annotation; `original`: the vector feature it was made of.

    `opinion`: 1 for the oldest annotation of a task, 2 for the next: only regions of one opinion are merged, so that
    two people who drew the same object stay two features.
    """

    region: Region
    tile: TileRef
    task: int
    annotation: int
    annotator: str = ""
    created: float = 0.0
    lead_time: float = 0.0
    split: str = ""
    project: int = 0
    original: Original | None = None
    opinion: int = 1


@dataclass(frozen=True, slots=True)
class Reviewed:
    """One annotation of one task that was not skipped: `tile` was looked at, and `empty` says that nothing was found.
    `regions`: how many were drawn. `removed`: the vector features of which a region was put on the tile and is not in
    this annotation; `opinion`: see `Feature`."""

    tile: TileRef
    task: int
    empty: bool
    annotator: str = ""
    regions: int = 0
    split: str = ""
    project: int = 0
    opinion: int = 1
    removed: tuple[Original, ...] = ()
