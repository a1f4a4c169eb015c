"""Percent ↔ pixels for every kind of region, there and back, rotation included."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from groundlook.core.errors import InvalidInput
from groundlook.core.geometry import Box, Ellipse, Point, Polygon, Shape, WholeTile
from groundlook.core.mask import Mask
from groundlook_adapters.labelstudio.values import decode_value, encode_value, refused

sides = st.integers(1, 16_384)
share = st.floats(-0.5, 1.5)
extent = st.floats(0, 2)
degrees = st.floats(-720, 720)


@st.composite
def placed(draw: st.DrawFn) -> tuple[str, Shape, tuple[int, int]]:
    """(kind, shape, size): a shape in or about an image of `size`."""
    w, h = draw(sides), draw(sides)
    x, y = draw(share) * w, draw(share) * h
    kind = draw(st.sampled_from(["rectangle", "ellipse", "keypoint", "polygon"]))
    if kind == "keypoint":
        return kind, Point(x, y), (w, h)
    if kind == "polygon":
        points = draw(st.lists(st.tuples(share, share), min_size=3, max_size=30))
        return kind, Polygon(tuple((u * w, v * h) for u, v in points)), (w, h)
    make = Box if kind == "rectangle" else Ellipse
    return kind, make(x, y, draw(extent) * w, draw(extent) * h, draw(degrees)), (w, h)


@given(placed())
def test_there_and_back_through_json(case: tuple[str, Shape, tuple[int, int]]) -> None:
    kind, shape, size = case
    value = json.loads(json.dumps(encode_value(shape, size)))
    back = decode_value(kind, value, size)
    assert type(back) is type(shape)
    assert np.abs(back.corners() - shape.corners()).max() <= 1e-6
    if kind in ("rectangle", "ellipse"):
        assert 0 <= value["rotation"] < 360


@given(placed(), st.sampled_from([0.25, 0.5, 2, 3]))
def test_a_picture_shown_larger_or_smaller_is_the_same_ground(
    case: tuple[str, Shape, tuple[int, int]], scale: float
) -> None:
    kind, shape, size = case
    shown = (size[0] * scale, size[1] * scale)
    if min(shown) < 1:
        return
    back = decode_value(kind, encode_value(shape, size), shown, size)
    assert np.abs(back.corners() - shape.corners()).max() <= 1e-6


@given(hnp.arrays(np.bool_, st.tuples(st.integers(1, 30), st.integers(1, 30))))
def test_a_mask_there_and_back(pixels: np.ndarray[Any, Any]) -> None:
    height, width = pixels.shape
    value = json.loads(json.dumps(encode_value(Mask.of(pixels), (width, height))))
    assert decode_value("brush", value, (width, height)) == Mask.of(pixels)
    double = decode_value("brush", value, (width, height), (2 * width, 2 * height))
    assert double == Mask.of(pixels.repeat(2, axis=0).repeat(2, axis=1))


def test_a_turned_rectangle_lies_where_the_browser_draws_it() -> None:
    """The corners measured in the real editor (facts): 1000 × 500 px."""
    value = {"x": 40, "y": 30, "width": 30, "height": 20, "rotation": 30}
    corners = decode_value("rectangle", value, (1000, 500)).corners()
    expected = [(400, 150), (659.808, 300), (609.808, 386.603), (350, 236.603)]
    assert np.allclose(corners, expected, atol=1e-3)


def test_a_turned_ellipse_turns_about_its_centre_in_pixels() -> None:
    """In percent space its axes would not be at right angles on an image that is not square."""
    value = {"x": 50, "y": 50, "radiusX": 10, "radiusY": 10, "rotation": 90}
    shape = decode_value("ellipse", value, (1000, 500))
    assert shape == Ellipse(500, 250, 100, 50, 90)
    (x0, y0), (x1, y1) = shape.corners().min(axis=0), shape.corners().max(axis=0)
    assert np.allclose([x0, y0, x1, y1], [450, 150, 550, 350])


def test_a_mask_of_another_size_is_not_written() -> None:
    with pytest.raises(InvalidInput, match="a mask of 8 × 8 px on an image of 9 × 8 px"):
        encode_value(Mask.of(np.eye(8)), (9, 8))


def test_a_class_has_no_place_and_no_image_has_no_percent() -> None:
    with pytest.raises(InvalidInput, match="WholeTile has no place"):
        encode_value(WholeTile(), (9, 8))
    with pytest.raises(InvalidInput, match="0 × 0 px has no percent"):
        encode_value(Point(1, 1), (0, 0))


@pytest.mark.parametrize(
    "original", [(1000, 1020), (500, 1000), (float("nan"), 1), (float("inf"), 1), (0, 0), (1e12, 1e12)]
)
def test_a_picture_of_another_shape_is_refused(original: tuple[float, float]) -> None:
    with pytest.raises(InvalidInput, match=r"not the shape of the tile's|an original size of"):
        decode_value("keypoint", {"x": 1, "y": 1}, original, (1000, 1000))


def test_a_picture_that_is_a_pixel_off_is_taken() -> None:
    point = decode_value("keypoint", {"x": 50, "y": 50}, (1000, 1005), (1000, 1000))
    assert point == Point(500, 500)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("ellipse", {"x": 1, "y": 1, "radiusX": float("inf"), "radiusY": 1}),
        ("ellipse", {"x": 1, "y": 1, "radiusX": 1, "radiusY": 1, "rotation": float("nan")}),
        ("rectangle", {"x": 1e300, "y": 1, "width": 1e300, "height": 1}),
        ("keypoint", {"x": float("nan"), "y": 1}),
        ("polygon", {"points": [[1, 1], [2, 2]]}),
        ("polygon", {"points": [[1, 1], [2, 2], [1e308, 3]]}),
        ("brush", {"format": "png", "rle": []}),
    ],
)
def test_numbers_that_no_image_has(kind: str, value: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        decode_value(kind, value, (100, 100))


def test_what_label_studio_would_drop_is_known() -> None:
    size = (300, 700)
    inside = [
        Box(0, 0, 300, 700, 359),
        Ellipse(150, 350, 150, 350),
        Point(300, 700),
        Polygon(((0, 0), (300, 0), (1, 700))),
    ]
    assert [refused(encode_value(s, size)) for s in inside] == [""] * 4
    beyond = [
        Box(310, 0, 1, 1),
        Box(0, 0, 301, 1, 5),
        Ellipse(9, 9, 151, 3),
        Point(1, 701),
        Polygon(((0, 0), (301, 0), (1, 1))),
    ]
    assert all("%" in refused(encode_value(s, size)) for s in beyond)


@given(st.integers(1, 20_000), st.floats(0, 1))
def test_rounding_is_no_reason_to_drop_what_ends_at_the_edge(side: int, at: float) -> None:
    x = at * side
    assert refused(encode_value(Box(x, x, side, side), (side, side))) == ""
    assert refused(encode_value(Polygon(((0, 0), (side, x), (x, side))), (side, side))) == ""
