"""Web-mercator tiles that are named by their place, with the outlines of each site in WGS84 (hotosm/fAIr-utilities)."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from groundlook.core.errors import InvalidInput
from groundlook.models.studies.sets import Floats, Labelled, every, rgb

HELD_OUT, OF = (1, 2), 5
"""Of the sites, in the order of their names, the second and third of every five are tested on."""
VISIBLE_PX = 6.0
_NAME = re.compile(r"-(\d+)-(\d+)-(\d+)\.png$")
_HALF_M = 20037508.342789244
_BLOCK_TILES = 4
_XYZ = tuple[int, int, int]


def read(path: Path) -> list[Labelled]:
    """The tiles of one zoom, of which there are most: the zooms show the same ground. Raises InvalidInput."""
    files = {file: _place(file) for file in sorted(path.glob("*/*.png"))}
    if not files:
        raise InvalidInput(f"{path} holds no SITE/*-x-y-z.png beside its labels.geojson; fetch the set again")
    zoom = Counter(z for *_, z in files.values()).most_common(1)[0][0]
    chosen = {file: place for file, place in files.items() if place[2] == zoom}
    held = every([file.parent.name for file in chosen], OF, HELD_OUT)
    outlines = {site: _outlines(path / site / "labels.geojson") for site in {f.parent.name for f in chosen}}
    return [_tile(file, place, outlines[file.parent.name], held) for file, place in chosen.items()]


def _place(file: Path) -> _XYZ:
    found = _NAME.search(file.name)
    if not found:
        raise InvalidInput(f"{file} is not named …-x-y-z.png, so that nobody knows where it lies")
    x, y, zoom = (int(part) for part in found.groups())
    return x, y, zoom


def _tile(file: Path, place: _XYZ, outlines: Sequence[Floats], held: set[str]) -> Labelled:
    x, y, zoom = place
    pixels = rgb(file)
    side = 2 * _HALF_M / 2**zoom
    rings = _on_tile([(ring * 2**zoom - (x, y)) * pixels.shape[0] for ring in outlines], pixels.shape[0])
    site = file.parent.name
    block = f"{site}/{x // _BLOCK_TILES}/{y // _BLOCK_TILES}"
    centre = ((x + 0.5) * side - _HALF_M, _HALF_M - (y + 0.5) * side)
    return Labelled(f"{site}/{file.stem}", pixels, rings, centre, side / 2, site, block, site in held)


def _on_tile(rings: Sequence[Floats], side: int) -> tuple[Floats, ...]:
    """What of each outline shows on the tile, `VISIBLE_PX` wide and high at the least."""
    found = []
    for ring in rings:
        if (ring.max(axis=0) <= 0).any() or (ring.min(axis=0) >= side).any():
            continue
        for part in shapely.get_parts(
            shapely.make_valid(shapely.Polygon(ring)).intersection(shapely.box(0, 0, side, side))
        ):
            if isinstance(part, shapely.Polygon) and not part.is_empty:
                points = np.array(part.exterior.coords)[:-1]
                if np.ptp(points, axis=0).min() >= VISIBLE_PX:
                    found.append(points)
    return tuple(found)


def _outlines(path: Path) -> list[Floats]:
    """Outer rings (K, 2) as shares of the web-mercator square, x east and y south, each 0…1."""
    if not path.is_file():
        raise InvalidInput(f"{path} is missing: it holds the outlines of its site; fetch the set again")
    features: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["features"]
    found = []
    for feature in features:
        lonlat = np.array(feature["geometry"]["coordinates"][0], np.float64)[:, :2]
        north = np.log(np.tan(math.pi / 4 + np.radians(lonlat[:, 1]) / 2))
        found.append(np.stack([lonlat[:, 0] / 360 + 0.5, 0.5 - north / (2 * math.pi)], axis=1))
    return found
