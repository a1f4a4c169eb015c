"""Regions → GIS files, and back to the pixels they came from."""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from groundlook.core.errors import InvalidInput
from groundlook.core.geo import GeoRef, Points, TileRef
from groundlook.core.geometry import Box, Polygon, Shape
from groundlook.core.types import Region
from groundlook_adapters.vectors.export import Feature, Format, export

UTM = GeoRef("EPSG:32611", (0.1, 0.0, 321_882.2, 0.0, -0.1, 4_096_689.2))
TURNED = GeoRef("EPSG:32631", (0.08, 0.06, 448_000.0, 0.06, -0.08, 5_428_000.0))
L_SHAPE = Polygon(((10, 10), (90, 10), (90, 40), (50, 40), (50, 80), (10, 80)))

position = st.floats(0, 1024)
boxes = st.builds(Box, position, position, st.floats(1, 500), st.floats(1, 500), st.floats(-180, 180))


def tile(georef: GeoRef | None, source: str = "/data/HARV_022.tif") -> TileRef:
    return TileRef(source, "e", (0, 0, 1024, 1024), georef, "s", "2019-06-05T10:11:12")


def feature(shape: Shape, georef: GeoRef | None = UTM, label: str = "tree", **provenance: Any) -> Feature:
    return Feature(Region(shape, label), tile(georef), provenance)


def read(path: Path, layer: str = "regions") -> tuple[list[Any], dict[str, list[Any]], str]:
    meta, _, geometry, columns = pyogrio.raw.read(path, layer=layer)
    names = [str(name) for name in meta["fields"]]
    return list(shapely.from_wkb(geometry)), {n: c.tolist() for n, c in zip(names, columns, strict=True)}, meta["crs"]


def pixels(geometry: Any, georef: GeoRef, lonlat: bool = False) -> Points:
    points = shapely.get_coordinates(geometry.exterior)[:-1]
    if lonlat:
        back = Transformer.from_crs("EPSG:4326", georef.crs, always_xy=True)
        points = np.stack(back.transform(points[:, 0], points[:, 1]), axis=1)
    return georef.to_pixel(points)


def distance(found: Points, expected: Points) -> float:
    """The farthest that any corner of one ring is from the nearest of the other, pixels."""
    apart = np.hypot(*(found[:, None] - expected[None]).transpose(2, 0, 1))
    return float(max(apart.min(axis=0).max(), apart.min(axis=1).max()))


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shapes=st.lists(boxes, min_size=1, max_size=8), georef=st.sampled_from([UTM, TURNED]))
@pytest.mark.parametrize(("form", "tolerance"), [("gpkg", 1e-6), ("geojson", 0.01)])
def test_boxes_come_back_to_the_pixel(
    tmp_path: Path, shapes: list[Box], georef: GeoRef, form: Format, tolerance: float
) -> None:
    report = export(tmp_path / f"out.{form}", form, [feature(s, georef) for s in shapes], overwrite=True)
    assert (report.written, report.layers) == (len(shapes), {"regions": len(shapes)})
    geometries, _, crs = read(report.path)
    assert crs == (georef.crs if form == "gpkg" else "EPSG:4326")
    for shape, geometry in zip(shapes, geometries, strict=True):
        assert distance(pixels(geometry, georef, form == "geojson"), shape.corners()) < tolerance
        assert geometry.exterior.is_ccw
        assert geometry.is_valid


@pytest.mark.parametrize(("form", "tolerance"), [("gpkg", 1e-6), ("geojson", 0.01)])
@pytest.mark.parametrize("georef", [UTM, TURNED, GeoRef("EPSG:26910", (0.6, 0, 601_197, 0, -0.6, 4_402_059))])
def test_polygons_come_back_to_the_pixel(tmp_path: Path, form: Format, tolerance: float, georef: GeoRef) -> None:
    path = export(tmp_path / f"out.{form}", form, [feature(L_SHAPE, georef)]).path
    (geometry,), _, _ = read(path)
    assert distance(pixels(geometry, georef, form == "geojson"), L_SHAPE.corners()) < tolerance
    assert geometry.area > 0


def test_geojson_is_rfc_7946(tmp_path: Path) -> None:
    path = export(tmp_path / "out.geojson", "geojson", [feature(L_SHAPE, score=0.5)]).path
    data = json.loads(path.read_text())
    assert data["type"] == "FeatureCollection"
    assert "crs" not in data
    ring = data["features"][0]["geometry"]["coordinates"][0]
    assert all(-118 > lon > -120 and 36 < lat < 38 for lon, lat in ring)  # the Sierra Nevada, longitude first


def test_geojson_is_cut_at_the_antimeridian(tmp_path: Path) -> None:
    x, y = Transformer.from_crs("EPSG:4326", "EPSG:32660", always_xy=True).transform(180.0, 52.0)
    georef = GeoRef("EPSG:32660", (1.0, 0.0, x - 50, 0.0, -1.0, y))
    path = export(tmp_path / "out.geojson", "geojson", [feature(Box(0, 0, 100, 100), georef)]).path
    (geometry,), _, _ = read(path)
    assert geometry.geom_type == "MultiPolygon"
    west, _, east, _ = geometry.bounds
    assert (west, east) == (-180, 180)
    assert geometry.area < 1e-5


def test_every_crs_has_its_layer(tmp_path: Path) -> None:
    custom = GeoRef(Transformer.from_crs(4326, 5070).target_crs.to_wkt().replace("Conus Albers", "Ours"), UTM.transform)
    features = [feature(L_SHAPE, UTM, n=i) for i in range(3)] + [feature(L_SHAPE, TURNED, m="x")]
    features += [feature(L_SHAPE, custom)]
    report = export(tmp_path / "out.gpkg", "gpkg", iter(features))
    (name,) = (n for n in report.layers if "custom" in n)
    assert report.layers == {"regions_epsg_32611": 3, "regions_epsg_32631": 1, name: 1}
    geometries, columns, crs = read(report.path, "regions_epsg_32631")
    assert crs == "EPSG:32631"
    assert "m" in columns
    assert "n" not in columns
    assert distance(pixels(geometries[0], TURNED), L_SHAPE.corners()) < 1e-6
    merged = export(tmp_path / "out.geojson", "geojson", features[:4])
    assert merged.layers == {"regions": 4}
    assert read(merged.path)[1]["m"] == [None, None, None, "x"]


@pytest.mark.parametrize("form", ["gpkg", "geojson"])
def test_each_feature_says_where_it_comes_from(tmp_path: Path, form: Format) -> None:
    known = {"task_id": 7, "annotation_id": 70, "annotator": "a@b.co", "created_at": "2026-01-02T03:04:05Z"}
    one = Feature(Region(L_SHAPE, "tree", 0.75, "r1", "prediction"), tile(UTM), {**known, "lead_time": 2.5, "fid": "x"})
    two = Feature(Region(L_SHAPE, "日本", None), tile(UTM), {"task_id": 8, "labels": ["a", "b"], "label": "other"})
    _, columns, _ = read(export(tmp_path / f"out.{form}", form, [one, two]).path)
    assert columns["task_id"] == [7, 8]
    assert columns["annotation_id"][0] == 70
    assert columns["annotator"] == ["a@b.co", None]
    assert columns["created_at"][0] is not None
    assert columns["lead_time"][0] == 2.5
    assert np.isnan(columns["lead_time"][1])
    assert columns["label"] == ["tree", "other"]
    assert columns["score"][0] == 0.75
    assert columns["origin"] == ["prediction", "manual"]
    assert columns["region_id"] == ["r1", None]
    assert columns["tile_uid"] == [tile(UTM).uid] * 2
    assert columns["scene"] == ["HARV_022.tif"] * 2
    assert columns["fid_"] == ["x", None]
    assert columns["labels"][0] is None
    labels = columns["labels"][1]  # GDAL writes text that is JSON as JSON into GeoJSON
    assert (json.loads(labels) if form == "gpkg" else list(labels)) == ["a", "b"]


def test_columns_without_values_keep_their_type(tmp_path: Path) -> None:
    path = export(tmp_path / "o.gpkg", "gpkg", [feature(L_SHAPE, task_id=None, lead_time=float("nan"))]).path
    info = pyogrio.read_info(path)
    types = dict(zip(info["fields"].tolist(), info["dtypes"].tolist(), strict=True))
    assert (types["score"], types["lead_time"], types["task_id"], types["label"]) == (
        "float64",
        "float64",
        "int64",
        "object",
    )


def test_what_cannot_be_placed_is_counted(tmp_path: Path) -> None:
    eight = Polygon(((0, 0), (10, 10), (10, 0), (0, 10)))
    spike = Polygon(((0, 0), (10, 0), (10, 10), (10, 0), (0, 0.0)))
    nothing = [Box(1, 1, 0, 5), Polygon(((0, 0), (1, 1))), Box(float("nan"), 0, 1, 1), Polygon(((0, 0),) * 4), spike]
    features = [feature(s) for s in (L_SHAPE, eight, *nothing)] + [feature(L_SHAPE, None)] * 2
    report = export(tmp_path / "out.gpkg", "gpkg", features)
    assert (report.written, report.repaired) == (2, 1)
    assert (report.skipped_without_area, report.skipped_without_georef) == (5, 2)
    geometries, _, _ = read(report.path)
    assert all(g.is_valid for g in geometries)
    assert sum(g.area for g in geometries) == pytest.approx((shapely.Polygon(L_SHAPE.corners()).area + 50) * 0.01)


@pytest.mark.parametrize("form", ["gpkg", "geojson"])
def test_nothing_is_an_answer(tmp_path: Path, form: Format) -> None:
    report = export(tmp_path / f"out.{form}", form, [])
    assert report.written == 0
    assert read(report.path)[0] == []


def test_a_file_is_overwritten_only_on_purpose(tmp_path: Path) -> None:
    path = tmp_path / "out.gpkg"
    export(path, "gpkg", [feature(L_SHAPE)])
    before = path.read_bytes()
    with pytest.raises(InvalidInput, match="exists"):
        export(path, "gpkg", [feature(L_SHAPE)] * 2)
    assert path.read_bytes() == before
    assert export(path, "gpkg", [feature(L_SHAPE)] * 2, overwrite=True).written == 2
    assert [p.name for p in tmp_path.iterdir()] == ["out.gpkg"]


@contextmanager
def disk_of(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("form", ["gpkg", "geojson"])
def test_a_full_disk_keeps_the_old_file(tmp_path: Path, form: Format) -> None:
    path = export(tmp_path / f"out.{form}", form, [feature(L_SHAPE)]).path
    before = path.read_bytes()
    for size in (3000, 200_000):
        with disk_of(size), pytest.raises(InvalidInput, match=r"can't be written .* make room"):
            export(path, form, [feature(L_SHAPE, n=i) for i in range(3000)], overwrite=True)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="is not a folder"):
        export(tmp_path / "none" / "out.gpkg", "gpkg", [])
    with pytest.raises(InvalidInput, match="use gpkg or geojson"):
        export(tmp_path / "out.shp", "shp", [])  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="PROJ"):
        export(tmp_path / "out.gpkg", "gpkg", [feature(L_SHAPE, GeoRef("EPSG:1", UTM.transform))])
    moon = "+proj=eqc +a=1737400 +b=1737400 +units=m"
    wkt = Transformer.from_crs(moon, moon).source_crs.to_wkt()
    with pytest.raises(InvalidInput, match=r"no longitude and latitude.*gpkg"):
        export(tmp_path / "out.geojson", "geojson", [feature(L_SHAPE, GeoRef(wkt, UTM.transform))])
    assert export(tmp_path / "moon.gpkg", "gpkg", [feature(L_SHAPE, GeoRef(wkt, UTM.transform))]).written == 1
