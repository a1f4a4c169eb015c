"""The 54 real GeoTIFFs: each is opened, and rightly, or refused for the reason that stands here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.errors
from rasterio.windows import Window

from groundlook.core.errors import InvalidRaster
from groundlook_adapters.rasters.crs import parse_crs, to_lonlat
from groundlook_adapters.rasters.reading.read import Scene, open_scene, quicklook, read_rgb, read_window

REFUSED = {
    "label_maker/1087767-1046604-21.tif": "has no CRS and no transform",
    "label_maker/1087767-1046604-21_offset.tif": "has no CRS and no transform",
    "rasterio/float_nan.tif": "has no CRS; pass the one it was made in: --crs",
    "rasterio/rotated.tif": "has no CRS; pass the one it was made in: --crs",
    "rasterio/all-nodata.tif": "has no pixel with data",
    "rio_tiler/inverted_lat.tif": "has no pixel with data",
}
WARPED = {"rio_tiler/cog_gcps.tif"}
NOT_ON_EARTH = {"rio_tiler/cog_nonearth.tif"}


@pytest.fixture(scope="module")
def folder(data_dir: Path) -> Path:
    return data_dir / "geotiff_suite"


@pytest.fixture(scope="module")
def outcomes(folder: Path) -> dict[str, Scene | str]:
    found: dict[str, Scene | str] = {}
    for path in sorted(folder.rglob("*.tif")):
        try:
            found[str(path.relative_to(folder))] = open_scene(path, [folder])
        except InvalidRaster as error:
            found[str(path.relative_to(folder))] = str(error)
    return found


def test_the_table(outcomes: dict[str, Scene | str], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"{'raster':<42} {'size':>11} {'bands':>5} {'dtype':<8} {'CRS':<28} {'GSD':>10} result"]
    rows += [_row(name, outcome, folder) for name, outcome in outcomes.items()]
    with capsys.disabled():
        print("\n" + "\n".join(rows))
    assert len(outcomes) == 54
    assert {name for name, outcome in outcomes.items() if isinstance(outcome, str)} == set(REFUSED)


def _row(name: str, outcome: Scene | str, folder: Path) -> str:
    short = name if len(name) <= 42 else f"…{name[-41:]}"
    if isinstance(outcome, str):
        return f"{short:<108} refused: {outcome.partition(f'{folder}/{name} ')[2][:60]}"
    assert outcome.georef is not None
    crs = outcome.georef.crs if len(outcome.georef.crs) < 20 else outcome.georef.crs.split('"')[1]
    size, gsd = f"{outcome.width}x{outcome.height}", outcome.georef.gsd()[0]
    result = "opened, warped by control points" if name in WARPED else "opened"
    return f"{short:<42} {size:>11} {outcome.bands:>5} {outcome.dtype:<8} {crs[:28]:<28} {gsd:>10.5g} {result}"


def test_the_refused_say_why_in_one_line(outcomes: dict[str, Scene | str]) -> None:
    for name, reason in REFUSED.items():
        message = outcomes[name]
        assert isinstance(message, str)
        assert reason in message
        assert "\n" not in message


def test_the_opened_are_what_rasterio_says(outcomes: dict[str, Scene | str], folder: Path) -> None:
    for name, scene in outcomes.items():
        if isinstance(scene, str) or name in WARPED:
            continue
        with rasterio.open(folder / name) as dataset:
            assert (scene.width, scene.height, scene.bands) == (dataset.width, dataset.height, dataset.count), name
            assert scene.dtype == dataset.dtypes[0], name
            assert scene.georef is not None, name
            assert parse_crs(scene.georef.crs) == dataset.crs, name
            corners = np.array([[0, 0], [scene.width, 0], [scene.width, scene.height], [0, scene.height]], dtype=float)
            a, b, c, d, e, f = tuple(dataset.transform)[:6]
            expected = [(a * x + b * y + c, d * x + e * y + f) for x, y in corners]
            assert scene.georef.to_map(corners) == pytest.approx(np.array(expected), rel=1e-12), name
            column, row, width, height = window = _window(scene)
            read = dataset.read(window=Window(column, row, width, height)).transpose(1, 2, 0)
            ours = read_window(scene.source, window, [folder], etag=scene.etag)
            assert ours.dtype == read.dtype, name
            assert np.array_equal(ours, read, equal_nan=read.dtype.kind == "f"), name


def _window(scene: Scene) -> tuple[int, int, int, int]:
    column, row = scene.width // 3, scene.height // 4
    return column, row, min(300, scene.width - column), min(280, scene.height - row)


def test_the_opened_can_be_seen(outcomes: dict[str, Scene | str], folder: Path) -> None:
    for name, scene in outcomes.items():
        if isinstance(scene, str):
            continue
        window = _window(scene)
        picture = read_rgb(scene.source, window, scene.render, [folder], etag=scene.etag)
        assert picture.shape == (window[3], window[2], 3), name
        small = quicklook(scene.source, scene.render, [folder], 64)
        assert max(small.shape[:2]) == min(64, max(scene.width, scene.height)), name
        whole = read_window(scene.source, (0, 0, scene.width, scene.height), [folder])[:, :, scene.render.bands[0] - 1]
        assert np.ptp(small) > 0 or np.ptp(whole) == 0, name


def test_only_earth_has_longitudes(outcomes: dict[str, Scene | str]) -> None:
    for name, scene in outcomes.items():
        if isinstance(scene, str) or scene.georef is None:
            continue
        centre = scene.georef.to_map(np.array([[scene.width / 2, scene.height / 2]]))
        lonlat = to_lonlat(scene.georef.crs, centre)
        assert (lonlat is None) == (name in NOT_ON_EARTH), name


def test_the_dateline(outcomes: dict[str, Scene | str]) -> None:
    scene: Any = outcomes["rio_tiler/cog_dateline.tif"]
    edges = to_lonlat(scene.georef.crs, scene.georef.to_map(np.array([[0, 0], [scene.width, scene.height]])))
    assert edges is not None
    assert edges[0, 0] > 178
    assert edges[1, 0] < -178


def test_control_points_lie_where_they_say(outcomes: dict[str, Scene | str], folder: Path) -> None:
    scene: Any = outcomes["rio_tiler/cog_gcps.tif"]
    assert scene.georef.crs == "EPSG:32643"
    assert (scene.bands, scene.dtype) == (2, "uint16")
    with rasterio.open(folder / "rio_tiler" / "cog_gcps.tif") as dataset:
        points = dataset.gcps[0]
        original = dataset.read(1)
    degrees = np.array([(p.x, p.y) for p in points])
    found = to_lonlat(scene.georef.crs, scene.georef.to_map(np.array([[0.0, 0.0], [scene.width, scene.height]])))
    assert found is not None
    assert (found[0, 0] < degrees[:, 0].min() + 0.1, found[1, 0] > degrees[:, 0].max() - 0.1) == (True, True)
    inside = [p for p in points if 40 < p.col < dataset.width - 40 and 40 < p.row < dataset.height - 40]
    lon, lat = [p.x for p in inside], [p.y for p in inside]
    x, y = rasterio.warp.transform("EPSG:4326", scene.georef.crs, lon, lat)
    near = scene.georef.to_pixel(np.array([x, y]).T)
    shown = read_window(scene.source, (0, 0, scene.width, scene.height), [folder])
    ours = [shown[int(v) - 3 : int(v) + 4, int(u) - 3 : int(u) + 4, 0].mean() for u, v in near]
    theirs = [original[int(p.row) - 3 : int(p.row) + 4, int(p.col) - 3 : int(p.col) + 4].mean() for p in inside]
    assert len(inside) > 50
    assert np.corrcoef(ours, theirs)[0, 1] > 0.97
