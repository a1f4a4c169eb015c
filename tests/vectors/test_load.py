"""Vector features → regions: five formats alike, controls, labels, and what is left out."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from pyproj import CRS

from groundlook.core.errors import InvalidInput
from groundlook.core.geo import TileRef
from groundlook.core.geometry import Box, Point, Polygon
from groundlook.core.mask import Mask
from groundlook.core.types import LabelConfig
from groundlook_adapters.vectors.load.place import Labelling, Loaded, Placer
from groundlook_adapters.vectors.load.read import read
from groundlook_adapters.vectors.load.source import look_at

from .files import HOUSES, POLYGONS, SUFFIXES, TILES, UTM, config, load, on_map, write

# formats


@pytest.mark.parametrize("crs", [UTM, "EPSG:4326"])
def test_five_formats_give_the_same_regions(tmp_path: Path, crs: str) -> None:
    from pyproj import Transformer

    move = Transformer.from_crs(UTM, crs, always_xy=True)
    shapes = [
        shapely.transform(on_map(h), lambda p: np.array(move.transform(p[:, 0], p[:, 1])).T)
        for h in [*HOUSES, shapely.box(900, 900, 950, 950)]
    ]
    results = {}
    for suffix in SUFFIXES:
        path = write(tmp_path / f"houses{suffix}", shapes, crs, kind=["yes", "garage", "yes"])
        found, placer = load(
            path,
            Labelling(column="kind", map={"yes": "House", "garage": "Shed"}),
            config(("PolygonLabels", ["House", "Shed"])),
        )
        assert (placer.counts.placed, placer.counts.regions, placer.counts.tasks) == (2, 3, {1, 2}), suffix
        results[suffix] = found
    for suffix, found in results.items():
        for ours, other in zip(by_place(results[".gpkg"]), by_place(found), strict=True):
            assert (ours.task, ours.region.label) == (other.task, other.region.label), suffix
            gap = shapely.Polygon(ours.region.shape.corners()).symmetric_difference(
                shapely.Polygon(other.region.shape.corners())
            )
            assert gap.area < 1e-3, suffix


def by_place(found: Sequence[Loaded]) -> list[Loaded]:
    return sorted(found, key=lambda item: (item.task, tuple(np.round(item.region.shape.corners().mean(axis=0)))))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_region_knows_its_whole_feature(tmp_path: Path, suffix: str) -> None:
    shapes = [on_map(h) for h in HOUSES]
    path = write(tmp_path / f"houses{suffix}", shapes)
    found, _ = load(path)
    assert len({item.region.uid for item in found}) == 3
    sources = [item.original.source for item in found]
    assert len(set(sources)) == 2, "the pieces of one feature share it"
    assert all(re.fullmatch(rf"houses\{suffix}:houses/\d", s) for s in sources)
    for item in found:
        whole = shapely.from_wkb(item.original.geometry)
        assert any(whole.equals(s) for s in shapes), "unclipped, to the bit"
        assert item.original.crs == UTM
        assert item.original.shape == item.region.shape
        assert (item.region.origin, item.region.score, item.size) == ("prediction", None, (256, 256))
        assert re.fullmatch(r"[A-Za-z0-9_-]{10}", item.region.uid)


def test_the_same_file_gives_the_same_ids_and_a_moved_feature_another(tmp_path: Path) -> None:
    path = write(tmp_path / "h.geojson", [on_map(h) for h in HOUSES])
    first = [item.region.uid for item in load(path)[0]]
    assert [item.region.uid for item in load(path)[0]] == first
    write(path, [on_map(HOUSES[0]), on_map(shapely.affinity.translate(HOUSES[1], 1, 0))])
    again = [item.region.uid for item in load(path)[0]]
    assert again[0] == first[0]
    assert not set(again[1:]) & set(first)


def test_features_far_away_are_not_read_and_batches_join(tmp_path: Path) -> None:
    near = [on_map(shapely.box(4 * i, 4, 4 * i + 3, 10)) for i in range(50)]
    far = [on_map(shapely.box(1e6 + i, 0, 1e6 + i + 1, 1)) for i in range(200)]
    for suffix in SUFFIXES:
        source = look_at(write(tmp_path / f"many{suffix}", [*far, *near]))
        placer = Placer(7, TILES, POLYGONS, Labelling())
        batches = list(read(source, placer.ground.bounds(source.crs), size=16))
        assert sum(len(b.ids) for b in batches) == 50, suffix
        assert len(batches) > 2
        assert source.count == 250


# shapes and controls


def test_holes_go_to_a_brush_where_there_is_one(tmp_path: Path) -> None:
    ring = shapely.box(20, 20, 120, 120).difference(shapely.box(50, 50, 90, 90))
    path = write(tmp_path / "ring.gpkg", [on_map(ring)])
    (kept,), placer = load(path, to=config(("PolygonLabels", ["House"]), ("BrushLabels", ["House"])))
    assert isinstance(kept.region.shape, Mask)
    assert kept.region.shape.area == 100 * 100 - 40 * 40
    assert placer.counts.holes_dropped == 0
    (filled,), placer = load(path)
    assert shapely.Polygon(filled.region.shape.corners()).area == pytest.approx(10000)
    assert placer.counts.holes_dropped == 1
    assert len(shapely.from_wkb(filled.original.geometry).interiors) == 1, "the original keeps its hole"


@pytest.mark.parametrize(
    ("tags", "kind"),
    [
        (["RectangleLabels", "PolygonLabels"], Polygon),
        (["RectangleLabels", "BrushLabels"], Mask),
        (["RectangleLabels", "KeyPointLabels"], Box),
    ],
)
def test_an_area_takes_the_best_control_that_has_its_label(tmp_path: Path, tags: list[str], kind: type) -> None:
    path = write(tmp_path / "h.gpkg", [on_map(HOUSES[0])])
    (item,), _ = load(path, to=config(*((tag, ["House"]) for tag in tags)))
    assert type(item.region.shape) is kind
    if isinstance(item.region.shape, Box):
        corners = item.region.shape.corners()
        assert np.allclose([corners.min(axis=0), corners.max(axis=0)], [[10, 10], [40, 30]], atol=1e-6)
    other = config(*((tag, ["Tree"]) for tag in tags[1:]), (tags[0], ["House"]))
    (item,), _ = load(path, Labelling("House"), other)
    assert isinstance(item.region.shape, Box), "only the rectangles have this label"


def test_many_parts_are_many_things(tmp_path: Path) -> None:
    parts = [shapely.box(10, 10, 30, 30), shapely.box(60, 60, 90, 80)]
    for suffix in SUFFIXES:
        path = write(tmp_path / f"m{suffix}", [on_map(shapely.MultiPolygon(parts))])
        found, placer = load(path)
        assert (placer.counts.placed, placer.counts.regions) == (1, 2)
        assert [re.sub(r".*/\d", "", item.original.source) for item in found] == ["#0", "#1"]
        for item, part in zip(found, parts, strict=True):
            assert shapely.from_wkb(item.original.geometry).normalize().equals_exact(on_map(part).normalize(), 1e-6)


def test_points_and_lines(tmp_path: Path) -> None:
    shapes = [
        shapely.Point(12.25, 30.5),
        shapely.MultiPoint([(220, 5), (225, 6)]),
        shapely.LineString([(0, 0), (50, 50)]),
        shapely.box(5, 5, 9, 9),
    ]
    path = write(tmp_path / "mixed.gpkg", [on_map(s) for s in shapes])
    found, placer = load(path, to=config(("KeyPointLabels", ["Tree"])))
    places = sorted((item.task, *np.round(item.region.shape.corners()[0], 6)) for item in found)
    assert places == [(1, 12.25, 30.5), (1, 220, 5), (1, 225, 6), (2, 20, 5), (2, 25, 6)]
    assert all(isinstance(item.region.shape, Point) for item in found)
    assert (placer.counts.read, placer.counts.placed, placer.counts.lines) == (4, 2, 1)
    assert placer.counts.no_control == {"areas as 'Tree'": 1}


def test_slivers_are_left_out_and_counted(tmp_path: Path) -> None:
    sliver = shapely.box(-95, 10, 4, 14)  # shows 4 of 99 px: 4 %, 16 px²
    lake = shapely.box(-900, 100, 30, 250)  # 3 %, but 4500 px²
    path = write(tmp_path / "edge.gpkg", [on_map(sliver), on_map(lake)])
    found, placer = load(path)
    assert [item.original.source for item in found] == ["edge.gpkg:edge/2"]
    assert (placer.counts.small, placer.counts.placed, placer.counts.outside) == (1, 1, 1)
    assert len(load(path, min_visible=0.03)[0]) == 2


def test_broken_geometry_is_repaired_or_counted(tmp_path: Path) -> None:
    bow = shapely.Polygon([(10, 10), (50, 50), (50, 10), (10, 50)])
    flat = shapely.Polygon([(10, 10), (50, 10), (30, 10)])
    path = write(tmp_path / "broken.gpkg", [on_map(bow), on_map(flat), None, on_map(HOUSES[0])])
    found, placer = load(path)
    assert (placer.counts.repaired, placer.counts.broken, placer.counts.placed) == (1, 1, 2)
    areas = sorted(round(shapely.Polygon(item.region.shape.corners()).area) for item in found)
    assert areas == [400, 400, 600]
    nan = shapely.to_wkb(shapely.Point(0, 0))[:5] + np.array([np.nan, 1.0]).tobytes()
    table = pa.table(
        {"geometry": pa.array([nan, b"rubbish", b"", None, shapely.to_wkb(on_map(HOUSES[0]))], pa.binary())}
    )
    geo = {"primary_column": "geometry", "columns": {"geometry": {"encoding": "WKB", "crs": CRS(UTM).to_json_dict()}}}
    pq.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), tmp_path / "odd.parquet")
    found, placer = load(tmp_path / "odd.parquet")
    assert (placer.counts.broken, placer.counts.placed) == (3, 1)
    assert found[0].original.source == "odd.parquet:odd/4"


def test_three_dimensions_are_two(tmp_path: Path) -> None:
    house = shapely.force_3d(on_map(HOUSES[0]), 7.5)
    (item,), _ = load(write(tmp_path / "z.gpkg", [house]))
    assert not shapely.from_wkb(item.original.geometry).has_z


# labels


def test_values_without_a_label_are_counted_each(tmp_path: Path) -> None:
    kinds = ["House", "barn", "barn", None, "7"]
    for suffix in (".gpkg", ".parquet", ".geojson"):
        path = write(
            tmp_path / f"k{suffix}", [on_map(shapely.box(i * 20, 5, i * 20 + 9, 9)) for i in range(5)], kind=kinds
        )
        found, placer = load(path, Labelling(column="kind", map={"7": "House"}))
        assert len(found) == 2
        assert placer.counts.no_label == {"barn": 2, "(no value)": 1}


def test_numbers_are_labels_as_people_write_them(tmp_path: Path) -> None:
    shapes = [on_map(shapely.box(i * 20, 5, i * 20 + 9, 9)) for i in range(3)]
    path = write(tmp_path / "n.parquet", shapes, code=pa.array([1.0, None, 2.5]))
    found, placer = load(path, Labelling(column="code", map={"1": "House"}))
    assert len(found) == 1
    assert placer.counts.no_label == {"(no value)": 1, "2.5": 1}


TWO = config(("PolygonLabels", ["House", "Shed"]))


@pytest.mark.parametrize(
    ("labelling", "to", "says"),
    [
        (Labelling("Barn"), TWO, r"'Barn' is not in the project's config \(it has: House, Shed\)"),
        (Labelling(), TWO, "which of House, Shed are these"),
        (Labelling("House", "kind"), TWO, "exclude each other"),
        (Labelling("House", map={"a": "House"}), TWO, "--map needs --label-column"),
        (Labelling(column="kind", map={"a": "Barn"}), TWO, "'Barn' is not in the project's config"),
    ],
)
def test_a_labelling_that_does_not_fit_is_refused(labelling: Labelling, to: LabelConfig, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        Placer(7, TILES, to, labelling)


def test_an_unknown_column_names_those_there_are(tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        path = write(tmp_path / f"c{suffix}", [on_map(HOUSES[0])], kind=["a"], height=[1])
        with pytest.raises(InvalidInput, match="has no column 'type'; its columns: kind, height"):
            load(path, Labelling(column="type"))


# real files


@pytest.mark.parametrize(
    ("raster", "vectors", "count"),
    [
        ("solaris/sample_geotiff.tif", "solaris/geotiff_labels.geojson", 43),
        ("opengeos_data/elevation/hag.tif", "opengeos_data/elevation/buildings.geojson", 84),
        ("opengeos_data/elevation/hag.tif", "opengeos_data/elevation/buildings.shp", 84),
    ],
)
def test_real_buildings_lie_on_their_raster(data_dir: Path, raster: str, vectors: str, count: int) -> None:
    from groundlook_adapters.rasters.reading.read import Scene
    from groundlook_adapters.rasters.tiling.ingest import scan, tiles

    suite = data_dir / "geotiff_suite"
    scene = next(iter(scan([str(suite / raster)], [suite])))
    assert isinstance(scene, Scene)
    whole = TileRef(scene.source, scene.etag, (0, 0, scene.width, scene.height), scene.georef)
    found, placer = load(suite / vectors, tiles=[(1, whole)])
    assert (placer.counts.placed, placer.counts.regions, placer.counts.outside) == (count, count, 0)
    cut, _ = tiles(scene, 128, 32)
    found, placer = load(suite / vectors, tiles=list(enumerate(cut)), min_visible=0.0)
    assert placer.counts.placed == count
    pieces: dict[str, list[Any]] = {}
    for item in found:
        georef = replace(cut[item.task]).georef
        assert georef is not None
        pieces.setdefault(item.original.source, []).append(
            shapely.transform(shapely.Polygon(item.region.shape.corners()), georef.to_map)
        )
    first, _ = load(suite / vectors, tiles=[(1, whole)])
    assert whole.georef is not None
    for item in first:
        truth = shapely.transform(shapely.Polygon(item.region.shape.corners()), whole.georef.to_map)
        union = shapely.union_all(pieces[item.original.source], grid_size=1e-6)
        assert union.intersection(truth).area / union.union(truth).area > 0.9999
