"""What several tiles show, and what came in as vector data: one feature each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from pyproj import Transformer

from groundlook.core.geometry import Box, Ellipse, Point, Polygon, Shape, WholeTile
from groundlook.core.mask import Mask
from groundlook.core.types import Original
from groundlook_adapters.vectors.export.gis import Merging, export
from groundlook_adapters.vectors.export.originals import unedited

from .exports import L_SHAPE, TURNED, UTM, deviation, feature, one, pixels, read

LEFT, RIGHT = (0, 0, 1024, 1024), (896, 0, 1024, 1024)
LAKE = [(LEFT, Box(600, 300, 424, 200)), (RIGHT, Box(0, 300, 500, 200))]


def rows(path: Path, layer: str = "regions") -> list[dict[str, Any]]:
    geometries, columns, _ = read(path, layer)
    return [{**{n: v[i] for n, v in columns.items()}, "geometry": g} for i, g in enumerate(geometries)]


def seam(**other: Any) -> list[Any]:
    """A crown that two tiles show whole, and one that only the left one shows."""
    return [
        feature(Box(940, 100, 40, 40), uid="a", window=LEFT, task=1, annotation=10, annotator="ann", **other),
        feature(Box(44, 100, 40, 40), uid="b", window=RIGHT, task=2, annotation=20, annotator="bob", **other),
        feature(Box(10, 10, 40, 40), uid="c", window=LEFT, task=1, annotation=10, annotator="ann", **other),
    ]


def test_what_two_tiles_show_is_one_feature_that_names_both(tmp_path: Path) -> None:
    report = export(tmp_path / "o.gpkg", "gpkg", seam())
    assert (report.regions, report.written, report.merged) == (3, 2, 1)
    merged, alone = sorted(rows(report.path), key=lambda r: -r["n_views"])
    assert json.loads(merged["source_region_ids"]) == ["a", "b"]
    assert json.loads(merged["task_ids"]) == [1, 2]
    assert json.loads(merged["annotation_ids"]) == [10, 20]
    assert json.loads(merged["annotators"]) == ["ann", "bob"]
    assert len(json.loads(merged["tile_uids"])) == 2
    assert (merged["n_views"], merged["merge_rule"], merged["view_iou_min"]) == (2, "central", 1.0)
    assert merged["lead_time"] == 4.0
    assert deviation(pixels(one(merged["geometry"]), UTM), Box(940, 100, 40, 40).corners()) < 1e-6
    assert (alone["n_views"], alone["merge_rule"]) == (1, "single")


def test_nothing_is_merged_unless_wanted(tmp_path: Path) -> None:
    report = export(tmp_path / "o.gpkg", "gpkg", seam(), merging=Merging(instances=False))
    assert (report.written, report.merged) == (3, 0)
    assert {r["merge_rule"] for r in rows(report.path)} == {"single"}


def test_points_that_two_tiles_show_are_one(tmp_path: Path) -> None:
    both = [feature(Point(950, 30), window=LEFT, uid="a"), feature(Point(54.5, 30), window=RIGHT, uid="b", task=2)]
    assert export(tmp_path / "o.gpkg", "gpkg", both).layers == {"regions": 0, "points": 1}


def test_second_opinions_stay_apart(tmp_path: Path) -> None:
    report = export(tmp_path / "o.gpkg", "gpkg", seam() + seam(opinion=2))
    assert (report.regions, report.written) == (6, 4)
    assert sorted(r["opinion"] for r in rows(report.path)) == [1, 1, 2, 2]


@pytest.mark.parametrize("instances", [True, False])
def test_surfaces_are_dissolved_and_nothing_else(tmp_path: Path, instances: bool) -> None:
    lake = [feature(shape, label="water", window=window, uid=f"w{i}") for i, (window, shape) in enumerate(LAKE)]
    merging = Merging(instances, ("water",))
    report = export(tmp_path / "o.gpkg", "gpkg", lake + seam(), merging=merging)
    assert report.labels == {"water": 1, "tree": 2 if instances else 3}
    (water,) = (r for r in rows(report.path) if r["label"] == "water")
    assert water["merge_rule"] == "dissolve"
    assert water["geometry"].area == pytest.approx((1396 - 600) * 200 * 0.01)


def test_features_have_the_same_uid_in_every_export(tmp_path: Path) -> None:
    first = {r["uid"] for r in rows(export(tmp_path / "a.gpkg", "gpkg", seam()).path)}
    again = {r["uid"] for r in rows(export(tmp_path / "b.fgb", "flatgeobuf", seam()[::-1]).path)}
    assert first == again
    assert len(first) == 2


def test_scenes_are_not_merged_with_each_other(tmp_path: Path) -> None:
    other = seam(source="/data/later.tif")
    assert export(tmp_path / "o.gpkg", "gpkg", seam() + other).written == 4


# originals

CORNERS = [(321_900.123456789, 4_096_680.1), (321_950.5, 4_096_680.1), (321_950.5, 4_096_640.7), (321_900.9, 4_096_640)]
HOUSE = shapely.Polygon(CORNERS)


def sent(**other: Any) -> tuple[Polygon, Original]:
    """A house in pixels of the first tile, as a person sees it, and what it came from."""
    shape = Polygon(tuple((float(x), float(y)) for x, y in UTM.to_pixel(np.array(CORNERS))))
    fields: dict[str, Any] = {"geometry": shapely.to_wkb(HOUSE), "crs": "EPSG:32611", "shape": shape}
    return shape, Original(**{**fields, "source": "houses.gpkg:houses/1", **other})


def test_an_unedited_feature_goes_out_bit_for_bit(tmp_path: Path) -> None:
    shape, original = sent()
    jittered = Polygon(tuple((x + 1e-9, y - 1e-9) for x, y in shape.points))
    for form, name in (("gpkg", "o.gpkg"), ("geoparquet", "o.parquet"), ("flatgeobuf", "o.fgb")):
        report = export(tmp_path / name, form, [feature(jittered, original=original, uid="h")])
        (row,) = rows(report.path)
        assert shapely.get_coordinates(row["geometry"]).tolist() == shapely.get_coordinates(HOUSE).tolist()
        assert (row["merge_rule"], row["source"], report.originals) == ("original", "houses.gpkg:houses/1", 1)


def test_an_edited_feature_goes_out_as_it_was_drawn(tmp_path: Path) -> None:
    shape, original = sent()
    moved = Polygon(((shape.points[0][0] + 0.2, shape.points[0][1]), *shape.points[1:]))
    report = export(tmp_path / "o.gpkg", "gpkg", [feature(moved, original=original)])
    (row,) = rows(report.path)
    assert (row["merge_rule"], row["source"], report.originals) == ("single", "houses.gpkg:houses/1", 0)
    assert deviation(pixels(one(row["geometry"]), UTM), moved.corners()) < 1e-6


def test_pieces_of_one_feature_are_one_feature_again(tmp_path: Path) -> None:
    long = shapely.box(321_960, 4_096_660, 322_060, 4_096_670)
    parts = [(LEFT, Box(778, 192, 246, 100)), (RIGHT, Box(0, 192, 882, 100))]
    pieces = [
        feature(s, window=w, uid=f"p{i}", task=i, original=Original(shapely.to_wkb(long), UTM.crs, s, "roads/3"))
        for i, (w, s) in enumerate(parts)
    ]
    report = export(tmp_path / "whole.gpkg", "gpkg", pieces)
    (row,) = rows(report.path)
    assert (row["merge_rule"], row["n_views"], json.loads(row["task_ids"])) == ("original", 2, [0, 1])
    assert row["geometry"].equals(long)
    # one piece edited: its neighbours are no longer what the whole was, so all are joined like any other
    edited = feature(Box(778, 192, 246, 140), window=LEFT, uid="p0", task=0, original=pieces[0].original)
    report = export(tmp_path / "edited.gpkg", "gpkg", [edited, pieces[1]])
    assert report.originals == 0
    assert {r["source"] for r in rows(report.path)} == {"roads/3"}
    assert {r["merge_rule"] for r in rows(report.path)} <= {"single", "union", "central"}


def test_an_original_of_another_crs_is_moved_there(tmp_path: Path) -> None:
    lonlat = _lonlat(HOUSE)
    shape, original = sent(geometry=shapely.to_wkb(lonlat), crs="EPSG:4326")
    (row,) = rows(export(tmp_path / "o.gpkg", "gpkg", [feature(shape, original=original)]).path)
    assert deviation(shapely.get_coordinates(row["geometry"])[:-1], shapely.get_coordinates(HOUSE)[:-1]) < 1e-6
    (row,) = rows(export(tmp_path / "o.geojson", "geojson", [feature(shape, original=original)]).path)
    assert deviation(shapely.get_coordinates(row["geometry"])[:-1], shapely.get_coordinates(lonlat)[:-1]) < 1e-9
    assert row["geometry"].exterior.is_ccw


def _lonlat(geometry: Any) -> Any:
    move = Transformer.from_crs("EPSG:32611", "EPSG:4326", always_xy=True)
    return shapely.transform(geometry, lambda p: np.stack(move.transform(p[:, 0], p[:, 1]), axis=1))


def test_an_original_that_is_no_area_does_not_stand_for_one(tmp_path: Path) -> None:
    shape, _ = sent()
    for blob in (shapely.to_wkb(shapely.LineString(CORNERS)), b"no geometry", shapely.to_wkb(shapely.Polygon())):
        _, original = sent(geometry=blob)
        report = export(tmp_path / "o.gpkg", "gpkg", [feature(shape, original=original)], overwrite=True)
        assert (report.originals, report.written) == (0, 1)


def test_a_point_stays_where_it_was_given(tmp_path: Path) -> None:
    place = shapely.Point(321_950.123, 4_096_600.456)
    shape = Point(*UTM.to_pixel(np.array([[place.x, place.y]]))[0].tolist())
    original = Original(shapely.to_wkb(place), UTM.crs, shape, "trees.csv/5")
    report = export(tmp_path / "o.gpkg", "gpkg", [feature(shape, original=original)])
    (row,) = rows(report.path, "points")
    assert row["geometry"] == place


def test_a_relabelled_feature_keeps_its_geometry(tmp_path: Path) -> None:
    shape, original = sent()
    (row,) = rows(export(tmp_path / "o.gpkg", "gpkg", [feature(shape, label="shed", original=original)]).path)
    assert (row["label"], row["merge_rule"]) == ("shed", "original")


RING = L_SHAPE.points
FAR = (RING[0][0] + 0.1, RING[0][1])


@pytest.mark.parametrize(
    ("shape", "same"),
    [
        (Polygon(RING), True),
        (Polygon(RING[2:] + RING[:2]), True),
        (Polygon((*RING, RING[0])), True),
        (Polygon(tuple((x + 0.03, y) for x, y in RING)), True),
        (Polygon((FAR, *RING[1:])), False),
        (Polygon(RING[1:]), False),
        (Polygon((*RING[:2], (60, 25), *RING[2:])), False),
        (Polygon(tuple((float("nan"), y) for _, y in RING)), False),
        (Box(10, 10, 80, 70), False),
    ],
)
def test_a_polygon_was_edited_or_not(shape: Shape, same: bool) -> None:
    assert unedited(shape, L_SHAPE) is same


def test_other_shapes_were_edited_or_not() -> None:
    box, ellipse, mask = Box(1, 2, 30, 40, 10), Ellipse(50, 50, 20, 10, 5), Mask(8, 8, Mask.of(_some()).runs)
    assert unedited(Box(1.01, 2, 30, 40, 10.01), box)
    assert not unedited(Box(1, 2, 30.1, 40, 10), box)
    assert not unedited(Box(1, 2, 30, 40, 11), box)
    assert unedited(Ellipse(50, 50.01, 20, 10, 5), ellipse)
    assert not unedited(Ellipse(50, 50, 20, 10.2, 5), ellipse)
    assert unedited(Point(3, 4), Point(3.03, 4.03))
    assert not unedited(Point(3, 4), Point(3.04, 4.04))
    assert unedited(mask, Mask.of(_some()))
    assert not unedited(mask, Mask.of(~_some()))
    assert unedited(WholeTile(), WholeTile())


def _some() -> Any:
    return np.eye(8, dtype=bool)


def test_rotated_grids_merge_too(tmp_path: Path) -> None:
    report = export(tmp_path / "o.gpkg", "gpkg", seam(georef=TURNED))
    assert (report.written, report.merged) == (2, 1)
