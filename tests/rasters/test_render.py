"""Bands → the picture."""

from __future__ import annotations

import io
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
from groundlook_adapters.rasters.pictures.render import (
    FORMATS,
    Choice,
    Render,
    choose_bands,
    encode,
    plan,
    stretched,
    to_rgb,
)
from groundlook_adapters.rasters.reading.read import open_scene, read_rgb

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
     {"bands": [[]], "stretch": 1}, {"bands": [1], "stretch": None, "x": 1}, "[" * 100_000,
     {"bands": [1], "stretch": None, "mode": "auto"}, {"bands": [1], "stretch": None, "mode": "heat"},
     {"bands": [1], "stretch": None, "mode": ["db"]}, {"bands": [1], "stretch": None, "offset": 5},
     {"bands": [1], "stretch": None, "mode": "reflectance", "offset": "5"},
     {"bands": [1], "stretch": None, "expressions": ["b1"]}, {"bands": [], "stretch": None, "expressions": []},
     {"bands": [], "stretch": None, "expressions": ["b1 + b2"]}, {"bands": [], "stretch": None, "expressions": [1]},
     {"bands": [], "stretch": None, "expressions": ["__import__('os')"]},
     {"bands": [], "stretch": [[0, 1]], "expressions": ["b1", "b2", "b3"]},
     {"bands": [], "stretch": None, "expressions": ["b1", "b2"]}],
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


def limits(sample: NDArray[Any], valid: NDArray[np.bool_]) -> Any:
    """The stretch that a scene with this sample gets."""
    return stretched(Render((1,), mode="linear"), sample, valid).stretch


def test_the_stretch_ignores_what_is_not_valid() -> None:
    band = np.concatenate([np.arange(100.0), [-9999.0] * 50, [np.nan] * 5]).reshape(5, 31, 1)
    ((low, high),) = limits(band, band[:, :, 0] != -9999)
    assert (low, high) == pytest.approx((1.98, 97.02))
    assert limits(band, np.zeros((5, 31), dtype=bool)) == ((0.0, 1.0),)
    assert limits(np.full((2, 2, 1), 7), np.ones((2, 2), dtype=bool)) == ((7.0, 8.0),)


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


@given(
    st.sampled_from([Choice(), Choice((3, 2, 1)), Choice((4,)), Choice(expressions=("(b4-b1)/(b4 + b1)",)),
                     Choice(expressions=("b1", "b2*2", "-b3")), Choice((4, 3, 2), mode="reflectance", offset=-1000)]),
    st.sampled_from(["auto", "linear", "db", "amplitude", "reflectance"]),
    st.sampled_from(["uint8", "uint16", "int16", "int32", "float32", "float64"]),
    st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_whatever_was_chosen_survives_and_is_shown(choice: Choice, mode: str, dtype: str, seed: int) -> None:
    mode = choice.mode if choice.offset is not None else mode
    if mode == "reflectance" and dtype == "uint8":
        return
    asked = Choice(choice.bands, choice.expressions, mode, choice.offset)
    render = plan(4, ["gray"] * 4, [dtype] * 4, asked)
    rng = np.random.default_rng(seed)
    bands = rng.integers(0, 120, (8, 9, len(render.needs()))).astype(dtype)
    valid = rng.random((8, 9)) < 0.8
    done = stretched(render, bands, valid)
    assert Render.parse(done.text()) == done
    assert Render.parse(done.data()).text() == done.text()
    assert set(done.needs()) <= {1, 2, 3, 4}
    picture = to_rgb(bands, valid, done)
    assert picture.shape == (8, 9, 3)
    assert picture.dtype == np.uint8
    assert (picture[~valid] == 0).all()


def test_a_plain_render_is_two_fields_however_it_was_asked_for() -> None:
    sample = np.arange(300, dtype=np.uint16).reshape(10, 10, 3)
    texts = {
        stretched(plan(3, ["gray"] * 3, ["uint16"] * 3, Choice(mode=mode)), sample, np.ones((10, 10), bool)).text()
        for mode in ("auto", "linear")
    }
    assert len(texts) == 1
    assert set(Render.parse(texts.pop()).data()) == {"bands", "stretch"}


def test_tables_and_arithmetic_give_the_same_picture() -> None:
    rng = np.random.default_rng(1)
    bands = rng.integers(0, 5000, (40, 50, 3)).astype(np.uint16)
    valid = rng.random((40, 50)) < 0.9
    for render in (
        Render((3, 1, 2), ((100.0, 3000.0), (0.0, 4000.5), (7.25, 9000.0))),
        Render((1,), ((10.0, 35.0),), mode="db"),
        Render((1, 2, 3), ((0.0, 0.3),) * 3, mode="reflectance", offset=-1000.0),
    ):
        used = bands[:, :, : len(render.needs())]
        by_table, by_arithmetic = (to_rgb(used.astype(t), valid, render).astype(int) for t in ("uint16", "float64"))
        assert np.abs(by_table - by_arithmetic).max() <= 1
        assert ((by_table == 0) == (by_arithmetic == 0)).all()


def test_bands_come_in_the_order_asked_for() -> None:
    bands = np.dstack([np.full((2, 2), v, dtype=np.uint8) for v in (10, 20, 30)])
    assert to_rgb(bands, np.ones((2, 2), bool), Render((3, 1, 2)))[0, 0].tolist() == [30, 10, 20]
    assert Render((5, 2, 2)).needs() == (2, 5)
    two = np.dstack([np.full((2, 2), v, dtype=np.uint16) for v in (20, 50)])
    assert to_rgb(two, np.ones((2, 2), bool), Render((5, 2, 2), ((20.0, 50.0),) * 3))[0, 0].tolist() == [255, 1, 1]


def test_reflectance_looks_alike_at_every_date() -> None:
    """The same ground before and after baseline 04.00, which adds 1000 to every number."""
    ground = np.linspace(0, 4000, 300).reshape(10, 30, 1)
    before, after = ground.astype(np.uint16), (ground + 1000).astype(np.uint16)
    old = plan(1, ["gray"], ["uint16"], Choice(mode="reflectance"))
    new = plan(1, ["gray"], ["uint16"], Choice(mode="reflectance", offset=-1000))
    tagged = plan(1, ["gray"], ["uint16"], Choice(mode="reflectance"), [-0.1])
    assert tagged == new
    valid = np.ones((10, 30), bool)
    assert stretched(old, before, valid) == old, "the range is fixed"
    assert (to_rgb(before, valid, old) == to_rgb(after, valid, new)).all()
    shown = to_rgb(np.array([[[0], [1500], [3000], [9000]]], dtype=np.uint16), np.ones((1, 4), bool), old)[0, :, 0]
    assert shown.tolist() == [1, 128, 255, 255]


def test_decibels() -> None:
    power = np.array([[[0.0], [-1.0], [0.001], [0.1], [10.0], [np.nan]]], dtype=np.float32)
    valid = np.ones((1, 6), bool)
    render = Render((1,), ((-30.0, 10.0),), mode="db")
    assert to_rgb(power, valid, render)[0, :, 0].tolist() == [0, 0, 1, 128, 255, 0]
    amplitude = Render((1,), ((-60.0, 20.0),), mode="amplitude")
    assert to_rgb(power, valid, amplitude)[0, :, 0].tolist() == [0, 0, 1, 128, 255, 0]
    found = stretched(plan(1, ["gray"], ["float32"], Choice(mode="db")), power, valid)
    assert found.stretch is not None
    assert -30 <= found.stretch[0][0] < found.stretch[0][1] <= 10


def test_ndvi_is_shown_and_where_it_has_no_value_is_black() -> None:
    pixels = np.array([[[100, 300], [0, 0], [300, 100], [200, 200]]], dtype=np.uint16)
    render = plan(4, ["gray"] * 4, ["uint16"] * 4, Choice(expressions=("(b4-b1)/(b4+b1)",)))
    assert render.needs() == (1, 4)
    shown = stretched(render, pixels, np.ones((1, 4), bool))
    picture = to_rgb(pixels, np.ones((1, 4), bool), shown)
    assert picture[0, 1].tolist() == [0, 0, 0]
    assert picture[0, 0, 0] > picture[0, 3, 0] > picture[0, 2, 0] >= 1


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        (Choice((1, 5, 2)), "there is no band 5: the raster has 4 bands"),
        (Choice((1, 2)), "bands 1,2: give one"),
        (Choice((1,), ("b1",)), "can't both be shown"),
        (Choice(expressions=("b1", "b2")), "2 expressions"),
        (Choice(expressions=("b9",)), "'b9' at column 1 is not a band; the raster has 4 bands, bands are b1 … b4"),
        (Choice(mode="heat"), "'heat' is unknown; use one of auto, linear, reflectance"),
        (Choice(offset=5.0), "belongs to mode reflectance"),
        (Choice(mode="reflectance", offset=float("nan")), "is not a number"),
    ],
)
def test_a_choice_that_does_not_fit_is_refused(choice: Choice, words: str) -> None:
    with pytest.raises(InvalidInput) as error:
        plan(4, ["gray"] * 4, ["uint16"] * 4, choice)
    assert words in str(error.value)


def test_pixels_that_a_mode_can_not_show_are_refused() -> None:
    with pytest.raises(InvalidInput, match="uint8 pixels are no reflectance"):
        plan(3, ["gray"] * 3, ["uint8"] * 3, Choice(mode="reflectance"))
    with pytest.raises(InvalidInput, match="say which with --offset"):
        plan(3, ["gray"] * 3, ["uint16"] * 3, Choice(mode="reflectance"), [0, -1000, 0])
    with pytest.raises(InvalidInput, match="complex"):
        plan(1, ["gray"], ["complex64"], Choice())


@given(st.integers(0, 2**32 - 1), st.sampled_from([np.uint8, np.uint16]), st.integers(1, 2000))
def test_the_histogram_gives_the_percentiles_of_numpy(seed: int, dtype: type, count: int) -> None:
    values = np.random.default_rng(seed).integers(0, 250, (1, count, 1)).astype(dtype)
    ((low, high),) = limits(values, np.ones((1, count), bool))
    expected = [float(f"{v:.6g}") for v in np.percentile(values, (2, 98))]
    assert low == pytest.approx(expected[0])
    assert high == pytest.approx(expected[1] if expected[1] > expected[0] else low + 1)


def test_every_format_is_what_it_says(rgb: NDArray[np.uint8]) -> None:
    heads = {"jpg": b"\xff\xd8\xff", "png": b"\x89PNG", "webp": b"RIFF"}
    for fmt in FORMATS:
        data = encode(rgb, fmt)
        assert data.startswith(heads[fmt])
        assert Image.open(io.BytesIO(data)).size == (400, 300)
    with pytest.raises(InvalidInput, match="can't be written as webp"):
        encode(np.zeros((1, 17_000, 3), dtype=np.uint8), "webp")


def test_encoding_keeps_the_order_of_colours(rgb: NDArray[np.uint8]) -> None:
    png = cv2.imdecode(np.frombuffer(encode(rgb, "png"), np.uint8), cv2.IMREAD_COLOR)
    assert (png[:, :, ::-1] == rgb).all()
    flat = np.full((64, 64, 3), (200, 100, 20), dtype=np.uint8)
    jpeg = cv2.imdecode(np.frombuffer(encode(flat, "jpg"), np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(jpeg[:, :, ::-1].astype(int) - flat).max() <= 3
    with pytest.raises(InvalidInput, match="'gif'"):
        encode(rgb, "gif")
