"""Bands → the picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from groundlook.core.errors import InvalidInput, InvalidRaster
from groundlook_adapters.rasters.read import open_scene, read_rgb
from groundlook_adapters.rasters.render import Render, choose_bands, compute_stretch, encode, encode_jpeg, to_rgb

MakeRaster = Callable[..., Path]

finite = st.floats(allow_nan=False, allow_infinity=False, width=32)
stretches = st.lists(st.tuples(finite, finite).filter(lambda p: p[0] < p[1]), min_size=3, max_size=3)


@given(st.sampled_from([(1, 2, 3), (4, 3, 2)]), st.none() | stretches)
def test_a_render_survives_as_text_and_as_json(
    bands: tuple[int, ...], stretch: list[tuple[float, float]] | None
) -> None:
    render = Render(bands, None if stretch is None else tuple(stretch))
    assert Render.parse(render.text()) == render
    assert Render.parse(render.data()) == render
    assert Render.parse(render.data()).text() == render.text()


@pytest.mark.parametrize(
    "value",
    ["", "{", "[]", None, 3, {"bands": [1, 2, 3]}, {"bands": [1, 2], "stretch": None}, {"bands": [0], "stretch": None},
     {"bands": [True], "stretch": None}, {"bands": [1], "stretch": [[1, 1]]}, {"bands": [1], "stretch": [[0, 1e999]]},
     {"bands": [1], "stretch": [["0", "1"]]}, {"bands": [1], "stretch": [[0, 1], [0, 1]]},
     {"bands": [[]], "stretch": 1}, {"bands": [1], "stretch": None, "x": 1}, "[" * 100_000],
)  # fmt: skip
def test_a_render_that_is_not_ours_is_refused(value: Any) -> None:
    with pytest.raises(InvalidInput, match="ingest the scene again"):
        Render.parse(value)


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["red", "green", "blue"], (1, 2, 3)),
        (["blue", "green", "red", "undefined"], (3, 2, 1)),
        (["gray"], (1,)),
        (["gray", "alpha"], (1,)),
        (["gray", "undefined", "undefined", "undefined"], (1, 2, 3)),
        (["red", "green", "blue", "alpha"], (1, 2, 3)),
    ],
)
def test_which_bands_are_shown(names: list[str], shown: tuple[int, ...]) -> None:
    assert choose_bands(len(names), names) == shown


def test_the_stretch_ignores_what_is_not_valid() -> None:
    band = np.concatenate([np.arange(100.0), [-9999.0] * 50, [np.nan] * 5]).reshape(5, 31, 1)
    ((low, high),) = compute_stretch(band, band[:, :, 0] != -9999)
    assert (low, high) == pytest.approx((1.98, 97.02))
    assert compute_stretch(band, np.zeros((5, 31), dtype=bool)) == ((0.0, 1.0),)
    assert compute_stretch(np.full((2, 2, 1), 7), np.ones((2, 2), dtype=bool)) == ((7.0, 8.0),)


@given(st.integers(0, 2**32 - 1), st.sampled_from(["uint16", "int16", "int32", "float32", "float64"]))
def test_valid_is_never_black_and_nodata_always_is(seed: int, dtype: str) -> None:
    rng = np.random.default_rng(seed)
    bands = (rng.normal(size=(8, 9, 1)) * 1e4).astype(dtype)
    valid = rng.random((8, 9)) < 0.7
    picture = to_rgb(bands, valid, Render((1,), ((-5000.0, 5000.0),)))
    assert picture.shape == (8, 9, 3)
    assert picture.dtype == np.uint8
    assert (picture[~valid] == 0).all()
    assert (picture[valid] >= 1).all()
    order = np.argsort(bands[valid][:, 0])
    assert (np.diff(picture[valid][order, 0].astype(int)) >= 0).all()


def test_the_ends_of_the_stretch_are_1_and_255() -> None:
    bands = np.array([[[-9e9], [10], [15], [20], [np.inf], [np.nan]]])
    picture = to_rgb(bands, np.ones((1, 6), dtype=bool), Render((1,), ((10.0, 20.0),)))
    assert picture[0, :, 0].tolist() == [1, 1, 128, 255, 0, 0]


def test_one_stretch_for_the_whole_scene(tmp_path: Path, make_tif: MakeRaster) -> None:
    ramp = np.linspace(100, 60_000, 500 * 400).astype(np.uint16).reshape(400, 500, 1)
    ramp[:20] = 0
    scene = open_scene(make_tif(ramp, nodata=0), [tmp_path])
    assert scene.stretch is not None
    whole = read_rgb(scene.source, (0, 0, 500, 400), scene.render.text(), [tmp_path])
    part = read_rgb(scene.source, (100, 50, 64, 64), scene.render.text(), [tmp_path])
    assert (whole[50:114, 100:164] == part).all()
    assert (whole[:20] == 0).all()
    assert (whole[20:] >= 1).all()
    low, high = scene.stretch[0]
    assert low == pytest.approx(np.percentile(ramp[20:], 2), rel=0.02)
    assert high == pytest.approx(np.percentile(ramp[20:], 98), rel=0.02)


def test_transparent_is_black_and_saturated_is_not(
    tmp_path: Path, make_tif: MakeRaster, rgb: NDArray[np.uint8]
) -> None:
    alpha = np.full((300, 400, 1), 255, dtype=np.uint8)
    alpha[:, :50] = 0
    rgba = open_scene(
        make_tif(np.concatenate([rgb, alpha], axis=2), "a.tif", photometric="RGB", alpha="YES"), [tmp_path]
    )
    picture = read_rgb(rgba.source, (0, 0, 400, 300), rgba.render, [tmp_path])
    assert (picture[:, :50] == 0).all()
    assert (picture[:, 50:] == rgb[:, 50:]).all()
    bright = rgb.copy()
    bright[:9, :9] = 255
    neon = open_scene(make_tif(bright, "n.tif", photometric="RGB", nodata=255), [tmp_path])
    assert (read_rgb(neon.source, (0, 0, 400, 300), neon.render, [tmp_path]) == bright).all()


def test_grey_palette_and_more_bands(tmp_path: Path, make_tif: MakeRaster, rgb: NDArray[np.uint8]) -> None:
    grey = open_scene(make_tif(rgb[:, :, :1], "g.tif"), [tmp_path])
    picture = read_rgb(grey.source, (0, 0, 400, 300), grey.render, [tmp_path])
    assert (picture == rgb[:, :, :1]).all()
    six = open_scene(make_tif(np.concatenate([rgb, rgb], axis=2), "six.tif"), [tmp_path])
    assert (read_rgb(six.source, (0, 0, 400, 300), six.render, [tmp_path]) == rgb).all()
    Image.fromarray(rgb).quantize(16).save(tmp_path / "p.png")
    expected = np.asarray(Image.open(tmp_path / "p.png").convert("RGB"))
    palette = open_scene(tmp_path / "p.png", [tmp_path])
    assert (read_rgb(palette.source, (0, 0, 400, 300), palette.render, [tmp_path]) == expected).all()


def test_a_render_that_does_not_fit_the_raster(tmp_path: Path, make_tif: MakeRaster, rgb: NDArray[np.uint8]) -> None:
    path = str(make_tif(rgb.astype(np.uint16)))
    with pytest.raises(InvalidRaster, match=r"has 3 bands, the tile shows \(4, 5, 6\)"):
        read_rgb(path, (0, 0, 9, 9), Render((4, 5, 6)), [tmp_path])
    with pytest.raises(InvalidInput, match="uint16 pixels need a stretch"):
        read_rgb(path, (0, 0, 9, 9), Render((1, 2, 3)), [tmp_path])


def test_encoding_keeps_the_order_of_colours(rgb: NDArray[np.uint8]) -> None:
    png = cv2.imdecode(np.frombuffer(encode(rgb, "png"), np.uint8), cv2.IMREAD_COLOR)
    assert (png[:, :, ::-1] == rgb).all()
    flat = np.full((64, 64, 3), (200, 100, 20), dtype=np.uint8)
    jpeg = cv2.imdecode(np.frombuffer(encode_jpeg(flat), np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(jpeg[:, :, ::-1].astype(int) - flat).max() <= 3
    with pytest.raises(InvalidInput, match="'gif'"):
        encode(rgb, "gif")
