"""Training pictures that are set aside, by place, to see when to stop. Never the gate's: those are not seen here."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence

import numpy as np

from groundlook.core.geo import Tile

FEWEST = 48
"""Pictures below which none is set aside: an eighth of them would say nothing, and each is needed to learn from."""
_SHARE = 1 / 8
_BLOCK = 4
"""Side of a block, in tiles."""


def place_of(tile: Tile, number: int) -> Hashable:
    """The block of ground that a tile lies in; of one that has no place, its neighbours by number."""
    if tile.ref is None or tile.ref.georef is None:
        return number // _BLOCK
    geo, (width, height) = tile.ref.georef, tile.size
    x, y = geo.to_map(np.array([[width / 2, height / 2]]))[0]
    wide, high = geo.gsd()
    return geo.crs, int(x // (wide * width * _BLOCK)), int(y // (high * height * _BLOCK))


def set_aside(places: Sequence[Hashable], classes: Sequence[Collection[int]], seed: int) -> list[int]:
    """Numbers of about an eighth of the pictures, whole blocks of them (`places`, one a picture), in rising order; none
    of fewer than 48. Blocks that hold a class's last picture stay, and so do those that are more than a quarter."""
    if len(places) < FEWEST:
        return []
    blocks: dict[Hashable, list[int]] = {}
    for i, place in enumerate(places):
        blocks.setdefault(place, []).append(i)
    left: dict[int, int] = {}
    for inside in classes:
        for c in set(inside):
            left[c] = left.get(c, 0) + 1
    chosen: list[int] = []
    members = list(blocks.values())
    for b in np.random.default_rng(seed).permutation(len(members)):
        if len(chosen) >= _SHARE * len(places):
            break
        held: dict[int, int] = {}
        for i in members[b]:
            for c in set(classes[i]):
                held[c] = held.get(c, 0) + 1
        if len(chosen) + len(members[b]) > 2 * _SHARE * len(places) or any(left[c] == n for c, n in held.items()):
            continue
        left = {c: n - held.get(c, 0) for c, n in left.items()}
        chosen += members[b]
    return sorted(chosen)
