"""Tiles of one scene belong together: which scene, and where its first pixel lies."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from groundlook.core.errors import GroundlookError
from groundlook.core.geo import GeoRef, TileRef
from groundlook_adapters.vectors.datasets.images import safe_stem
from groundlook_adapters.vectors.datasets.parts import DatasetTile, SizeOf, Tally
from groundlook_adapters.vectors.names import scene_name

_OFF = 1e-3
"""Pixels by which two tiles of a scene may disagree on where it lies: what floating point loses, and no more."""

Kept = TypeVar("Kept")


@dataclass(frozen=True, slots=True)
class Scene:
    """A raster as its tiles tell it. `georef`: of the whole grid; `size`: (width, height), None where nobody knows;
    `name`: safe as a file name, and no other scene of the dataset has it."""

    name: str
    source: str
    georef: GeoRef | None
    size: tuple[int, int] | None
    acquired: str | None


class Scenes(Generic[Kept]):
    """What a writer keeps for each scene, made when its first tile comes."""

    def __init__(self, size_of: SizeOf | None, tally: Tally, make: Callable[[Scene], Kept]) -> None:
        self._size_of, self._tally, self._make = size_of, tally, make
        self._known: dict[str, tuple[Scene, Kept]] = {}
        self._names: set[str] = set()

    def find(self, tile: DatasetTile) -> tuple[Scene, Kept] | None:
        """The scene of a tile; None, counted, where the tile does not fit into it."""
        ref = tile.tile
        try:
            if ref.source not in self._known:
                scene = self._scene(ref)
                self._known[ref.source] = scene, self._make(scene)
            scene, kept = self._known[ref.source]
        except GroundlookError as error:
            self._tally.skip_tile("scene_unknown", f"task {tile.task}, {scene_name(ref.source)!r}: {error}")
            return None
        if not _fits(ref, scene):
            where = f"window {list(ref.window)} does not fit its scene as other tiles have it: ingest it again"
            self._tally.skip_tile("out_of_place", f"task {tile.task}, {scene_name(ref.source)!r}: {where}")
            return None
        return scene, kept

    def all(self) -> list[tuple[Scene, Kept]]:
        """In the order in which they came."""
        return list(self._known.values())

    def _scene(self, ref: TileRef) -> Scene:
        size = self._size_of(ref) if self._size_of else None
        name = safe_stem(ref.source)
        if name.lower() in self._names:  # a name that only differs in case is the same on some disks
            name += "-" + hashlib.sha256(ref.source.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        self._names.add(name.lower())
        return Scene(name, ref.source, scene_georef(ref), size, ref.acquired)


def scene_georef(ref: TileRef) -> GeoRef | None:
    """Of the scene's grid: the window's, shifted back by where the window starts."""
    column, row = ref.window[:2]
    return None if ref.georef is None else ref.georef.window(-column, -row)


def _fits(ref: TileRef, scene: Scene) -> bool:
    column, row, width, height = ref.window
    if scene.size is not None and (column + width > scene.size[0] or row + height > scene.size[1]):
        return False
    if min(column, row) < 0 or min(width, height) < 1 or (ref.georef is None) != (scene.georef is None):
        return False
    if ref.georef is None or scene.georef is None:
        return True
    corners = np.array([[0, 0], [width, 0], [0, height]], dtype=np.float64)
    there = scene.georef.to_pixel(ref.georef.to_map(corners)) - (column, row)
    return ref.georef.crs == scene.georef.crs and bool((np.abs(there - corners) < _OFF).all())
