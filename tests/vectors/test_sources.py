"""Vector files as they come: without CRS, with many layers, cut off, and meaning harm."""

from __future__ import annotations

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely

from groundlook.core.errors import GroundlookError, InvalidInput, NotAllowed
from groundlook_adapters.vectors.load.source import look_at

from .files import HOUSES, UTM, load, on_map, write

# systems


def test_a_file_without_crs_is_asked_for_one(tmp_path: Path) -> None:
    for suffix in (".shp", ".gpkg", ".fgb", ".parquet"):
        path = write(tmp_path / f"n{suffix}", [on_map(HOUSES[0])], None)
        with pytest.raises(InvalidInput, match=r"has no CRS.*--crs EPSG"):
            load(path)
        assert len(load(path, crs=UTM)[0]) == 1
        with pytest.raises(InvalidInput, match="neither an authority code nor WKT"):
            load(path, crs="EPSG:99999999")
        with pytest.raises(InvalidInput, match="neither an authority code nor WKT"):
            load(path, crs="/etc/passwd")


def geojson(path: Path, shape: Any, **members: Any) -> Path:
    feature = {"type": "Feature", "properties": {}, "geometry": json.loads(shapely.to_geojson(shape))}
    path.write_text(json.dumps({"type": "FeatureCollection", **members, "features": [feature]}))
    return path


def test_geojson_is_wgs84_unless_it_says_otherwise(tmp_path: Path) -> None:
    path = geojson(tmp_path / "a.geojson", shapely.box(2.9, 48.7, 3.1, 48.8))
    assert look_at(path).crs == "EPSG:4326"
    named = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32631"}}
    assert look_at(geojson(path, on_map(HOUSES[0]), crs=named)).crs == UTM
    fine = {"type": "name", "properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}}
    assert look_at(geojson(path, shapely.Point(3, 48), crs=fine)).crs == "EPSG:4326"
    unknown = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::999999"}}
    with pytest.raises(InvalidInput, match=r"crs member that can't be followed.*999999.*--crs"):
        look_at(geojson(path, on_map(HOUSES[0]), crs=unknown))
    assert look_at(path, crs=UTM).crs == UTM


def test_parquet_without_a_crs_is_wgs84_and_null_is_unknown(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", [shapely.box(2.9, 48.7, 3.1, 48.8)], "OGC:CRS84")
    assert look_at(path).crs == "OGC:CRS84"
    with pytest.raises(InvalidInput, match="has no CRS"):
        look_at(write(tmp_path / "b.parquet", [shapely.box(0, 0, 1, 1)], None))


# files that mean harm, or are not what they say


def test_layers_are_named_where_one_must_be_chosen(tmp_path: Path) -> None:
    path = tmp_path / "two.gpkg"
    for layer in ("roofs", "roads"):
        wkb = np.array([shapely.to_wkb(on_map(HOUSES[0]))], dtype=object)
        pyogrio.raw.write(
            path, wkb, [], [], layer=layer, driver="GPKG", geometry_type="Polygon", crs=UTM, append=path.exists()
        )
    with pytest.raises(InvalidInput, match=r"has 2 layers \(roofs, roads\); choose one with --layer"):
        load(path)
    with pytest.raises(InvalidInput, match="no layer 'walls' with geometry; its layers: roofs, roads"):
        load(path, layer="walls")
    assert load(path, layer="roofs")[0][0].original.source == "two.gpkg:roofs/1"


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.kml", b"<kml/>", r"\.kml is not a format that is loaded; use a GeoPackage"),
        ("a.zip", b"PK\x03\x04", r"\.zip is not a format"),
        ("a.gpkg", b"", "empty"),
        ("a.gpkg", b"SQLite format 3\0" + b"\0" * 100, "is named .gpkg but is not a GPKG file"),
        ("a.gpkg", b"SQLite format 3\0" + b"\0" * 52 + b"GPKG" + b"\0" * 40, "can't be read"),
        ("a.shp", b"\0\0\x27\x0a" + b"\0" * 96, "can't be read"),
        ("a.fgb", b"fgb\x03fgb\0" + b"\xff" * 60, "can't be read"),
        ("a.parquet", b"PAR1" + b"\0" * 60, "can't be read"),
        ("a.geojson", b"<OGRVRTDataSource/>", "is named .geojson but is not a GeoJSON file"),
        ("a.gpkg", b"<OGRVRTDataSource/>", "is named .gpkg but is not a GPKG file"),
        ("a.geojson", b'{"type": "FeatureCollection", "features": [{"type":', "can't be read"),
        ("a.json", b'{"hello": "world"}', "can't be read"),
        ("a.json", b'{"type":"Topology","objects":{"a":{"type":"Point","coordinates":[0,0]}},"arcs":[]}', "TopoJSON"),
        (
            "a.json",
            b'{"type":"gdal_streamed_alg","command_line":"gdal vector read secret.geojson"}',
            "is not a GeoJSON",
        ),
        ("missing.gpkg", None, "No such file"),
    ],
)
def test_what_is_no_vector_file_is_one_clear_line(tmp_path: Path, name: str, content: bytes | None, says: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidInput, match=says) as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_folders_and_pipes_are_not_opened(tmp_path: Path) -> None:
    (tmp_path / "a.gpkg").mkdir()
    os.mkfifo(tmp_path / "b.gpkg")
    for name in ("a.gpkg", "b.gpkg"):
        with pytest.raises(InvalidInput, match="is not a regular file"):
            load(tmp_path / name)


def test_a_cut_off_file_is_said_to_be_broken(tmp_path: Path) -> None:
    shapes = [on_map(shapely.box(i % 200, i // 200, i % 200 + 1, i // 200 + 1)) for i in range(3000)]
    for suffix in (".gpkg", ".fgb", ".parquet", ".geojson"):
        path = write(tmp_path / f"cut{suffix}", shapes)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(InvalidInput, match="can't be read"):
            load(path)


def test_a_table_that_is_no_map_says_so(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "plain.parquet")
    with pytest.raises(InvalidInput, match="has no 'geo' metadata"):
        load(tmp_path / "plain.parquet")
    for geo, says in (
        (b"[" * 50000, "is broken"),
        (b'{"primary_column": "x", "columns": {"x": {"encoding": "WKB"}}}', "is broken"),
        (b'{"primary_column": "a", "columns": {"a": {"encoding": "polygon"}}}', "with encoding WKB"),
        (b'{"primary_column": "a", "columns": {"a": {"encoding": "WKB", "crs": {"type": 3}}}}', "no PROJJSON"),
    ):
        table = pa.table({"a": [b"1"]}).replace_schema_metadata({b"geo": geo})
        pq.write_table(table, tmp_path / "odd.parquet")
        with pytest.raises(InvalidInput, match=says):
            load(tmp_path / "odd.parquet")


def test_a_shapefile_whose_parts_lead_elsewhere_is_refused(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    write(outside / "a.shp", [on_map(HOUSES[0])], secret=["password"])
    write(inside / "a.shp", [on_map(HOUSES[0])])
    (inside / "a.dbf").unlink()
    for name in ("a.dbf", "a.DBF"):
        (inside / name).symlink_to(outside / "a.dbf")
        with pytest.raises(NotAllowed, match="is a link to another folder"):
            load(inside / "a.shp")
        (inside / name).unlink()


def test_nothing_is_fetched_from_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GDAL follows a link in a GeoJSON's crs; ours must not, even to hosts that are no proxy's business."""
    asked: list[str] = []

    class Host(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"EPSG:32631")

        def log_message(self, format: str, *args: Any) -> None:
            pass

    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    server = HTTPServer(("127.0.0.1", 0), Host)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}/crs.wkt"
    link = {"type": "link", "properties": {"href": url, "url": url, "type": "esriwkt"}}
    try:
        path = geojson(tmp_path / "a.geojson", on_map(HOUSES[0]), crs=link)
        with pytest.raises(GroundlookError, match="can't be followed"):
            load(path)
        text = path.read_text().replace('"crs"', r'"\u0063rs"')
        path.write_text(text)  # as text it can't be told any more
        look_at(path)
        assert asked == []
        pyogrio.read_info(path)
        assert asked != [], "else this test asks nothing"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert os.environ["no_proxy"] == "127.0.0.1,localhost"
