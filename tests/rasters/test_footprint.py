"""Where tiles lie on Earth: poles, the antimeridian, turned grids, whole worlds. Truth is a dense walk of the edges."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import rasterio.warp
import shapely
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Geod

from groundlook.core.geo import GeoRef, TileRef
from groundlook_adapters.rasters.tiling.footprint import (
    footprint,
    ground_size,
    lonlat_bbox,
    lonlat_centre,
    scene_extent,
)
from groundlook_adapters.rasters.tiling.geotile import task_data, tile_ref


def tile(crs: str, a: float, b: float, x: float, y: float, size: tuple[int, int] = (1000, 1000)) -> TileRef:
    """The corner of the first pixel at (x, y); rows go down when b = 0."""
    return TileRef("/a.tif", "e", (0, 0, *size), GeoRef(crs, (a, b, x, b, -a, y)))


def dense(where: TileRef, steps: int = 2000) -> Any:
    """(N, 2) longitude, latitude along the edges, as PROJ says."""
    assert where.georef is not None
    width, height = where.size
    t = np.arange(steps)[:, None] / steps
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height], [0, 0]], dtype=float)
    points = where.georef.to_map(np.concatenate([corners[i] + t * (corners[i + 1] - corners[i]) for i in range(4)]))
    lon, lat = rasterio.warp.transform(where.georef.crs, "EPSG:4326", points[:, 0], points[:, 1])
    return np.stack([lon, lat], axis=1)


def geometry(where: TileRef) -> Any:
    found = footprint(where)
    shape = shapely.from_geojson(json.dumps(found))
    assert shape.is_valid
    for polygon in shapely.get_parts(shape):
        assert polygon.exterior.is_ccw
    assert shape.bounds[0] >= -180
    assert shape.bounds[2] <= 180
    return shape


@pytest.mark.parametrize(("crs", "sign"), [("EPSG:3995", 1), ("EPSG:3031", -1)])
def test_a_pole_inside(crs: str, sign: int) -> None:
    where = tile(crs, 100, 20, -60_000, 45_000)
    west, south, east, north = lonlat_bbox(where) or []
    latitudes = dense(where)[:, 1]
    assert (west, east) == (-180, 180)
    assert (north if sign > 0 else south) == 90 * sign
    rim = south if sign > 0 else north
    assert rim == pytest.approx(latitudes[np.argmin(sign * latitudes)], abs=1e-3)
    shape = geometry(where)
    inside = dense(where) * (1, 0) + (0, 89.9999 * sign)
    assert shapely.intersects_xy(shape, inside[:, 0], inside[:, 1]).all()  # up to the pole, on every longitude
    assert ground_size(where) == pytest.approx(102 * 1.026, rel=0.02)
    centre = lonlat_centre(where)
    assert centre is not None
    assert shape.intersects(shapely.Point(centre))


@pytest.mark.parametrize("crs", ["EPSG:3995", "EPSG:3031"])
@pytest.mark.parametrize(("x", "y"), [(10, 50_000), (-50_000, -40), (-100_500, 50_000), (-50_000, 100_030)])
def test_a_pole_just_outside_is_not_inside(crs: str, x: float, y: float) -> None:
    where = tile(crs, 100, 0, x, y)
    walked = dense(where)
    west, south, east, north = lonlat_bbox(where) or []
    assert abs(north if crs == "EPSG:3995" else south) < 90
    assert max(abs(walked[:, 1])) <= max(abs(north), abs(south)) + 1e-9
    assert min(abs(walked[:, 1])) >= min(abs(north), abs(south)) - 1e-9
    span = (east - west) % 360
    assert 170 < span < 180
    assert ((walked[:, 0] - west + 1e-9) % 360 <= span + 2e-9).all()
    assert not geometry(where).contains(shapely.Point(0, 90 if crs == "EPSG:3995" else -90))


turn = st.floats(-np.pi, np.pi)


@given(st.sampled_from(["EPSG:3031", "EPSG:3995"]), st.floats(2e5, 3e6), turn, turn, st.floats(0.5, 60))
def test_polar_tiles_lie_where_they_are(crs: str, far: float, way: float, angle: float, gsd: float) -> None:
    georef = GeoRef(
        crs,
        (gsd * np.cos(angle), gsd * np.sin(angle), far * np.cos(way), gsd * np.sin(angle), -gsd * np.cos(angle),
         far * np.sin(way)),
    )  # fmt: skip
    where = TileRef("/a.tif", "e", (0, 0, 512, 512), georef)
    shape = geometry(where)
    walked = dense(where, 200)
    west, south, east, north = lonlat_bbox(where) or []
    span = (east - west) % 360
    pixel = gsd / 111_000
    slack = 2 * pixel / np.cos(np.radians(walked[:, 1]))
    assert ((walked[:, 0] - west + slack) % 360 <= span + 2 * slack).all()
    assert south - pixel <= walked[:, 1].min()
    assert walked[:, 1].max() <= north + pixel
    # the footprint in the tile's own pixels: its edges are within a pixel of the tile's
    rings = [shapely.get_coordinates(p) for p in shapely.get_parts(shape)]
    back = []
    for ring in rings:
        x, y = rasterio.warp.transform("EPSG:4326", crs, ring[:, 0], ring[:, 1])
        back.append(shapely.Polygon(georef.to_pixel(np.stack([x, y], axis=1))))
    area = shapely.unary_union(shapely.make_valid(np.array(back))).area
    assert area == pytest.approx(512 * 512, rel=0.01)


def test_the_footprint_of_a_turned_tile_is_turned() -> None:
    where = tile("EPSG:32631", 0.4, 0.3, 500_000, 5_000_000)
    shape = geometry(where)
    walked = dense(where)
    corners = walked[::2000]
    for corner, got in zip(sorted(map(tuple, corners)), sorted(shape.exterior.coords[:-1]), strict=True):
        assert got == pytest.approx(corner, abs=1e-7)
    assert lonlat_bbox(where) == pytest.approx([*walked.min(axis=0), *walked.max(axis=0)], abs=1e-8)
    assert ground_size(where) == pytest.approx(0.5, rel=1e-3)
    area, _ = Geod(ellps="WGS84").geometry_area_perimeter(shape)
    assert area == pytest.approx(250_000, rel=1e-3)


def test_large_tiles_keep_their_curved_edges() -> None:
    where = tile("EPSG:32633", 100, 0, 200_000, 7_500_000)  # 100 km of edge, 6° off the meridian's middle
    shape = geometry(where)
    assert len(shape.exterior.coords) > 5
    walked = shapely.Polygon(dense(where))
    assert shapely.hausdorff_distance(shape.exterior, walked.exterior) < 0.5 * 100 / 111_000


@pytest.mark.parametrize(
    ("where", "bbox", "centre"),
    [
        (tile("EPSG:4326", 0.001, 0, 179.5, 10), [179.5, 9, -179.5, 10], 180),
        (tile("EPSG:4326", 0.001, 0, 190, 10), [-170, 9, -169, 10], -169.5),
        (tile("EPSG:4326", 0.001, 0, -180.5, 10), [179.5, 9, -179.5, 10], 180),
        (tile("EPSG:4326", 0.36, 0, -180, 90, (1000, 500)), [-180, -90, 180, 90], 0),
        (tile("EPSG:4326", 0.36, 0, 0, 90, (1000, 500)), [-180, -90, 180, 90], 180),
        (tile("EPSG:4326", 0.34, 0, -170, 85, (1000, 500)), [-170, -85, 170, 85], 0),
        (tile("EPSG:3857", 40075016.68 / 1000, 0, -20037508.34, 20037508.34), [-180, -85.0511, 180, 85.0511], 0),
    ],
)
def test_longitudes_that_go_round(where: TileRef, bbox: list[float], centre: float) -> None:
    assert lonlat_bbox(where) == pytest.approx(bbox, abs=1e-3)
    found = lonlat_centre(where)
    assert found is not None
    assert (found[0] - centre) % 360 == pytest.approx(0, abs=1e-6) or (centre - found[0]) % 360 < 1e-6
    west, south, east, north = bbox
    assert geometry(where).area == pytest.approx(((east - west) % 360 or 360) * (north - south), rel=1e-3)
    assert geometry(where).intersects(shapely.Point((found[0] + 180) % 360 - 180, found[1]))


def test_an_extent_holds_the_whole_scene() -> None:
    georef = GeoRef("EPSG:32633", (10, 5, 200_000, 5, -10, 7_500_000))
    west, south, east, north = scene_extent(georef, (100, 200, 8000, 6000)) or ()
    walked = dense(TileRef("/a.tif", "e", (0, 0, 8000, 6000), georef.window(100, 200)))
    assert west < walked[:, 0].min()
    assert south < walked[:, 1].min()
    assert east > walked[:, 0].max()
    assert north > walked[:, 1].max()
    assert east - west < 1.02 * np.ptp(walked[:, 0])


def test_what_has_no_place_claims_none() -> None:
    beyond = tile("EPSG:32631", 1e5, 0, -9e7, 9e7)
    assert lonlat_bbox(beyond) is None or geometry(beyond).is_valid
    plain = TileRef("/a.png", "e", (0, 0, 10, 10))
    assert (lonlat_bbox(plain), footprint(plain), lonlat_centre(plain), ground_size(plain)) == (None,) * 4
    assert scene_extent(GeoRef("EPSG:3857", (1, 0, 1e300, 0, -1, 0)), (0, 0, 1, 1)) is None


def test_polar_task_data_survives() -> None:
    where = tile("EPSG:3031", 100, 0, -50_000, 51_000)
    data = json.loads(json.dumps(task_data(where, "train", "u")))
    assert tile_ref(data) == where
    assert data["geo"]["footprint"]["type"] == "Polygon"
