"""Pixel ↔ map, windows and tile identity."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundlook.core.geo import GeoRef, TileRef

coordinate = st.floats(-20_000, 20_000, allow_nan=False)
pixels = st.lists(st.tuples(coordinate, coordinate), min_size=1, max_size=20)


@st.composite
def georefs(draw: st.DrawFn) -> GeoRef:
    """Any invertible affine: turned, skewed, mirrored, 1 cm to 1 km pixels, eastings and northings in the millions."""
    sx, sy = draw(st.floats(0.01, 1000)), draw(st.floats(0.01, 1000))
    turn, skew = np.radians(draw(st.floats(-180, 180))), np.tan(np.radians(draw(st.floats(-60, 60))))
    flip = draw(st.sampled_from([1, -1]))
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    (a, b), (d, e) = rotation @ np.array([[sx, skew * sy], [0, flip * sy]])
    c, f = draw(st.floats(-2e7, 2e7)), draw(st.floats(-2e7, 2e7))
    return GeoRef("EPSG:32631", (float(a), float(b), c, float(d), float(e), f))


@given(georefs(), pixels)
def test_pixel_to_map_to_pixel(georef: GeoRef, points: list[tuple[float, float]]) -> None:
    p = np.array(points)
    back = georef.to_pixel(georef.to_map(p))
    # A map coordinate of 2e7 holds 4e-9 m; in 1 cm pixels, skewed up to 60°, that is a few millionths.
    assert np.abs(back - p).max() < 1e-5


@given(georefs(), pixels)
def test_map_to_pixel_to_map(georef: GeoRef, points: list[tuple[float, float]]) -> None:
    q = georef.to_map(np.array(points))
    again = georef.to_map(georef.to_pixel(q))
    assert np.abs(again - q).max() < 1e-5 * max(georef.gsd())


@given(georefs(), st.integers(0, 50_000), st.integers(0, 50_000), pixels)
def test_a_window_sees_the_same_ground(
    georef: GeoRef, column: int, row: int, points: list[tuple[float, float]]
) -> None:
    p = np.array(points)
    whole = georef.to_map(p + np.array([column, row]))
    window = georef.window(column, row).to_map(p)
    assert np.abs(whole - window).max() < 1e-6 * max(1.0, *georef.gsd())


@given(georefs(), *[st.integers(0, 10_000)] * 4)
def test_windows_of_windows_add_up(georef: GeoRef, c1: int, r1: int, c2: int, r2: int) -> None:
    twice = georef.window(c1, r1).window(c2, r2).transform
    assert twice == pytest.approx(georef.window(c1 + c2, r1 + r2).transform, rel=1e-12, abs=1e-6)


@given(georefs(), *[st.integers(0, 10_000)] * 2)
def test_a_window_keeps_scale_and_turn(georef: GeoRef, column: int, row: int) -> None:
    window = georef.window(column, row)
    assert window.gsd() == georef.gsd()
    assert window.crs == georef.crs


def test_points_keep_their_order_and_shape() -> None:
    georef = GeoRef("EPSG:32631", (0.5, 0, 400_000, 0, -0.5, 5_000_000))
    assert georef.to_map(np.array([[10, 20], [0, 0]])).tolist() == [[400_005, 4_999_990], [400_000, 5_000_000]]
    assert georef.to_pixel(np.zeros((0, 2))).shape == (0, 2)


def test_outline_is_in_pixels_without_georeference() -> None:
    tile = TileRef("/a.png", "e", (5, 6, 30, 20))
    assert tile.outline().tolist() == [[0, 0], [30, 0], [30, 20], [0, 20]]
    assert tile.size == (30, 20)


def test_uid_depends_on_what_is_shown_and_where_it_lies_and_on_nothing_else() -> None:
    place = GeoRef("EPSG:32631", (1, 0, 5e5, 0, -1, 5e6))
    tile = TileRef("/a.tif", "e", (0, 0, 8, 8), place, "s", None, "r")
    again = GeoRef("EPSG:32631", (1.0, -0.0, 500000.0, 0.0, -1.0, 5000000.0))  # as JSON may give it back
    assert TileRef("/a.tif", "e", (0, 0, 8, 8), again, "t", "2020", "r").uid == tile.uid
    others = [
        replace(tile, source="/b.tif"),
        replace(tile, etag="f"),
        replace(tile, window=(1, 0, 8, 8)),
        replace(tile, render="q"),
        replace(tile, georef=None),
        replace(tile, georef=GeoRef("EPSG:32632", place.transform)),
        replace(tile, georef=GeoRef("EPSG:32631", (1, 0, 5e5 + 1e-6, 0, -1, 5e6))),
    ]
    assert len({tile.uid, *(other.uid for other in others)}) == 8
