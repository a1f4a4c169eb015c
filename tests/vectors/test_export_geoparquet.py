"""GeoParquet as https://geoparquet.org/releases/v1.1.0/ asks for it."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import shapely
from pyproj import CRS

from groundlook.core.geometry import Box
from groundlook_adapters.vectors.export.gis import Merging, export
from groundlook_adapters.vectors.load.parquet import look_at_parquet

from .exports import L_SHAPE, UTM, feature


def test_its_metadata_says_all_that_a_reader_needs(tmp_path: Path) -> None:
    path = export(tmp_path / "o.parquet", "geoparquet", [feature(L_SHAPE), feature(Box(500, 500, 10, 20))]).path
    with pq.ParquetFile(path) as file:
        geo = json.loads(file.metadata.metadata[b"geo"])
        assert file.metadata.row_group(0).column(0).compression == "ZSTD"
        assert file.schema_arrow.field("created_at").type.tz == "UTC"
    column = geo["columns"]["geometry"]
    assert (geo["version"], geo["primary_column"]) == ("1.1.0", "geometry")
    assert (column["encoding"], column["geometry_types"]) == ("WKB", ["MultiPolygon"])
    assert CRS.from_json_dict(column["crs"]).to_authority() == ("EPSG", "32611")
    assert column["covering"]["bbox"]["ymax"] == ["bbox", "ymax"]
    table = pq.read_table(path)
    shapes = shapely.from_wkb(table.column("geometry").to_numpy(zero_copy_only=False))
    assert column["bbox"] == pytest.approx(shapely.total_bounds(shapes).tolist())
    for shape, box in zip(shapes, table.column("bbox").to_pylist(), strict=True):
        assert (box["xmin"], box["ymin"], box["xmax"], box["ymax"]) == shape.bounds


def test_readers_skip_row_groups_by_their_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("groundlook_adapters.vectors.export.geoparquet.ROW_GROUP", 100)
    monkeypatch.setattr("groundlook_adapters.vectors.export.layers.BATCH_ROWS", 30)
    many = [feature(Box(i % 20 * 50, i // 20 * 50, 9, 9), uid=f"r{i}") for i in range(400)]
    path = export(tmp_path / "o.parquet", "geoparquet", many, merging=Merging(instances=False)).path
    metadata = pq.read_metadata(path)
    assert metadata.num_row_groups >= 3
    south = UTM.transform[5] - 0.1 * 800
    near = pq.read_table(path, filters=pc.field("bbox", "ymin") < south)
    assert 0 < near.num_rows < 400


def test_our_own_reader_takes_it(tmp_path: Path) -> None:
    path = export(tmp_path / "o.parquet", "geoparquet", [feature(L_SHAPE)]).path
    source = look_at_parquet(path, None, None)
    assert source.crs == "EPSG:32611"
    assert source.count == 1
