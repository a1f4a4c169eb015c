"""Scenes that control points or RPCs place, on a grid of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.warp
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.control import GroundControlPoint
from rasterio.rpc import RPC

from groundlook.core.errors import InvalidRaster
from groundlook_adapters.rasters.reading.read import (
    Scene,
    open_scene,
    opened,
    quicklook,
    read_rgb,
    read_window,
    valid_pixels,
)
from groundlook_adapters.rasters.reading.warp import utm

W, H = 500, 400
TURNED = rasterio.Affine(1.6, 0.5, 400_000, 0.4, -1.7, 5_000_000)
"""Pixels of about 1.7 m, turned by 17 degrees, in EPSG:32631."""


def _ramp(step: float = 1.0) -> NDArray[np.uint16]:
    """(H, W): east + 2·north of the pixel's centre, less a constant: linear, so that bilinear resampling keeps it."""
    columns, rows = np.meshgrid(np.arange(W) + 0.5, np.arange(H) + 0.5)
    x, y = _apply(TURNED, columns, rows)
    return np.round(step * (x - 400_000 + 2 * (y - 5_000_000)) + 20_000).astype(np.uint16)


def _apply(transform: Any, columns: Any, rows: Any) -> tuple[Any, Any]:
    a, b, c, d, e, f = tuple(transform)[:6]
    return a * columns + b * rows + c, d * columns + e * rows + f


def _points(crs: str) -> list[GroundControlPoint]:
    places = [(c, r) for c in np.linspace(0, W, 5) for r in np.linspace(0, H, 5)]
    xs, ys = zip(*(_apply(TURNED, c, r) for c, r in places), strict=True)
    xs, ys = rasterio.warp.transform("EPSG:32631", crs, xs, ys)
    return [GroundControlPoint(row=r, col=c, x=x, y=y) for (c, r), x, y in zip(places, xs, ys, strict=True)]


def _write(path: Path, pixels: NDArray[Any], **options: Any) -> Path:
    with rasterio.open(
        path, "w", driver="GTiff", width=W, height=H, count=1, dtype=pixels.dtype, tiled=True, **options
    ) as dataset:
        dataset.write(pixels, 1)
    return path


def _placed(path: Path, pixels: NDArray[Any], crs: str = "EPSG:32631", **options: Any) -> Path:
    return _write(path, pixels, gcps=_points(crs), crs=crs, **options)


def _worst(scene: Scene, root: Path) -> float:
    """Largest difference, in ground metres of the ramp, between what a pixel shows and where it says it lies."""
    shown = read_window(scene.source, (0, 0, scene.width, scene.height), [root])
    assert scene.georef is not None
    assert scene.georef.crs == "EPSG:32631"
    columns, rows = np.meshgrid(np.arange(scene.width) + 0.5, np.arange(scene.height) + 0.5)
    x, y = _apply(scene.georef.transform, columns, rows)
    expected = x - 400_000 + 2 * (y - 5_000_000) + 20_000
    inside = shown[:, :, 1] == shown[:, :, 1].max()
    assert 0.5 < inside.mean() < 0.9
    return float(np.abs(shown[:, :, 0] - expected)[inside].max())


@pytest.mark.parametrize("crs", ["EPSG:32631", "EPSG:4326"])
def test_pixels_lie_where_the_control_points_say(tmp_path: Path, crs: str) -> None:
    scene = open_scene(_placed(tmp_path / "gcp.tif", _ramp(), crs), [tmp_path])
    assert (scene.bands, scene.dtype) == (2, "uint16")
    assert scene.width * scene.height < 2 * W * H
    # one pixel is 1.7 + 2 · 1.7 m of the ramp; at the rim the kernel has only half its neighbours
    assert _worst(scene, tmp_path) < 2.6


def test_a_window_is_the_same_whoever_asks(tmp_path: Path) -> None:
    scene = open_scene(_placed(tmp_path / "gcp.tif", _ramp(), "EPSG:4326"), [tmp_path])
    whole = read_window(scene.source, (0, 0, scene.width, scene.height), [tmp_path])
    for column, row in ((0, 0), (200, 100), (scene.width - 128, scene.height - 96)):
        part = read_window(scene.source, (column, row, 128, 96), [tmp_path])
        assert (part == whole[row : row + 96, column : column + 128]).all()
    assert open_scene(scene.source, [tmp_path]) == scene


def test_outside_is_black(tmp_path: Path) -> None:
    scene = open_scene(_placed(tmp_path / "gcp.tif", _ramp()), [tmp_path])
    picture = read_rgb(scene.source, (0, 0, scene.width, scene.height), scene.render, [tmp_path])
    alpha = read_window(scene.source, (0, 0, scene.width, scene.height), [tmp_path])[:, :, 1]
    assert (picture[alpha == 0] == 0).all()
    assert (picture[alpha > 0] > 0).all()
    assert (alpha > 0).any()
    assert quicklook(scene.source, scene.render, [tmp_path], 100).shape[1] == 100


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_outside_is_not_valid_in_any_dtype(tmp_path: Path, dtype: str) -> None:
    scene = open_scene(_placed(tmp_path / "gcp.tif", (_ramp() // 100).astype(dtype)), [tmp_path])
    with opened(scene.source) as dataset:
        valid = valid_pixels(dataset, (0, 0, scene.width, scene.height))
    assert 0.5 < valid.mean() < 0.9
    assert not valid[0, 0]


def test_a_nodata_value_stays_one(tmp_path: Path) -> None:
    pixels = _ramp()
    pixels[:100] = 0
    scene = open_scene(_placed(tmp_path / "gcp.tif", pixels, nodata=0), [tmp_path])
    assert scene.bands == 1
    shown = read_window(scene.source, (0, 0, scene.width, scene.height), [tmp_path])[:, :, 0]
    assert 0.4 < (shown == 0).mean() < 0.7
    assert shown[shown > 0].min() > 15_000


def test_rpcs_are_evaluated_at_their_own_height(tmp_path: Path) -> None:
    one, zero = [1.0, *[0.0] * 19], [0.0] * 20
    line, sample = list(zero), list(zero)
    line[2], line[3] = -1.0, 0.2  # latitude, height
    sample[1] = 1.0
    rpc = RPC(
        height_off=700, height_scale=500, lat_off=45.0, lat_scale=0.01, line_den_coeff=one, line_num_coeff=line,
        line_off=H / 2, line_scale=H / 2, long_off=7.0, long_scale=0.014, samp_den_coeff=one, samp_num_coeff=sample,
        samp_off=W / 2, samp_scale=W / 2, err_bias=None, err_rand=None,
    )  # fmt: skip
    scene = open_scene(_write(tmp_path / "rpc.tif", _ramp(), rpcs=rpc), [tmp_path])
    assert scene.georef is not None
    assert scene.georef.crs == "EPSG:32632"
    x, y = rasterio.warp.transform("EPSG:4326", "EPSG:32632", [7.0], [45.0])
    ((column, row),) = scene.georef.to_pixel(np.array([[x[0], y[0]]]))
    shown = read_window(scene.source, (int(column) - 1, int(row) - 1, 3, 3), [tmp_path])[:, :, 0]
    assert shown.mean() == pytest.approx(float(_ramp()[H // 2 - 1 : H // 2 + 1, W // 2 - 1 : W // 2 + 1].mean()), abs=8)


def test_points_without_a_crs_and_points_that_lie(tmp_path: Path) -> None:
    with pytest.raises(InvalidRaster, match="ground control points without a CRS"):
        open_scene(_write(tmp_path / "a.tif", _ramp(), gcps=_points("EPSG:32631"), crs=rasterio.CRS()), [tmp_path])
    wrong = [
        GroundControlPoint(row=0, col=0, x=0, y=0),
        GroundControlPoint(row=0, col=W, x=1e6, y=0),
        GroundControlPoint(row=H, col=0, x=1e6, y=1.0),
    ]
    path = _write(tmp_path / "b.tif", _ramp(), gcps=wrong, crs="EPSG:32631")
    with pytest.raises(InvalidRaster, match=str(path)):
        open_scene(path, [tmp_path])


@given(st.floats(-180, 180), st.floats(-90, 90))
def test_the_zone_of_a_place_is_never_far_off(longitude: float, latitude: float) -> None:
    code = utm(longitude, latitude)
    if abs(latitude) < 80:
        zone = code % 100
        assert code // 100 == (326 if latitude >= 0 else 327)
        assert abs((longitude - (6 * zone - 183) + 180) % 360 - 180) <= 3 + 1e-9
    elif latitude > 84 or latitude < -80:
        assert code == (3995 if latitude > 0 else 3031)


def test_across_the_antimeridian(tmp_path: Path) -> None:
    places = [(c, r) for c in (0, W) for r in (0, H)]
    points = [GroundControlPoint(row=r, col=c, x=179.999 if c == 0 else -179.994, y=60 - r * 1e-5) for c, r in places]
    scene = open_scene(_write(tmp_path / "date.tif", _ramp(), gcps=points, crs="EPSG:4326"), [tmp_path])
    assert scene.georef is not None
    assert scene.georef.crs == "EPSG:32601"
    across, down = scene.width * scene.georef.gsd()[0], scene.height * scene.georef.gsd()[1]
    east = 0.007 * 111_320 * np.cos(np.radians(60))
    assert (across, down) == (pytest.approx(east, abs=25), pytest.approx(0.004 * 111_412, abs=25))


@pytest.mark.parametrize(("name", "turn"), [("across", -180.0), ("beyond", 0.0), ("west", -360.0)])
def test_control_points_at_the_antimeridian(tmp_path: Path, name: str, turn: float) -> None:
    """Longitudes that jump in the middle of the scene, or that go on past 180, are the same place."""
    places = [(c, r) for c in np.linspace(0, W, 5) for r in np.linspace(0, H, 5)]

    def longitude(column: float) -> float:
        found = 179.999 + column * 1e-5
        return found + turn if turn != -180 else (found + 180) % 360 - 180

    points = [GroundControlPoint(row=r, col=c, x=longitude(c), y=-17 - r * 1e-5) for c, r in places]
    path = _write(tmp_path / f"{name}.tif", np.full((H, W), 700, dtype=np.uint16), gcps=points, crs="EPSG:4326")
    scene = open_scene(path, [tmp_path])
    assert scene.georef is not None
    assert scene.georef.crs == "EPSG:32701"
    corners = [(0, 0), (W, 0), (W, H), (0, H)]
    xs, ys = rasterio.warp.transform(
        "EPSG:4326", scene.georef.crs, [179.999 + c * 1e-5 for c, _ in corners], [-17 - r * 1e-5 for _, r in corners]
    )
    px = scene.georef.to_pixel(np.stack([xs, ys], axis=1))
    assert px.min(axis=0) == pytest.approx([0, 0], abs=0.5)
    assert px.max(axis=0) == pytest.approx([scene.width, scene.height], abs=1.5)
    with opened(str(path), [tmp_path]) as dataset:
        valid = valid_pixels(dataset, (0, 0, scene.width, scene.height))
    assert valid.mean() > 0.95  # the scene fills its grid; the corners are turned by less than a degree
    assert (read_window(str(path), (scene.width // 2, scene.height // 2, 4, 4), [tmp_path])[..., 0] == 700).all()
