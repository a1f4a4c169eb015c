"""Label catalogs as STAC readers find them, and outlines in degrees wherever on Earth they are."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
import shapely
import shapely.geometry
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyproj import Geod, Transformer

from groundlook.core.errors import InvalidInput
from groundlook.core.geo import GeoRef, TileRef
from groundlook.core.geometry import Box, Ellipse, Point, Polygon, Shape, WholeTile
from groundlook.core.mask import Mask
from groundlook.core.types import Region
from groundlook_adapters.vectors.datasets import DatasetReport, DatasetTile, export_dataset
from groundlook_adapters.vectors.datasets.stac import LABEL, PROJECTION
from groundlook_adapters.vectors.degrees import bbox, geojson

LABELS = ["car", "boat"]
UTM = GeoRef("EPSG:32631", (0.5, 0.0, 448_000.0, 0.0, -0.5, 5_428_000.0))
MARS = (
    'GEOGCRS["Mars 2000",DATUM["D_Mars_2000",ELLIPSOID["Mars_2000",3396190,169.894447223612]],'
    'CS[ellipsoidal,2],AXIS["longitude",east],AXIS["latitude",north],ANGLEUNIT["degree",0.0174532925199433]]'
)
OFF = 1e-5
LATER = datetime(2026, 5, 1, tzinfo=UTC)


def tile(
    *shapes: Shape | tuple[Shape, str],
    at: tuple[int, int] = (0, 0),
    georef: GeoRef | None = UTM,
    source: str = "/data/scene.tif",
    acquired: str | None = "2021-06-05T10:11:12Z",
) -> DatasetTile:
    pairs = [s if isinstance(s, tuple) else (s, "car") for s in shapes]
    ref = TileRef(source, "e", (*at, 1000, 500), None if georef is None else georef.window(*at), "s", acquired)
    return DatasetTile(ref, tuple(Region(s, label, uid="r") for s, label in pairs), 1, 2)


def no_picture(_: TileRef) -> NDArray[np.uint8]:
    raise AssertionError("a catalog needs no pictures")


def export(folder: Path, *tiles: DatasetTile, **options: Any) -> DatasetReport:
    options = {"size_of": lambda _: (4000, 3000), "exported": LATER} | options
    return export_dataset(folder, "stac-label", tiles, LABELS, no_picture, **options)


def collection(folder: Path, name: str, scene: str = "scene") -> list[dict[str, Any]]:
    body = json.loads((folder / scene / f"{name}.geojson").read_text())
    assert body["type"] == "FeatureCollection"
    features: list[dict[str, Any]] = body["features"]
    return features


def test_the_catalog_opens_and_its_items_have_what_the_extensions_ask_for(tmp_path: Path) -> None:
    tiles = [
        tile(Box(400, 150, 300, 100, 30), (Ellipse(50, 50, 20, 10), "boat"), Box(1, 1, 5, 5)),
        tile((WholeTile(), "boat"), at=(1000, 0)),
        tile(at=(2000, 0)),
    ]
    report = export(tmp_path / "d", *tiles)
    (tmp_path / "d").rename(tmp_path / "moved")  # self-contained: it reads the same elsewhere
    catalog = pystac.Catalog.from_file(str(tmp_path / "moved" / "catalog.json"))
    (item,) = catalog.get_items(recursive=True)

    assert (item.id, item.datetime) == ("scene", datetime(2021, 6, 5, 10, 11, 12, tzinfo=UTC))
    assert set(item.stac_extensions) == {LABEL, PROJECTION}
    found = item.properties
    assert found["label:type"] == "vector"
    assert found["label:properties"] == ["label"]
    assert found["label:classes"] == [{"name": "label", "classes": LABELS}]
    assert found["label:description"]
    assert found["label:tasks"] == ["classification", "detection", "segmentation"]
    assert found["label:methods"] == ["manual"]
    counts = [{"name": "car", "count": 2}, {"name": "boat", "count": 2}]
    assert found["label:overviews"] == [{"property_key": "label", "counts": counts}]
    assert found["proj:code"] == "EPSG:32631"
    assert found["proj:transform"] == list(UTM.transform)
    assert found["proj:shape"] == [3000, 4000]
    (link,) = item.get_links("source")
    assert link.href == "./source.json"
    source = link.resolve_stac_object(catalog).target  # a link to the raster itself would break pystac here
    assert isinstance(source, pystac.Item)
    assert source.assets["image"].href == "/data/scene.tif"
    assert source.assets["image"].media_type == "image/tiff; application=geotiff"
    assert source.properties["proj:shape"] == [3000, 4000]
    for asset in item.assets.values():
        assert Path(asset.get_absolute_href() or "").is_file()
    assert (report.images, report.regions, report.skipped) == (1, 4, {})

    assert item.geometry is not None
    assert item.bbox is not None
    assert shapely.geometry.shape(item.geometry).bounds == pytest.approx(item.bbox, abs=1e-9)
    text = "".join(p.read_text() for p in (tmp_path / "moved").rglob("*.json"))
    assert str(tmp_path) not in text


def test_regions_lie_where_they_were_drawn(tmp_path: Path) -> None:
    pixels = np.zeros((500, 1000), dtype=bool)
    pixels[10:30, 10:30] = True
    pixels[15:20, 15:20] = False
    ring = Polygon(((100, 100), (200, 110), (150, 180)))
    export(tmp_path / "d", tile(ring, (Mask.of(pixels), "boat"), (Point(7, 9), "car"), at=(1000, 500)))
    to_utm = Transformer.from_crs("EPSG:4326", "EPSG:32631", always_xy=True)

    def back(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.array([to_utm.transform(x, y) for x, y in points.tolist()])

    features = collection(tmp_path / "d", "regions")
    first, mask, point = [shapely.transform(shapely.geometry.shape(f["geometry"]), back) for f in features]
    window = UTM.window(1000, 500)
    assert shapely.hausdorff_distance(first, shapely.Polygon(window.to_map(np.array(ring.points)))) < 1e-3
    assert mask.area == pytest.approx((400 - 25) * 0.25, rel=1e-3)
    assert len(mask.interiors) == 1
    assert (point.x, point.y) == pytest.approx(tuple(window.to_map(np.array([[7.0, 9.0]]))[0]), abs=1e-3)
    assert features[0]["properties"]["label"] == "car"
    assert features[0]["properties"]["tile_uid"] == tile(at=(1000, 500)).tile.uid
    exterior = shapely.geometry.shape(features[0]["geometry"]).exterior
    assert exterior.is_ccw


def test_reviewed_and_empty_is_data(tmp_path: Path) -> None:
    export(tmp_path / "d", tile(), tile(Box(1, 1, 5, 5), at=(1000, 0)))
    empty, full = collection(tmp_path / "d", "reviewed")
    assert (empty["properties"]["empty"], full["properties"]["empty"]) == (True, False)
    assert len(collection(tmp_path / "d", "regions")) == 1
    export(tmp_path / "none", tile())
    assert collection(tmp_path / "none", "regions") == []
    item = json.loads((tmp_path / "none" / "scene" / "scene.json").read_text())
    assert "label:tasks" not in item["properties"]


def test_scenes_off_the_earth_are_left_out_with_the_reason(tmp_path: Path) -> None:
    mars = GeoRef(MARS, (0.001, 0.0, 10.0, 0.0, -0.001, 10.0))
    beyond = GeoRef("EPSG:4326", (1.0, 0.0, 0.0, 0.0, -1.0, 90.0))
    tiles = [
        tile(Box(1, 1, 5, 5), georef=mars, source="/data/mars.tif"),
        tile(Box(1, 1, 5, 5), georef=None, source="/data/cat.jpg"),
        tile(Box(1, 1, 5, 5), georef=beyond, source="/data/wrong.tif"),
        tile(Box(1, 1, 5, 5)),
    ]
    report = export(tmp_path / "d", *tiles)
    assert report.skipped == {"tile_scene_unknown": 3}
    assert ["mars.tif" in report.problems[0], "cat.jpg" in report.problems[1]] == [True, True]
    assert "longitude" in report.problems[0]
    assert (report.images, report.regions) == (1, 1)
    assert sorted(p.name for p in (tmp_path / "d").iterdir()) == ["SHA256SUMS", "catalog.json", "scene"]


def test_without_dates_and_sizes_the_item_says_so(tmp_path: Path) -> None:
    tiles = [tile(at=(1000, 0), acquired=None), tile(at=(0, 500), acquired=None), tile(acquired="soon", source="b.tif")]
    export(tmp_path / "d", *tiles, size_of=None)
    items = {i.id: i for i in pystac.Catalog.from_file(str(tmp_path / "d" / "catalog.json")).get_items()}
    assert items["scene"].properties["proj:shape"] == [1000, 2000]  # from the scene's first pixel to the farthest tile
    assert items["scene"].properties["proj:transform"] == pytest.approx(UTM.transform)
    assert items["scene"].datetime == items["b"].datetime == LATER
    assert "not known" in items["b"].properties["description"]


def test_tokens_of_urls_are_not_published(tmp_path: Path) -> None:
    export(tmp_path / "d", tile(source="https://me:pw@host/a/scene.tif?sig=secret"))
    text = "".join(p.read_text() for p in (tmp_path / "d").rglob("*.*json"))
    assert "https://host/a/scene.tif" in text
    assert "secret" not in text
    assert "pw@" not in text


# ---- degrees ----


@given(st.floats(-179.9, 179.9), st.floats(-80, 80), st.floats(0.01, 3))
def test_a_square_around_any_place_is_that_square_again(lon: float, lat: float, half: float) -> None:
    """In a projection of its own; seen from another that has no seam there, area and outline are the same."""
    crs = f"+proj=laea +lon_0={lon} +lat_0={lat}"
    wkt = Transformer.from_crs("EPSG:4326", crs, always_xy=True).target_crs
    assert wkt is not None
    side = half * 100_000
    square = shapely.box(-side, -side, side, side)
    placed = geojson(square, wkt.to_wkt("WKT2_2019"), OFF)
    shape = shapely.geometry.shape(placed)
    assert shape.is_valid
    assert np.abs(shapely.get_coordinates(shape)[:, 0]).max() <= 180
    geod = Geod(ellps="WGS84")
    area = sum(geod.geometry_area_perimeter(part)[0] for part in shapely.get_parts(shape))
    assert area == pytest.approx(square.area, rel=5e-3)
    assert all(part.exterior.is_ccw for part in shapely.get_parts(shape))
    west, south, east, north = bbox(placed)
    assert south < lat < north
    assert (west < lon < east) if west < east else (lon > west or lon < east)
    assert ((east - west) % 360) < 60


def test_across_the_antimeridian_it_is_cut() -> None:
    placed = geojson(shapely.box(100_000, 7_900_000, 300_000, 7_950_000), "EPSG:32701", OFF)
    assert placed["type"] == "MultiPolygon"
    west, south, east, north = bbox(placed)
    assert west > 170
    assert east < -170
    assert -20 < south < north < -18


@pytest.mark.parametrize(("crs", "pole"), [("EPSG:3031", -90), ("EPSG:3995", 90)])
def test_around_a_pole_it_is_closed_along_it(crs: str, pole: int) -> None:
    square = shapely.box(-500_000, -500_000, 500_000, 500_000)
    placed = geojson(square, crs, OFF)
    shape = shapely.geometry.shape(placed)
    assert shape.is_valid
    assert bbox(placed)[0::2] == [-180, 180]
    assert pole in bbox(placed)
    for lon in range(-175, 180, 10):
        assert shapely.contains_xy(shape, lon, pole * 0.999)
    hole = shapely.Polygon(square.exterior, [shapely.box(-9_000, -9_000, 9_000, 9_000).exterior.coords])
    assert shapely.geometry.shape(geojson(hole, crs, OFF)).is_valid


def test_a_raster_of_the_whole_world_stays_whole() -> None:
    placed = geojson(shapely.box(-180, -90, 180, 90), "EPSG:4326", OFF)
    assert shapely.geometry.shape(placed).area == pytest.approx(360 * 180)
    assert bbox(placed) == [-180, -90, 180, 90]
    shifted = geojson(shapely.box(0, -60, 360, 60), "EPSG:4326", OFF)
    assert shapely.geometry.shape(shifted).area == pytest.approx(360 * 120)
    wide = geojson(shapely.box(-100, 0, 150, 10), "EPSG:4269", OFF)
    assert shapely.geometry.shape(wide).bounds == pytest.approx((-100, 0, 150, 10), abs=1e-4)


def test_no_longitude_and_latitude_is_said() -> None:
    with pytest.raises(InvalidInput, match="longitude"):
        geojson(shapely.box(0, 0, 1, 1), MARS, OFF)
    with pytest.raises(InvalidInput, match="longitude"):
        geojson(shapely.box(0, 0, 1e12, 1e12), "EPSG:32631", OFF)
