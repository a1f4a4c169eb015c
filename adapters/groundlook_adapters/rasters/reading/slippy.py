"""Web-map tiles placed by their file names."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from pathlib import Path

from groundlook.core.errors import InvalidInput, InvalidRaster
from groundlook.core.geo import GeoRef

_HALF = math.pi * 6378137.0
"""Half the side of the square that EPSG:3857 maps the world to, metres."""

_MAX_ZOOM = 30


@lru_cache(maxsize=16)
def _compiled(pattern: str) -> re.Pattern[str]:
    for name in ("{x}", "{y}", "{z}"):
        if pattern.count(name) != 1:
            raise InvalidInput(f"--xyz {pattern!r} needs {name} exactly once, as in OAM-{{x}}-{{y}}-{{z}}.png")
    text = re.escape(pattern.strip("/"))
    for name in "xyz":
        text = text.replace(re.escape(f"{{{name}}}"), f"(?P<{name}>[0-9]{{1,10}})")
    return re.compile(text)


def slippy_georef(path: Path, pattern: str, width: int, height: int) -> GeoRef:
    """The exact EPSG:3857 georeference of a slippy-map tile of `width` × `height` px (y counts from the north).

    `pattern` names the file with {x}, {y} and {z}; one with folders ("{z}/{x}/{y}.png") is matched with as many of
    the path's last parts. Raises InvalidRaster where the file doesn't match, InvalidInput for a pattern that lacks one.
    """
    parts = pattern.strip("/").count("/") + 1
    name = "/".join(path.parts[-parts:])
    match = _compiled(pattern).fullmatch(name)
    if match is None:
        raise InvalidRaster(f"{path}: {name!r} does not match --xyz {pattern!r}; leave it out or correct the pattern")
    x, y, z = (int(match[key]) for key in "xyz")
    if z > _MAX_ZOOM or max(x, y) >= 2**z:
        raise InvalidRaster(f"{path}: there is no tile x={x} y={y} at zoom {z}; check the order in --xyz {pattern!r}")
    span = 2 * _HALF / 2**z
    return GeoRef("EPSG:3857", (span / width, 0.0, x * span - _HALF, 0.0, -span / height, _HALF - y * span))
