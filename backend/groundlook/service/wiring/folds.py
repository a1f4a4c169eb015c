"""Held-out ground of a project: the same in every run, on every date, in every CRS."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from groundlook.core.errors import InvalidInput
from groundlook.core.geo import GeoRef, TileRef, WindowPx
from groundlook.core.tiling import Split
from groundlook_adapters.rasters.reading.read import Scene
from groundlook_adapters.rasters.tiling.places import Places, fold, side_in

BLOCK_TILES = 4
HELD_OUT = 0.2
SEED = "groundlook"
"""The same everywhere: a place has the same fold in every project and on every date."""

_SHARE = "held_out"


class Values(Protocol):
    """The part of the store that is needed."""

    def put_value(self, project: int, key: str, value: float) -> None: ...
    def value(self, project: int, key: str, default: float = 0.0) -> float: ...


@dataclass(frozen=True, slots=True)
class Blocks:
    """What was asked for. `side`: of a block in units of the CRS, None = as the project has it, else 4 tiles;
    `share`: of blocks held out, None = as the project has it, else 0.2."""

    side: float | None = None
    share: float | None = None


class Folds:
    """Train, val or margin for the tiles of one project. Block sides, the share and the split space of each scene are
    kept, so that a later run can't hold out other ground.

    `known`: the tiles that the project has. Raises InvalidInput for another share than the project's.
    """

    def __init__(self, store: Values, project: int, known: Iterable[TileRef], asked: Blocks) -> None:
        self._store, self._project, self._asked = store, project, asked
        self._places = Places()
        self._sides: dict[str, float] = {}
        scenes = _scenes(known)
        self._new = not scenes
        self.share = self._share()
        systems = {georef.crs for georef, _ in scenes.values()}
        for (scene_id, own), (georef, window) in scenes.items():
            others = (s for s in sorted(systems - {own}) if self._value(_space_key(scene_id, own, s)))
            self._places.add(georef, window, next(others, own))

    def scene(self, scene: Scene, side: int) -> Callable[[TileRef], Split]:
        """What says the fold of each tile of one scene, whose ground is the project's from now on. `side`: of its
        tiles, px."""
        if scene.georef is None:
            return lambda tile: fold(tile, (), lambda space: 1.0, self.share, SEED)
        window = (0, 0, scene.width, scene.height)
        spaces = self._places.spaces(scene.georef, window)
        self._places.add(scene.georef, window, spaces[0])
        if spaces[0] != scene.georef.crs:
            self._put(_space_key(scene.id, scene.georef.crs, spaces[0]), 1.0)
        return lambda tile: fold(tile, spaces, lambda space: self._block(space, tile, side), self.share, SEED)

    def _block(self, space: str, tile: TileRef, side: int) -> float:
        """Side of a block in a split space: the project's first tile in it decides."""
        if space not in self._sides:
            self._sides[space] = self._first_block(space, tile, side)
        return self._sides[space]

    def _first_block(self, space: str, tile: TileRef, side: int) -> float:
        key, asked = f"block:{space}", self._asked.side
        kept = 0.0 if self._new else self._value(key)
        if asked is not None and kept and asked != kept:
            raise InvalidInput(
                f"--block {asked:g}: the held-out blocks of project {self._project} have a side of {kept:g} in "
                f"{space[:60]}; other ones would train on held-out ground: leave --block out"
            )
        found = asked or kept or BLOCK_TILES * side * _pixel(tile, space)
        if found != kept:
            self._put(key, found)
        return found

    def _share(self) -> float:
        asked, kept = self._asked.share, self._store.value(self._project, _SHARE, -1.0)
        if asked is not None and kept >= 0 and asked != kept and not self._new:
            raise InvalidInput(
                f"--held-out {asked:g}: project {self._project} holds out {kept:g} of its blocks; another share would "
                "train on held-out ground: leave --held-out out"
            )
        share = asked if asked is not None else kept if kept >= 0 else HELD_OUT
        self._put(_SHARE, share)
        return share

    def _value(self, key: str) -> float:
        return self._store.value(self._project, key, 0.0)

    def _put(self, key: str, value: float) -> None:
        self._store.put_value(self._project, key, value)


def _scenes(known: Iterable[TileRef]) -> dict[tuple[str, str], tuple[GeoRef, WindowPx]]:
    """Per scene and CRS, its georeference and the window that holds all its tiles."""
    found: dict[tuple[str, str], tuple[GeoRef, WindowPx]] = {}
    for tile in known:
        if tile.georef is None:
            continue
        column, row, width, height = tile.window
        key = (tile.scene_id, tile.georef.crs)
        if key not in found:
            found[key] = tile.georef.window(-column, -row), tile.window
            continue
        georef, (x, y, w, h) = found[key]
        left, top = min(x, column), min(y, row)
        right, bottom = max(x + w, column + width), max(y + h, row + height)
        found[key] = georef, (left, top, right - left, bottom - top)
    return found


def _pixel(tile: TileRef, space: str) -> float:
    """Side of a pixel in a space, in its units."""
    if tile.georef is not None and tile.georef.crs == space:
        return max(tile.georef.gsd())
    side = side_in(tile, space)
    if side is None:
        raise InvalidInput(f"{tile.source} has no place in {space[:60]}, whose blocks decide there: give --block")
    return side / max(tile.size)


def _space_key(scene_id: str, own: str, space: str) -> str:
    """Marks that the folds of a scene are decided in a CRS that is not its own."""
    return f"space:{scene_id}:{hashlib.sha256(f'{own}|{space}'.encode()).hexdigest()[:16]}"
