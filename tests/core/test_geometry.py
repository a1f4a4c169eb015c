"""Boxes, also turned ones, polygons, overlap."""

from __future__ import annotations

import math

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from groundlook.core.geometry import Box, Polygon, box_iou, envelope

position = st.floats(-5000, 5000)
length = st.floats(0.1, 2000)
upright = st.tuples(position, position, length, length).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))


def test_a_turned_box_has_the_corners_that_the_browser_draws() -> None:
    # facts/label-studio.md: x40 y30 w30 h20 (percent) rot30 on 1000 × 500
    corners = Box(400, 150, 300, 100, 30).corners()
    expected = [(400, 150), (659.808, 300), (609.808, 386.603), (350, 236.603)]
    assert corners == pytest.approx(np.array(expected), abs=1e-3)


@given(position, position, length, length, st.floats(-360, 360))
def test_turning_keeps_the_first_corner_the_sides_and_the_area(
    x: float, y: float, w: float, h: float, rotation: float
) -> None:
    p = Box(x, y, w, h, rotation).corners()
    assert p[0] == pytest.approx((x, y))
    sides = np.hypot(*(np.roll(p, -1, axis=0) - p).T)
    assert sides == pytest.approx([w, h, w, h], rel=1e-6, abs=1e-6)
    assert shapely.Polygon(p).area == pytest.approx(w * h, rel=1e-6, abs=1e-6)


@given(position, position, length, length, st.floats(-360, 360))
def test_a_full_turn_changes_nothing(x: float, y: float, w: float, h: float, rotation: float) -> None:
    once, again = Box(x, y, w, h, rotation).corners(), Box(x, y, w, h, rotation + 360).corners()
    assert once == pytest.approx(again, abs=1e-6)


@given(position, position, length, length, st.floats(-360, 360))
def test_the_envelope_holds_every_corner(x: float, y: float, w: float, h: float, rotation: float) -> None:
    box = Box(x, y, w, h, rotation)
    x0, y0, x1, y1 = envelope(box)
    assert x1 - x0 <= math.hypot(w, h) + 1e-6
    assert y1 - y0 <= math.hypot(w, h) + 1e-6
    for px, py in box.corners():
        assert x0 <= px <= x1
        assert y0 <= py <= y1


@given(st.lists(upright, min_size=1, max_size=6), st.lists(upright, min_size=1, max_size=6))
def test_iou_is_what_shapely_says(a: list[tuple[float, ...]], b: list[tuple[float, ...]]) -> None:
    iou = box_iou(np.array(a), np.array(b))
    assert iou.shape == (len(a), len(b))
    for i, one in enumerate(a):
        for j, two in enumerate(b):
            p, q = shapely.box(*one), shapely.box(*two)
            assert iou[i, j] == pytest.approx(p.intersection(q).area / p.union(q).area, abs=1e-6)
    assert pytest.approx(iou) == box_iou(np.array(b), np.array(a)).T


def test_iou_of_nothing() -> None:
    one = np.array([[0, 0, 10, 10]])
    assert box_iou(np.zeros((0, 4)), one).shape == (0, 1)
    assert box_iou(np.array([[5, 5, 5, 5]]), np.array([[5, 5, 5, 5]])).tolist() == [[0.0]]
    assert box_iou(one, one).tolist() == [[1.0]]


def test_a_polygon_keeps_its_points() -> None:
    points = ((0.0, 0.0), (4.0, 1.0), (2.0, 5.0))
    assert Polygon(points).corners().tolist() == [list(p) for p in points]
    assert envelope(Polygon(points)) == (0, 0, 4, 5)
