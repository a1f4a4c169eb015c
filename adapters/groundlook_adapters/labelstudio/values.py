"""Shapes ↔ the `value` of a Label Studio region. Percent lives in this file only.

x, widths and horizontal radii are percent of the image's width, the others of its height. `rotation` is in degrees
clockwise in *pixel* space: of a rectangle about its saved corner, of an ellipse about its centre (measured against the
browser's own corners, and read in the editor's EllipseRegion). Turning the whole image in the editor (`image_rotation`)
turns the view, not the coordinates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from groundlook.core.errors import InvalidInput
from groundlook.core.geometry import Box, Ellipse, Point, Polygon, Shape
from groundlook.core.mask import Mask
from groundlook.core.types import Control
from groundlook_adapters.labelstudio.rle import decode_mask, encode_mask

SHAPES: dict[str, type[Box] | type[Polygon] | type[Ellipse] | type[Point] | type[Mask]] = {
    "rectangle": Box,
    "polygon": Polygon,
    "ellipse": Ellipse,
    "keypoint": Point,
    "brush": Mask,
}
"""The regions that have a place in the image, by Label Studio's name of the result type (with or without "labels")."""
POINT_SIZE = 0.5
"""Width that a keypoint is drawn with, percent of the image's width."""
ASPECT = 0.01
"""How far the aspect of the image that was labelled may be from the tile's."""
MAX_PX = 1e8
"""No image is larger, and nothing is drawn further from one."""
_NOISE = 1e-9
_LIMITS = {"x": 100.0, "y": 100.0, "width": 100.0, "height": 100.0, "radiusX": 50.0, "radiusY": 50.0}


def encode_value(shape: Shape, size: tuple[int, int]) -> dict[str, Any]:
    """Shape in pixels → `value` without its label. `size`: (width, height) of the image in pixels. Raises InvalidInput
    for what has no place in an image, and for a mask of another size."""
    width, height = size
    if width < 1 or height < 1:
        raise InvalidInput(f"an image of {width} × {height} px has no percent; give the tile's size")
    across, down = 100 / width, 100 / height
    match shape:
        case Box(x, y, w, h, turn):
            sides = {"x": x * across, "y": y * down, "width": w * across, "height": h * down}
            return {**_clean(sides), "rotation": _turn(turn)}
        case Polygon(points):
            return {"points": [[_near(x * across, 100), _near(y * down, 100)] for x, y in points], "closed": True}
        case Ellipse(x, y, rx, ry, turn):
            sides = {"x": x * across, "y": y * down, "radiusX": rx * across, "radiusY": ry * down}
            return {**_clean(sides), "rotation": _turn(turn)}
        case Point(x, y):
            return {**_clean({"x": x * across, "y": y * down}), "width": POINT_SIZE}
        case Mask():
            if (shape.width, shape.height) != (width, height):
                raise InvalidInput(f"a mask of {shape.width} × {shape.height} px on an image of {width} × {height} px")
            return {"format": "rle", "rle": encode_mask(shape)}
    raise InvalidInput(f"a {type(shape).__name__} has no place in an image")


def decode_value(
    kind: str, value: Mapping[str, Any], original: tuple[float, float], size: tuple[int, int] | None = None
) -> Shape:
    """`value` → Shape in pixels of `size`, or of the `original` (width, height) that it was drawn on.

    `kind`: a key of SHAPES. Raises InvalidInput where the two sizes differ in aspect, and InvalidInput, KeyError,
    TypeError, ValueError where the value is not one of that kind.
    """
    width, height = _pixels(original, size)
    across, down = width / 100, height / 100
    if kind == "brush":
        return _mask(value, original, size)
    if kind == "polygon":
        points = tuple((_px(x, across), _px(y, down)) for x, y in value["points"])
        if len(points) < 3:
            raise InvalidInput(f"a polygon of {len(points)} points; three are needed")
        return Polygon(points)
    x, y = _px(value["x"], across), _px(value["y"], down)
    if kind == "keypoint":
        return Point(x, y)
    turn = _px(value.get("rotation") or 0.0, 1.0)
    if kind == "ellipse":
        return Ellipse(x, y, _px(value["radiusX"], across), _px(value["radiusY"], down), turn)
    return Box(x, y, _px(value["width"], across), _px(value["height"], down), turn)


def geometry_of(value: Mapping[str, Any]) -> str | None:
    """The kind of region that a `value` draws, a key of SHAPES; None where it has no place in the image. Its `type`
    may say something else: see `wire`."""
    for kind, key in (("brush", "rle"), ("polygon", "points"), ("ellipse", "radiusX"), ("rectangle", "height")):
        if key in value:
            return kind
    return "keypoint" if "x" in value else None


def number_text(number: Any) -> str:
    """What a Number or Rating holds, as a label: 7.0 is "7". Raises InvalidInput for what is not a finite number."""
    if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
        raise InvalidInput(f"{number!r} is not a number")
    return str(int(number)) if number == int(number) else repr(float(number))


def encode_number(text: str, control: Control) -> dict[str, float]:
    """The `value` of a Number or Rating, from the number as text. Raises InvalidInput for what is not a number that
    `control` takes: the editor would not let an annotator submit it, Label Studio drop a prediction that holds it."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InvalidInput(f"{control.type} {control.name!r} takes a number, not {text[:80]!r}")
    least = -math.inf if control.least is None else control.least
    most = math.inf if control.most is None else control.most
    if not least <= number <= most:
        raise InvalidInput(f"{control.type} {control.name!r} takes {least:g} to {most:g}, not {text[:80]}")
    if control.type == "Rating" and number != int(number):
        raise InvalidInput(f"Rating {control.name!r} takes whole stars, not {text[:80]}")
    return {control.type.lower(): int(number) if number == int(number) else number}


def refused(value: Mapping[str, Any]) -> str:
    """Why Label Studio would drop a prediction that holds this `value` ("" where it would not). It stores none with a
    region whose corner, point or centre is beyond the right or lower edge, or that is larger than the image."""
    for key, limit in _LIMITS.items():
        number = value.get(key, 0.0)
        if not math.isfinite(number) or number > limit:
            return f"{key} of {number:g} % is over {limit:g} %"
    for x, y in value.get("points", ()):
        if not (math.isfinite(x) and math.isfinite(y)) or max(x, y) > 100:
            return f"a point at ({x:g} %, {y:g} %) is over 100 %"
    return ""


def _px(number: Any, scale: float) -> float:
    length = float(number) * scale
    if not abs(length) <= MAX_PX:
        raise InvalidInput(f"{number!r} is not a number, or beyond {MAX_PX:g} px")
    return length


def _pixels(original: tuple[float, float], size: tuple[int, int] | None) -> tuple[float, float]:
    if not all(1 <= side <= MAX_PX for side in original):
        raise InvalidInput(f"an original size of {original[0]:g} × {original[1]:g} px")
    if size is None:
        return original
    if abs(original[0] * size[1] / (original[1] * size[0]) - 1) > ASPECT:
        raise InvalidInput(
            f"drawn on {original[0]:g} × {original[1]:g} px, which is not the shape of the tile's "
            f"{size[0]} × {size[1]} px; another picture was shown"
        )
    return size


def _mask(value: Mapping[str, Any], original: tuple[float, float], size: tuple[int, int] | None) -> Mask:
    if value.get("format", "rle") != "rle":
        raise InvalidInput(f"a brush of format {value['format']!r}; only rle is read")
    width, height = int(original[0]), int(original[1])
    mask = decode_mask(value["rle"], width, height)
    if size is None or size == (width, height):
        return mask
    columns = ((np.arange(size[0]) + 0.5) * width / size[0]).astype(np.int64)
    rows = ((np.arange(size[1]) + 0.5) * height / size[1]).astype(np.int64)
    return Mask.of(mask.pixels()[rows[:, None], columns])


def _clean(sides: Mapping[str, float]) -> dict[str, float]:
    return {key: _near(number, _LIMITS[key]) for key, number in sides.items()}


def _turn(degrees: float) -> float:
    return degrees % 360 % 360  # twice: a negative angle next to nothing gives 360 first


def _near(number: float, limit: float) -> float:
    """Label Studio refuses 100.00000000000001, which is rounding and not a place beyond the image."""
    return limit if limit < number < limit + _NOISE else number
