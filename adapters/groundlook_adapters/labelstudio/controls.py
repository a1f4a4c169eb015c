"""Regions in the shapes that controls take: a mask as the polygons, the box, the ellipse or the point that it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import shapely

from groundlook.core.geometry import Box, Ellipse, Point, Polygon, Shape, WholeTile, envelope
from groundlook.core.mask import Mask
from groundlook.core.plan import Route
from groundlook.core.types import Control, Region
from groundlook_adapters.labelstudio.holes import without_holes
from groundlook_adapters.vectors.geometry.fit import fit_box, fit_ellipse
from groundlook_adapters.vectors.geometry.scan import pixels_inside
from groundlook_adapters.vectors.geometry.shapes import areas, to_geometry

MIN_PX = 4.0
"""Parts of a mask up to this area (px²) are specks, and left out where there is a larger one."""
MIN_IOU = 0.98
"""A simplified outline has at least this overlap with what it outlines: small shapes get a smaller tolerance."""
_MANY_PX, _TOO_MANY_PX = 1e3, 2e7
_BOX, _POLYGON, _BRUSH = "RectangleLabels", "PolygonLabels", "BrushLabels"
_ELLIPSE, _POINT = "EllipseLabels", "KeyPointLabels"
ORDER: dict[type[Shape], tuple[tuple[str, ...], ...]] = {
    Box: ((_BOX,), (_POLYGON,), (_ELLIPSE,), (_POINT,), (_BRUSH,)),
    Mask: ((_BRUSH, _POLYGON), (_BOX,), (_ELLIPSE,), (_POINT,)),
    Polygon: ((_POLYGON,), (_BRUSH,), (_BOX,), (_ELLIPSE,), (_POINT,)),
    Ellipse: ((_ELLIPSE,), (_POLYGON,), (_BRUSH,), (_BOX,), (_POINT,)),
    Point: ((_POINT,),),
    WholeTile: (("Choices",),),
}
"""Where a shape goes when nobody says: to the first of these that has its label; of those that stand together, to the
first in the config."""
WHOLE = ("Choices", "Number", "Rating")
_Size = tuple[int, int]


def target(controls: Sequence[Control], region: Region) -> Control | None:
    """The control that a region goes to when it names none: by its shape (see ORDER) and its label. None where none of
    `controls` takes such a shape with such a label, or has the name that it does name."""
    if region.control:
        return next((c for c in controls if c.name == region.control), None)
    for tags in ORDER[type(region.shape)]:
        for control in controls:
            if control.type in tags and region.label in control.labels:
                return control
    return None


def fit_region(region: Region, control: Control, route: Route, tolerance_px: float, size: _Size) -> list[Region]:
    """The regions that stand for `region` in `control`, each with its name; label, score, note, origin and frame are
    kept. `size`: (width, height) of the picture in px. Empty where nothing is left: an empty mask, a point where an
    area is asked for, a class where a shape is.

    Polygons: one for each part of a mask, the largest first, those of MIN_PX or less left out; off by `tolerance_px`
    at most and never by so much that the overlap falls under MIN_IOU (Douglas & Peucker 1973, kept simple by GEOS); 0
    keeps every corner. A polygon can't have holes: they are reported in the note, or, where the route says "split",
    the part is cut into pieces that have none and cover the same ground. They are cut at the picture's edges, since
    Label Studio takes no point beyond. Boxes: upright, or the smallest turned one where the route says `oriented`; a
    turned box stays turned. Ellipses: of the same centre, axes and area; of a box, the one inside. Key points: the
    centre, or, where the shape has none in it, the middle of its thickest place. Brushes: the pixels whose centres are
    inside."""
    found = _KINDS[control.type](region.shape, route, tolerance_px, size) if control.type in _KINDS else []
    return [
        replace(
            region,
            shape=shape,
            note="; ".join(filter(None, (region.note, note))),
            uid=f"{region.uid}-{n}" if region.uid and n else region.uid,
            control=control.name,
        )
        for n, (shape, note) in enumerate(found)
    ]


_Found = list[tuple[Shape, str]]


def _polygons(shape: Shape, route: Route, tolerance: float, size: _Size) -> _Found:
    if isinstance(shape, Polygon) and tolerance <= 0 and _is_simple(shape, size):
        return [(shape, "")]
    area = None if isinstance(shape, Point | WholeTile) else _area(shape, size)
    if area is None:
        return []
    whole = shapely.get_parts(area).tolist()
    kept = _without_specks(whole) if isinstance(shape, Mask) else whole
    parts = _clipped([_simplified(p, tolerance) for p in kept], size)
    found: _Found = []
    for part in sorted(parts, key=lambda p: -shapely.Polygon(p.exterior).area):
        if route.holes == "split":
            found += [(_ring(piece), "") for piece in without_holes(part)]
        else:
            found.append((_ring(part), _about_holes(part)))
    return found


def _box(shape: Shape, route: Route, _: float, size: _Size) -> _Found:
    if isinstance(shape, Box):
        return [(shape, "")] if min(shape.width, shape.height) > 0 else []
    if isinstance(shape, Ellipse) and route.oriented:
        return [(_around(shape), "")] if min(shape.rx, shape.ry) > 0 else []
    area = None if isinstance(shape, Point | WholeTile) else _solid(shape, size)
    if area is None:
        return []
    if route.oriented:
        turned = fit_box(area)
        return [] if turned is None else [(turned, "")]
    x0, y0, x1, y1 = shapely.bounds(area).tolist() if isinstance(shape, Mask) else envelope(shape)
    return _inside(Box(x0, y0, x1 - x0, y1 - y0), size)


def _ellipse(shape: Shape, _: Route, __: float, size: _Size) -> _Found:
    if isinstance(shape, Ellipse):
        return [(shape, "")] if min(shape.rx, shape.ry) > 0 else []
    if isinstance(shape, Box):
        x, y = (float(c) for c in shape.corners().mean(axis=0))
        inner = Ellipse(x, y, shape.width / 2, shape.height / 2, shape.rotation)
        return [(inner, "")] if min(inner.rx, inner.ry) > 0 else []
    area = None if isinstance(shape, Point | WholeTile) else _solid(shape, size)
    found = None if area is None else fit_ellipse(area)
    return [] if found is None else [(found, "")]


def _point(shape: Shape, _: Route, __: float, size: _Size) -> _Found:
    if isinstance(shape, Point):
        return [(shape, "")]
    area = None if isinstance(shape, WholeTile) else _solid(shape, size)
    parts = [] if area is None else _clipped(shapely.get_parts(area), size)
    if not parts:
        return []
    largest = max(parts, key=lambda p: float(p.area))
    # The centroid of what is left of a ring lies in its hole
    middle = largest.centroid if largest.intersects(largest.centroid) else _thickest(largest)
    return [(Point(float(middle.x), float(middle.y)), "")]


def _brush(shape: Shape, _: Route, __: float, size: _Size) -> _Found:
    if isinstance(shape, Mask):
        return [(shape, "")] if len(shape.runs) else []
    area = None if isinstance(shape, Point | WholeTile) else _area(shape, size)
    mask = None if area is None else pixels_inside(area, size)
    return [] if mask is None or len(mask.runs) == 0 else [(mask, "")]


def _whole(shape: Shape, _: Route, __: float, ___: _Size) -> _Found:
    return [(shape, "")] if isinstance(shape, WholeTile) else []


_KINDS: dict[str, Callable[[Shape, Route, float, _Size], _Found]] = {
    _BOX: _box,
    _POLYGON: _polygons,
    _BRUSH: _brush,
    _ELLIPSE: _ellipse,
    _POINT: _point,
    **dict.fromkeys(WHOLE, _whole),
}


def _area(shape: Shape, size: _Size) -> Any | None:
    """A valid Polygon or MultiPolygon, or None."""
    geometry, _ = to_geometry(shape, size)
    return None if geometry is None else areas(geometry)


def _solid(shape: Shape, size: _Size) -> Any | None:
    """The same, of a mask without its specks."""
    area = _area(shape, size)
    if area is None or not isinstance(shape, Mask):
        return area
    parts = _without_specks(shapely.get_parts(area))
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)


def _without_specks(parts: Iterable[Any]) -> list[Any]:
    found = sorted(parts, key=lambda p: -float(p.area))
    return [p for n, p in enumerate(found) if n == 0 or p.area > MIN_PX]


def _simplified(polygon: Any, tolerance: float) -> Any:
    """A valid polygon with as many holes."""
    while tolerance > 1e-3:
        coarse = shapely.simplify(polygon, tolerance, preserve_topology=False)
        if not _like(coarse, polygon):
            coarse = shapely.simplify(polygon, tolerance, preserve_topology=True)  # some twenty times as long
        if _like(coarse, polygon) and _iou(coarse, polygon) >= MIN_IOU:
            return coarse
        tolerance /= 2
    return polygon


def _like(coarse: Any, polygon: Any) -> bool:
    return bool(
        coarse.geom_type == "Polygon"
        and not coarse.is_empty
        and len(coarse.interiors) == len(polygon.interiors)
        and coarse.is_valid
    )


def _iou(a: Any, b: Any) -> float:
    """Of the pixels whose centres are inside, where there are many of them: overlays of long outlines take long."""
    x0, y0, x1, y1 = shapely.total_bounds([a, b]).tolist()
    if a.area < _MANY_PX or (x1 - x0) * (y1 - y0) > _TOO_MANY_PX:
        both = float(shapely.intersection(a, b).area)
        return both / (float(a.area) + float(b.area) - both) if both > 0 else 0.0
    left, top = math.floor(x0), math.floor(y0)
    size = (math.ceil(x1) - left, math.ceil(y1) - top)
    there = np.array([left, top])
    first, second = (pixels_inside(shapely.transform(g, lambda p: p - there), size).pixels() for g in (a, b))
    return float((first & second).sum() / (first | second).sum())


def _clipped(parts: Iterable[Any], size: _Size) -> list[Any]:
    """What lies in the picture."""
    frame = shapely.box(0, 0, *size)
    found: list[Any] = []
    for part in parts:
        inside = part if frame.covers(part) else areas(shapely.intersection(part, frame))
        found += [] if inside is None else shapely.get_parts(inside).tolist()
    return found


def _inside(box: Box, size: _Size) -> _Found:
    x0, y0 = max(box.x, 0.0), max(box.y, 0.0)
    x1, y1 = min(box.x + box.width, size[0]), min(box.y + box.height, size[1])
    return [(Box(x0, y0, x1 - x0, y1 - y0), "")] if x1 > x0 and y1 > y0 else []


def _around(ellipse: Ellipse) -> Box:
    t = math.radians(ellipse.rotation)
    c, s = math.cos(t), math.sin(t)
    x, y = ellipse.x - ellipse.rx * c + ellipse.ry * s, ellipse.y - ellipse.rx * s - ellipse.ry * c
    return Box(x, y, 2 * ellipse.rx, 2 * ellipse.ry, ellipse.rotation)


def _thickest(polygon: Any) -> Any:
    """The centre of the largest circle inside: to a tenth of a pixel, and in the polygon all the same."""
    circle = shapely.maximum_inscribed_circle(polygon, tolerance=0.1)
    middle = shapely.get_point(circle, 0)
    return middle if polygon.intersects(middle) else polygon.representative_point()


def _is_simple(polygon: Polygon, size: _Size) -> bool:
    corners = polygon.corners()
    if len(corners) < 3 or not np.isfinite(corners).all():
        return False
    return bool(shapely.Polygon(corners).is_valid and (corners >= 0).all() and (corners <= size).all())


def _ring(polygon: Any) -> Polygon:
    return Polygon(tuple((x, y) for x, y in shapely.get_coordinates(polygon.exterior)[:-1].tolist()))


def _about_holes(polygon: Any) -> str:
    count = len(polygon.interiors)
    if count == 0:
        return ""
    lost = sum(shapely.Polygon(ring).area for ring in polygon.interiors)
    what = f"1 hole of {lost:.0f} px²" if count == 1 else f"{count} holes of {lost:.0f} px² together"
    return f"{what} left out: polygons can't have holes"
