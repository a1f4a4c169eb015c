"""Task data of a tile, and back."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio.warp
import shapely
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput
from groundlook.core.geo import GeoRef, TileRef
from groundlook_adapters.rasters.pictures.render import Render
from groundlook_adapters.rasters.reading.read import Scene, open_scene
from groundlook_adapters.rasters.tiling.geotile import task_data, tile_ref
from groundlook_adapters.rasters.tiling.ingest import tiles

MakeRaster = Callable[..., Path]

number = st.floats(-1e7, 1e7, allow_nan=False)


@st.composite
def tile_refs(draw: st.DrawFn) -> TileRef:
    window = (*draw(st.tuples(*[st.integers(0, 10**6)] * 2)), *draw(st.tuples(*[st.integers(1, 4096)] * 2)))
    a, e = draw(st.floats(0.01, 100)), draw(st.floats(-100, -0.01))
    georef = GeoRef("EPSG:32631", (a, 0.0, draw(st.floats(2e5, 8e5)), 0.0, e, draw(st.floats(1e6, 8e6))))
    stretch = tuple((low, low + 1 + abs(low)) for low in draw(st.lists(number, min_size=3, max_size=3)))
    render = Render((3, 2, 1), draw(st.sampled_from([None, stretch])))
    acquired = draw(st.sampled_from([None, "2020-01-02T03:04:05"]))
    source = "/data/" + draw(st.text("abcé 日-_.", min_size=1, max_size=20))
    return TileRef(source, "e-1", window, draw(st.sampled_from([None, georef])), "0a1b", acquired, render.text())


@given(tile_refs())
def test_a_tile_survives_label_studio(tile: TileRef) -> None:
    data = json.loads(json.dumps(task_data(tile, "val", "http://h/t.jpg")))
    assert tile_ref(data) == tile
    assert data["geo"]["tile_uid"] == tile.uid
    assert (data["split"], data["image"], data["scene_id"]) == ("val", "http://h/t.jpg", "0a1b")


@given(tile_refs(), st.data())
def test_whatever_is_edited_is_refused_or_harmless(tile: TileRef, data: st.DataObject) -> None:
    row = json.loads(json.dumps(task_data(tile, "train", "u")))
    junk = (
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(max_size=9)
        | st.lists(st.integers(), max_size=7)
    )
    holder = data.draw(st.sampled_from([row, row["geo"], row["geo"]["source"]]))
    holder[data.draw(st.sampled_from(sorted(holder)))] = data.draw(junk | st.dictionaries(st.text(max_size=3), junk))
    try:
        found = tile_ref(row)
    except InvalidInput:
        return
    assert found is None or found.uid == tile.uid


def scene_tile(path: Path, root: Path) -> tuple[Scene, TileRef]:
    scene = open_scene(path, [root])
    return scene, tiles(scene, 128, 32)[0][-1]


def test_the_fields_say_where_it_is(tmp_path: Path, make_tif: MakeRaster, rgb: NDArray[np.uint8]) -> None:
    scene, tile = scene_tile(make_tif(rgb), tmp_path)
    data = task_data(tile, "train", "u")
    geo = data["geo"]
    assert tile.window == (272, 172, 128, 128)
    assert (geo["schema"], geo["window"], geo["proj:shape"]) == ("geotile/1", [272, 172, 128, 128], [128, 128])
    assert (geo["proj:code"], geo["proj:wkt2"]) == ("EPSG:32611", None)
    assert geo["proj:transform"] == pytest.approx([0.1, 0, 500_027.2, 0, -0.1, 3_999_982.8])
    assert geo["source"] == {"uri": scene.source, "etag": scene.etag}
    assert geo["render"] == {"bands": [1, 2, 3], "stretch": None}
    assert data["gsd_m"] == pytest.approx(0.1, rel=1e-3)
    lon, lat = rasterio.warp.transform("EPSG:32611", "EPSG:4326", [500_033.6], [3_999_976.4])
    assert (data["lon"], data["lat"]) == pytest.approx((lon[0], lat[0]), abs=1e-7)
    footprint = shapely.from_geojson(json.dumps(geo["footprint"]))
    assert footprint.is_valid
    assert footprint.exterior.is_ccw
    assert footprint.bounds == pytest.approx(tuple(geo["bbox"]), abs=1e-6)
    assert footprint.contains(shapely.Point(data["lon"], data["lat"]))


def test_metres_are_metres_in_degrees_and_in_web_mercator(
    tmp_path: Path, make_tif: MakeRaster, rgb: NDArray[np.uint8]
) -> None:
    mercator = make_tif(rgb, "m.tif", crs="EPSG:3857", transform=(1, 0, 0, 0, -1, 8_399_737.9))  # 60° north
    assert task_data(scene_tile(mercator, tmp_path)[1], "train", "u")["gsd_m"] == pytest.approx(0.5, rel=0.01)
    degrees = make_tif(rgb, "d.tif", crs="EPSG:4326", transform=(1e-5, 0, 10, 0, -1e-5, 0.002))
    assert task_data(scene_tile(degrees, tmp_path)[1], "train", "u")["gsd_m"] == pytest.approx(1.11, rel=0.01)


def test_across_the_antimeridian(tmp_path: Path, make_tif: MakeRaster, rgb: NDArray[np.uint8]) -> None:
    x, y = rasterio.warp.transform("EPSG:4326", "EPSG:32660", [180.0], [52.0])
    path = make_tif(rgb, crs="EPSG:32660", transform=(1, 0, x[0] - 336, 0, -1, y[0]))
    geo = task_data(scene_tile(path, tmp_path)[1], "train", "u")["geo"]
    west, _, east, _ = geo["bbox"]
    assert 179.9 < west < 180
    assert -180 < east < -179.9
    footprint = shapely.from_geojson(json.dumps(geo["footprint"]))
    assert footprint.geom_type == "MultiPolygon"
    assert footprint.is_valid
    assert footprint.area < 1e-4


def test_another_planet_claims_no_longitude(tmp_path: Path, make_tif: MakeRaster, rgb: NDArray[np.uint8]) -> None:
    moon = "+proj=eqc +lat_ts=0 +lon_0=0 +a=1737400 +b=1737400 +units=m"
    tile = scene_tile(make_tif(rgb, crs=moon, transform=(2, 0, 0, 0, -2, 0)), tmp_path)[1]
    data = json.loads(json.dumps(task_data(tile, "train", "u")))
    assert (data["lon"], data["lat"], data["geo"]["bbox"], data["geo"]["footprint"]) == (None, None, None, None)
    assert data["gsd_m"] == 2.0
    assert data["geo"]["proj:code"] is None
    assert tile_ref(data) == tile


def _data() -> dict[str, Any]:
    georef = GeoRef("EPSG:32631", (0.5, 0, 400_000, 0, -0.5, 5_000_000))
    tile = TileRef("/a.tif", "e", (0, 0, 64, 32), georef, "ab", None, Render((1,)).text())
    data: dict[str, Any] = json.loads(json.dumps(task_data(tile, "train", "u")))
    return data


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("window", [0, 0, 0, 32], "window"),
        ("window", [-1, 0, 64, 32], "window"),
        ("window", [0, 0, 1e3, 32], "window"),
        ("window", [0, 0, 2**40, 32], "window"),
        ("window", [0, 0, True, 32], "window"),
        ("window", [1, 0, 64, 32], "tile_uid"),
        ("proj:shape", [64, 32], "proj:shape"),
        ("proj:transform", [1, 0, 0, 0, 0, 0], "proj:transform"),
        ("proj:transform", [float("nan")] * 6, "proj:transform"),
        ("proj:transform", [10**400] * 6, "proj:transform"),
        ("proj:transform", None, "proj:transform"),
        ("proj:code", "/etc/passwd", "proj:code"),
        ("proj:code", "http://h/crs:1", "proj:code"),
        ("source", {"uri": "a\0b", "etag": "e"}, r"source\.uri"),
        ("source", {"uri": "x" * 5000, "etag": "e"}, r"source\.uri"),
        ("source", "a.tif", "source"),
        ("render", {"bands": [1], "stretch": [[2, 1]]}, "render"),
        ("schema", "geotile/2", "geotile/2"),
        ("tile_uid", "0", "tile_uid"),
    ],
)
def test_hostile_data_is_named(key: str, value: Any, message: str) -> None:
    data = _data()
    data["geo"][key] = value
    with pytest.raises(InvalidInput, match=message):
        tile_ref(data)


@pytest.mark.parametrize("geo", [None, "Paris", [1, 2], {}, {"schema": 3}, {"schema": "other/1"}])
def test_tasks_of_others_have_no_tile(geo: Any) -> None:
    assert tile_ref({"image": "u", "geo": geo}) is None
    assert tile_ref({"image": "u"}) is None


def test_reading_changes_nothing() -> None:
    data = _data()
    before = copy.deepcopy(data)
    tile_ref(data)
    assert data == before
