"""What we store ourselves: regions and tiles through JSON text and back, nothing lost."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundlook.core.codec import decode_region, decode_shape, decode_tile, encode_region, encode_shape, encode_tile
from groundlook.core.geo import GeoRef, TileRef
from groundlook.core.geometry import Box, Ellipse, Point, Polygon, Shape, WholeTile
from groundlook.core.mask import Mask
from groundlook.core.types import Region

number = st.floats(-1e7, 1e7)
pixels = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).random((7, 9)) < 0.4)
shapes: st.SearchStrategy[Shape] = st.one_of(
    st.builds(Box, number, number, number, number, number),
    st.lists(st.tuples(number, number), max_size=8).map(lambda p: Polygon(tuple(p))),
    st.builds(Ellipse, number, number, number, number, number),
    st.builds(Point, number, number),
    pixels.map(Mask.of),
    st.just(WholeTile()),
)
regions = st.builds(
    Region,
    shapes,
    st.text(),
    st.none() | st.floats(0, 1),
    st.text(),
    st.sampled_from(["manual", "prediction", "prediction-changed"]),
)
whole = st.integers(0, 2**31)
tiles = st.builds(
    TileRef,
    st.text(),
    st.text(),
    st.tuples(whole, whole, whole, whole),
    st.none() | st.builds(GeoRef, st.text(), st.tuples(number, number, number, number, number, number)),
    st.text(),
    st.none() | st.text(),
    st.text(),
)


@given(shapes)
def test_shapes(shape: Shape) -> None:
    body = encode_shape(shape)
    assert len(body) == 1
    assert decode_shape(json.loads(json.dumps(body))) == shape


@given(regions)
def test_regions(region: Region) -> None:
    assert decode_region(json.loads(json.dumps(encode_region(region)))) == region


@given(st.none() | tiles)
def test_tiles_keep_their_uid(tile: TileRef | None) -> None:
    back = decode_tile(json.loads(json.dumps(encode_tile(tile))))
    assert back == tile
    assert back is None or tile is None or back.uid == tile.uid


@pytest.mark.parametrize("empty", [Mask.of(np.zeros((3, 5), dtype=bool)), Polygon(())])
def test_nothing_is_something_too(empty: Shape) -> None:
    assert decode_shape(json.loads(json.dumps(encode_shape(empty)))) == empty
