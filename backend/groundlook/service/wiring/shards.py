"""Shards of a scene: some of its windows by name, for whoever looks at them elsewhere. A few bytes for a window."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice

from groundlook.core.codec import decode_tile, encode_tile
from groundlook.core.errors import InvalidInput
from groundlook.core.geo import TileRef, WindowPx

WINDOWS = 64
"""Windows in a shard: a second of work or more for most networks, so that handing it out costs nothing."""


def shards_of(scene: TileRef, windows: Iterable[WindowPx]) -> Iterator[tuple[int, str]]:
    """(how many windows, the shard) until all are in one. `scene`: the tile that is the whole of it."""
    head, left = encode_tile(scene), iter(windows)
    while piece := list(islice(left, WINDOWS)):
        yield len(piece), json.dumps({"scene": head, "windows": piece}, separators=(",", ":"))


def tiles_of(shard: str) -> list[TileRef]:
    """The windows of a shard, as `shards_of` was given them, as tiles: equal, to the last bit of their place."""
    body = json.loads(shard)
    scene = decode_tile(body["scene"])
    if scene is None:
        raise InvalidInput("a shard names no scene; it was not made by this version of Groundlook")
    return [_tile(scene, *window) for window in body["windows"]]


def _tile(scene: TileRef, column: int, row: int, width: int, height: int) -> TileRef:
    place = None if scene.georef is None else scene.georef.window(column, row)
    return replace(scene, window=(column, row, width, height), georef=place)
