"""Coordinate reference systems of vector files, and points from one to another."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError

from groundlook.core.errors import InvalidInput
from groundlook.core.geo import Points

Move = Callable[[Points], Points]
"""Points (N, 2) of one system to another, x/longitude first in both; what has no place there becomes inf."""

Bounds = tuple[float, float, float, float]
"""(left, bottom, right, top) in units of a CRS."""

_CODE = re.compile(r"([A-Za-z]\w{1,31}):([\w.]{1,32})")
_EDGE_POINTS = 21


@lru_cache(maxsize=256)
def system(text: str) -> CRS:
    """A code ("EPSG:32611") or WKT; nothing else, since PROJ's general parser also opens files. Raises InvalidInput."""
    try:
        code = _CODE.fullmatch(text.strip())
        return CRS.from_authority(code[1], code[2]) if code else CRS.from_wkt(text)
    except ProjError as error:
        reason = " ".join(str(error).split())[:120]
        raise InvalidInput(f"CRS {text[:80]!r} is neither an authority code nor WKT ({reason})") from None


@lru_cache(maxsize=256)
def mover(source: str, target: str) -> Move | None:
    """From one CRS to another by PROJ's best operation, vertex by vertex; None where both are the same, so that
    not one bit changes. Raises InvalidInput where there is no way, as from the Earth to another body."""
    if system(source).equals(system(target), ignore_axis_order=True):
        return None
    transformer = _transformer(source, target)

    def move(points: Points) -> Points:
        twice = np.repeat(points, 2, axis=0) if len(points) == 1 else points  # pyproj takes one as a number, and warns
        x, y = transformer.transform(twice[:, 0], twice[:, 1])
        return np.stack([x, y], axis=1)[: len(points)]

    return move


def covering(outline: Points, source: str, target: str) -> list[Bounds]:
    """What in `target` covers a polygon's bounds in `source`: one box, or two where it crosses the antimeridian of a
    geographic `target`. Edges are followed at 21 points each. Empty: it can't be said, so everything may be near.
    Raises InvalidInput like `mover`."""
    (left, bottom), (right, top) = outline.min(axis=0), outline.max(axis=0)
    box = (float(left), float(bottom), float(right), float(top))
    if mover(source, target) is not None:
        try:
            box = _transformer(source, target).transform_bounds(*box, densify_pts=_EDGE_POINTS)
        except ProjError:
            return []
    if not np.isfinite(box).all():
        return []
    return _unrolled(box) if system(target).is_geographic else [box]


def _unrolled(box: Bounds) -> list[Bounds]:
    """A box in degrees cut at the antimeridian; a scene may also count on beyond ±180."""
    west, south, east, north = box
    if west > east:
        return [(west, south, 180.0, north), (-180.0, south, east, north)]
    if east > 180.0:
        return [box, (west - 360.0, south, east - 360.0, north)]
    if west < -180.0:
        return [box, (west + 360.0, south, east + 360.0, north)]
    return [box]


@lru_cache(maxsize=256)
def _transformer(source: str, target: str) -> Transformer:
    try:
        return Transformer.from_crs(system(source), system(target), always_xy=True)
    except ProjError as error:
        reason = " ".join(str(error).split())[:120]
        raise InvalidInput(f"nothing leads from CRS {source[:40]!r} to {target[:40]!r} ({reason})") from None
