"""Regions → GIS files, and back to the pixels they came from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from groundlook.core.errors import InvalidInput
from groundlook.core.geo import GeoRef
from groundlook.core.geometry import Box, Ellipse, Point, Polygon, Shape, WholeTile
from groundlook.core.mask import Mask
from groundlook.core.types import Region
from groundlook_adapters.vectors.export.gis import Feature, Merging, Reviewed, export

from .exports import ENDING, L_SHAPE, TURNED, UTM, deviation, disk_of, feature, one, pixels, read, tile

position = st.floats(0, 1024)
boxes = st.builds(Box, position, position, st.floats(1, 500), st.floats(1, 500), st.floats(-180, 180))
FORMS = sorted(ENDING)
APART = Merging(instances=False)


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shapes=st.lists(boxes, min_size=1, max_size=8), georef=st.sampled_from([UTM, TURNED]))
@pytest.mark.parametrize("form", FORMS)
def test_boxes_come_back_to_the_pixel(tmp_path: Path, shapes: list[Box], georef: GeoRef, form: str) -> None:
    found = [feature(s, georef, uid=str(i)) for i, s in enumerate(shapes)]
    report = export(tmp_path / f"out.{ENDING[form]}", form, found, merging=APART, overwrite=True)
    assert (report.written, report.layers) == (len(shapes), {"regions": len(shapes)})
    geometries, columns, crs = read(report.path)
    assert crs == ("EPSG:4326" if form == "geojson" else georef.crs)
    for uid, geometry in zip(columns["source_region_ids"], geometries, strict=True):
        shape = shapes[int(json.loads(uid)[0])]
        lonlat = form == "geojson"
        assert deviation(pixels(one(geometry), georef, lonlat), shape.corners()) < (0.01 if lonlat else 1e-6)
        assert one(geometry).exterior.is_ccw
        assert geometry.is_valid


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("georef", [UTM, TURNED, GeoRef("EPSG:26910", (0.6, 0, 601_197, 0, -0.6, 4_402_059))])
@pytest.mark.parametrize("shape", [L_SHAPE, Ellipse(300, 400, 50, 20, 30)])
def test_outlines_come_back_to_the_pixel(tmp_path: Path, form: str, georef: GeoRef, shape: Polygon | Ellipse) -> None:
    path = export(tmp_path / f"out.{ENDING[form]}", form, [feature(shape, georef)]).path
    (geometry,), _, _ = read(path)
    lonlat = form == "geojson"
    assert deviation(pixels(one(geometry), georef, lonlat), shape.corners()) < (0.01 if lonlat else 1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_a_brush_keeps_its_holes_and_parts(tmp_path: Path, form: str) -> None:
    painted = np.zeros((1024, 1024), dtype=bool)
    painted[100:200, 100:200] = True
    painted[130:150, 130:150] = False
    painted[400:410, 400:420] = True
    path = export(tmp_path / f"out.{ENDING[form]}", form, [feature(Mask.of(painted))]).path
    (geometry,), _, crs = read(path)
    assert geometry.geom_type == "MultiPolygon"
    assert sum(len(p.interiors) for p in geometry.geoms) == 1
    if crs == UTM.crs:
        assert geometry.area == pytest.approx(painted.sum() * 0.01)


@pytest.mark.parametrize("form", FORMS)
def test_points_and_classes_have_their_place(tmp_path: Path, form: str) -> None:
    found = [feature(L_SHAPE), feature(Point(10.25, 20.5), label="well"), feature(WholeTile(), label="cloudy")]
    report = export(tmp_path / f"out.{ENDING[form]}", form, found)
    if form == "geojson":
        geometries, columns, _ = read(report.path)
        kinds = dict(zip(columns["kind"], geometries, strict=True))
        assert report.layers == {"regions": 3}
    else:
        assert report.layers == {"regions": 1, "points": 1, "tiles": 1}
        place = {p.layer: p.file for p in report.parts}
        kinds = {k[:-1]: read(place[k], k)[0][0] for k in ("regions", "points", "tiles")}
        assert place["points"].name == ("out.gpkg" if form == "gpkg" else f"out.points.{ENDING[form]}")
    lonlat = form == "geojson"
    assert kinds["point"].geom_type == "Point"
    assert deviation(pixels(kinds["point"], UTM, lonlat), np.array([[10.25, 20.5]])) < (0.01 if lonlat else 1e-6)
    corners = np.array([[0, 0], [1024, 0], [1024, 1024], [0, 1024.0]])
    assert deviation(pixels(one(kinds["tile"]), UTM, lonlat), corners) < (0.01 if lonlat else 1e-6)
    assert report.labels == {"tree": 1, "well": 1, "cloudy": 1}


def test_geojson_is_rfc_7946(tmp_path: Path) -> None:
    path = export(tmp_path / "out.geojson", "geojson", [feature(L_SHAPE)]).path
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


@pytest.mark.parametrize(("crs", "pole"), [("EPSG:3031", -90), ("EPSG:3995", 90)])
def test_polar_scenes_come_back_to_the_pixel(tmp_path: Path, crs: str, pole: int) -> None:
    """A region at the pole itself has no outline of its own in degrees: it is closed along the pole."""
    georef = GeoRef(crs, (100.0, 0.0, -51_200.0, 0.0, -100.0, 51_200.0))
    off, around = Box(100, 700, 30, 20, 15), Box(500, 500, 60, 60)
    path = export(tmp_path / "o.gpkg", "gpkg", [feature(off, georef), feature(around, georef, label="pole")]).path
    geometries, columns, _ = read(path)
    for label, shape in (("tree", off), ("pole", around)):
        geometry = one(geometries[columns["label"].index(label)])
        assert deviation(pixels(geometry, georef), shape.corners()) < 1e-6
    path = export(tmp_path / "o.geojson", "geojson", [feature(off, georef), feature(around, georef, label="pole")]).path
    geometries, columns, _ = read(path)
    again = shapely.Polygon(pixels(one(geometries[columns["label"].index("tree")]), georef, True))
    assert again.hausdorff_distance(shapely.Polygon(off.corners())) < 0.01
    bounds = geometries[columns["label"].index("pole")].bounds
    assert (bounds[0], bounds[2], bounds[1 if pole < 0 else 3]) == (-180, 180, pole)


LANDSAT = GeoRef("EPSG:32633", (30.0, 0.0, 400_000.0, 0.0, -30.0, 7_200_000.0))
POLAR = GeoRef("EPSG:3031", (100.0, 0.0, -51_200.0, 0.0, -100.0, 51_200.0))


@pytest.mark.parametrize("georef", [LANDSAT, POLAR, GeoRef("EPSG:3031", (10.0, 0.0, 1_800_000.0, 0.0, -10.0, 3e5))])
@pytest.mark.parametrize(
    "shape", [Box(100, 100, 300, 200), Box(700, 560, 300, 300, 30), Ellipse(300, 300, 200, 90, 25)]
)
def test_straight_sides_are_straight_where_degrees_curve(tmp_path: Path, georef: GeoRef, shape: Shape) -> None:
    """RFC 7946 draws a side straight in degrees; near a pole that is tens of pixels from where it was drawn."""
    path = export(tmp_path / "o.geojson", "geojson", [feature(shape, georef)]).path
    (geometry,), _, _ = read(path)
    assert geometry.is_valid
    drawn = shapely.Polygon(pixels(shapely.segmentize(one(geometry), 1e-3), georef, True))
    assert shapely.hausdorff_distance(drawn, shapely.Polygon(shape.corners())) < 0.5
    assert drawn.area == pytest.approx(shapely.Polygon(shape.corners()).area, rel=5e-3)


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:4269"])
@pytest.mark.parametrize(("west", "parts"), [(179.5, 2), (200.0, 1), (-180.2, 2)])
def test_grids_that_count_on_beyond_180_degrees(tmp_path: Path, crs: str, west: float, parts: int) -> None:
    georef = GeoRef(crs, (1e-3, 0.0, west, 0.0, -1e-3, 10.0))
    painted = np.zeros((1024, 1024), dtype=bool)
    painted[100:300, 100:900] = True
    painted[150:200, 150:200] = False
    path = export(
        tmp_path / "o.geojson", "geojson", [feature(Mask.of(painted), georef), feature(Point(900, 9), georef)]
    )
    geometries, columns, _ = read(path.path)
    area, point = (geometries[columns["kind"].index(k)] for k in ("region", "point"))
    assert len(shapely.get_parts(area)) == parts
    assert (area.is_valid, area.area) == (True, pytest.approx(painted.sum() * 1e-6, rel=1e-4))
    assert -180 <= min(area.bounds[0], point.x) <= max(area.bounds[2], point.x) <= 180
    assert all(p.exterior.is_ccw and not any(i.is_ccw for i in p.interiors) for p in shapely.get_parts(area))
    assert point.x == pytest.approx((west + 0.9 + 180) % 360 - 180, abs=1e-4)


def test_a_region_of_nearly_the_whole_world_stays_it(tmp_path: Path) -> None:
    """A side of more than 350 degrees does not cross the antimeridian, and nothing lies beyond the poles."""
    georef = GeoRef("EPSG:4326", (360 / 1024, 0.0, -180.0, 0.0, -180 / 1024, 90.0))
    found = [
        feature(Box(2, 100, 1020, 900), georef),
        feature(WholeTile(), georef),
        feature(Box(9, 900, 9, 200), georef),
    ]
    geometries, _, _ = read(export(tmp_path / "o.geojson", "geojson", found).path)
    shares = [g.area / (360 * 180) for g in geometries]
    assert sorted(shares) == pytest.approx([9 * 124 / 1024**2, 1020 * 900 / 1024**2, 1.0])


@pytest.mark.parametrize("radius", [10, 500, 4000])
def test_a_large_ellipse_is_round(tmp_path: Path, radius: float) -> None:
    path = export(tmp_path / "o.gpkg", "gpkg", [feature(Ellipse(500, 500, radius, radius / 2), UTM)]).path
    (geometry,), _, _ = read(path)
    middles = pixels(one(geometry), UTM)
    middles = (middles + np.roll(middles, 1, axis=0)) / 2
    inside = 1 - np.hypot((middles[:, 0] - 500) / radius, (middles[:, 1] - 500) / (radius / 2))
    assert (inside * radius).max() < 0.06


def test_every_crs_has_its_layer_in_a_geopackage(tmp_path: Path) -> None:
    report = export(tmp_path / "out.gpkg", "gpkg", iter(_three_systems()))
    (custom,) = (n for n in report.layers if "custom" in n)
    assert report.layers == {"regions_epsg_32611": 3, "regions_epsg_32631": 1, custom: 1}
    geometries, _, crs = read(report.path, "regions_epsg_32631")
    assert crs == "EPSG:32631"
    assert deviation(pixels(one(geometries[0]), TURNED), L_SHAPE.corners()) < 1e-6
    assert export(tmp_path / "out.geojson", "geojson", _three_systems()).layers == {"regions": 5}


@pytest.mark.parametrize("form", ["geoparquet", "flatgeobuf"])
def test_every_crs_has_its_file_where_a_file_holds_one(tmp_path: Path, form: str) -> None:
    report = export(tmp_path / f"out.{ENDING[form]}", form, _three_systems())
    names = sorted(p.name for p in report.files)
    assert names == sorted(p.name for p in tmp_path.iterdir())
    assert f"out.epsg_32611.{ENDING[form]}" in names
    assert len(names) == 3
    for part in report.parts:
        geometries, _, crs = read(part.file, part.layer)
        assert len(geometries) == part.features
        assert crs == part.crs or "custom" in part.file.name


def _three_systems() -> list[Feature]:
    wkt = Transformer.from_crs(4326, 5070).target_crs.to_wkt().replace("Conus Albers", "Ours")
    places = [(UTM, "a"), (UTM, "b"), (UTM, "c"), (TURNED, "d"), (GeoRef(wkt, UTM.transform), "e")]
    return [feature(L_SHAPE, georef, uid=uid, source=f"/data/{uid}.tif") for georef, uid in places]


@pytest.mark.parametrize("form", FORMS)
def test_each_feature_says_where_it_comes_from(tmp_path: Path, form: str) -> None:
    region = Region(L_SHAPE, "tree", 0.75, "r1", "prediction")
    first = Feature(region, tile(UTM), 7, 70, "a@b.co", 1_700_000_000.25, 2.5, "val", 3)
    second = Feature(Region(Box(500, 500, 9, 9), '["日本"]'), tile(UTM), 8, 80)
    path = export(tmp_path / f"out.{ENDING[form]}", form, [first, second]).path
    _, columns, _ = read(path)
    at = columns["label"].index("tree")
    row = {name: values[at] for name, values in columns.items()}
    assert row["source_region_ids"] == '["r1"]'
    assert (row["task_ids"], row["annotation_ids"], row["annotators"]) == ("[7]", "[70]", '["a@b.co"]')
    assert json.loads(row["tile_uids"]) == [tile(UTM).uid]
    assert (row["scene"], row["scene_id"]) == ("HARV_022.tif", "s")
    acquired = row["acquired"]  # GDAL takes text in GeoJSON that looks like a date for one
    assert (acquired if isinstance(acquired, str) else acquired.isoformat()) == "2019-06-05T10:11:12"
    assert (row["project"], row["split"], row["origin"], row["score"]) == (3, "val", "prediction", 0.75)
    assert (row["merge_rule"], row["n_views"], row["kind"], row["opinion"]) == ("single", 1, "region", 1)
    assert row["lead_time"] == 2.5
    assert row["created_at"] == row["edited_at"]
    assert row["created_at"].isoformat().startswith("2023-11-14T22:13:20.25")
    assert row["source"] is None
    other = {name: values[1 - at] for name, values in columns.items()}
    assert other["label"] == '["日本"]'  # text, although it looks like JSON
    assert other["created_at"] is None
    assert other["score"] is None or np.isnan(other["score"])
    assert other["uid"] != row["uid"]
    assert len(row["uid"]) == 32


@pytest.mark.parametrize("form", ["gpkg", "flatgeobuf"])
def test_columns_without_values_keep_their_type(tmp_path: Path, form: str) -> None:
    path = export(tmp_path / f"o.{ENDING[form]}", form, [feature(L_SHAPE)]).path
    info = pyogrio.read_info(path)
    types = dict(zip(info["fields"].tolist(), info["dtypes"].tolist(), strict=True))
    names = ("score", "view_iou_min", "n_views", "label", "created_at", "source")
    assert [types[n] for n in names] == ["float64", "float64", "int64", "object", "datetime64[ms]", "object"]


@pytest.mark.parametrize("form", FORMS)
def test_a_label_does_not_end_at_a_nul(tmp_path: Path, form: str) -> None:
    path = export(tmp_path / f"o.{ENDING[form]}", form, [feature(L_SHAPE, label="a\0b")]).path
    assert read(path)[1]["label"] == ["a\ufffdb"]


def test_what_cannot_be_placed_is_counted(tmp_path: Path) -> None:
    eight = Polygon(((0, 0), (10, 10), (10, 0), (0, 10)))
    spike = Polygon(((0, 0), (10, 0), (10, 10), (10, 0), (0, 0.0)))
    empty = Mask(1024, 1024, np.zeros((0, 2), dtype=np.int64))
    nothing = [Box(1, 1, 0, 5), Polygon(((0, 0), (1, 1))), Box(float("nan"), 0, 1, 1), Polygon(((0, 0),) * 4), spike]
    beyond = Mask(4, 4, np.array([[10, 99]]))
    shapes: list[Shape] = [L_SHAPE, eight, *nothing, empty, beyond]
    features = [feature(s) for s in shapes] + [feature(L_SHAPE, None)] * 2
    report = export(tmp_path / "out.gpkg", "gpkg", features, merging=APART)
    assert (report.written, report.repaired, report.regions) == (2, 1, 11)
    assert report.skipped == {"without_area": 6, "unreadable": 1, "without_georef": 2}
    geometries, _, _ = read(report.path)
    assert all(g.is_valid for g in geometries)
    assert sum(g.area for g in geometries) == pytest.approx((shapely.Polygon(L_SHAPE.corners()).area + 50) * 0.01)


@pytest.mark.parametrize("form", FORMS)
def test_nothing_is_an_answer(tmp_path: Path, form: str) -> None:
    report = export(tmp_path / f"out.{ENDING[form]}", form, [])
    assert report.written == 0
    assert read(report.path)[0] == []


@pytest.mark.parametrize("form", FORMS)
def test_looked_at_and_empty_is_data(tmp_path: Path, form: str) -> None:
    seen, empty = tile(UTM), tile(UTM, window=(2000, 0, 1024, 1024))
    items: list[Feature | Reviewed] = [
        feature(L_SHAPE),
        Reviewed(seen, 1, False, "ann", 1),
        Reviewed(seen, 1, True, "bob", 0),
        Reviewed(empty, 2, True, "ann", 0, "val"),
        Reviewed(tile(None), 3, True, "ann", 0),
    ]
    report = export(tmp_path / f"out.{ENDING[form]}", form, items)
    assert (report.layers, report.written, report.reviewed) == ({"regions": 1, "reviewed": 2}, 1, 2)
    geometries, columns, _ = read({p.layer: p.file for p in report.parts}["reviewed"], "reviewed")
    at = columns["task_id"].index(2)
    assert [bool(columns["empty"][at]), bool(columns["empty"][1 - at])] == [True, False]
    assert (columns["n_regions"][1 - at], columns["n_annotations"][1 - at]) == (1, 2)
    assert columns["annotators"][1 - at] == '["ann", "bob"]'
    assert columns["tile_uid"][at] == empty.uid
    lonlat = form == "geojson"
    place = pixels(one(geometries[at]), UTM, lonlat)
    assert deviation(place, np.array([[2000, 0], [3024, 0], [3024, 1024], [2000, 1024.0]])) < 0.01


def test_a_file_is_overwritten_only_on_purpose(tmp_path: Path) -> None:
    path = tmp_path / "out.gpkg"
    export(path, "gpkg", [feature(L_SHAPE)])
    before = path.read_bytes()
    with pytest.raises(InvalidInput, match="exists"):
        export(path, "gpkg", [feature(L_SHAPE)])
    assert path.read_bytes() == before
    two = [feature(L_SHAPE), feature(Box(500, 500, 9, 9))]
    assert export(path, "gpkg", two, overwrite=True).written == 2
    with pytest.raises(InvalidInput, match="is a folder; name the file"):
        export(tmp_path, "gpkg", two, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["out.gpkg"]


@pytest.mark.parametrize("form", FORMS)
def test_a_full_disk_keeps_the_old_file(tmp_path: Path, form: str) -> None:
    path = export(tmp_path / f"out.{ENDING[form]}", form, [feature(L_SHAPE)]).path
    before = path.read_bytes()
    many = [feature(Box(i % 50 * 20, i // 50 * 16, 9, 9), uid=f"r{i}") for i in range(3000)]
    for size in (3000, 70_000 if form == "geoparquet" else 900_000):
        with disk_of(size), pytest.raises(InvalidInput, match=r"can't be written .* make room"):
            export(path, form, many, overwrite=True)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("form", FORMS)
def test_progress_is_told_and_may_stop_it(tmp_path: Path, form: str) -> None:
    many = [feature(Box(i % 50 * 20, i // 50 * 16, 9, 9), uid=f"r{i}") for i in range(3000)]
    told: list[tuple[float, str]] = []
    path = tmp_path / f"out.{ENDING[form]}"
    export(path, form, many, progress=lambda share, text: told.append((share, text)))
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert told[-1] == (1.0, "3,000 of 3,000 regions written")

    def stop(share: float, _: str) -> None:
        if share > 0.3:
            raise KeyboardInterrupt

    before = path.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        export(path, form, many, overwrite=True, progress=stop)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="is not a folder"):
        export(tmp_path / "none" / "out.gpkg", "gpkg", [])
    with pytest.raises(InvalidInput, match="use one of gpkg, geojson"):
        export(tmp_path / "out.shp", "shp", [])
    with pytest.raises(InvalidInput, match="neither an authority code nor WKT"):
        export(tmp_path / "out.gpkg", "gpkg", [feature(L_SHAPE, GeoRef("EPSG:1", UTM.transform))])
    moon = "+proj=eqc +a=1737400 +b=1737400 +units=m"
    wkt = Transformer.from_crs(moon, moon).source_crs.to_wkt()
    with pytest.raises(InvalidInput, match=r"no longitude and latitude.*gpkg"):
        export(tmp_path / "out.geojson", "geojson", [feature(L_SHAPE, GeoRef(wkt, UTM.transform))])
    for form in ("gpkg", "geoparquet", "flatgeobuf"):
        path = tmp_path / f"moon.{ENDING[form]}"
        assert export(path, form, [feature(L_SHAPE, GeoRef(wkt, UTM.transform))]).written == 1
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".fgb", ".gpkg", ".parquet"]


def test_an_unwritable_folder_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)  # the tests may run as root, whom no folder refuses
    with pytest.raises(InvalidInput, match=r"can't be written .*Permission denied"):
        export(tmp_path / "out.gpkg", "gpkg", [feature(L_SHAPE)])


@pytest.mark.parametrize("form", FORMS)
def test_any_file_name_will_do(tmp_path: Path, form: str) -> None:
    """The drafts have the format's own ending, by which GDAL goes; the file has the user's."""
    assert export(tmp_path / "labels", form, [feature(L_SHAPE)]).files == (tmp_path / "labels",)
    assert (tmp_path / "labels").is_file()


def test_text_that_utf8_cannot_hold_is_kept_as_far_as_it_goes(tmp_path: Path) -> None:
    path = export(tmp_path / "o.gpkg", "gpkg", [feature(L_SHAPE, label="a\ud800b")]).path
    assert read(path)[1]["label"] == ["a?b"]
