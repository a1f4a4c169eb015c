"""What waits on disk comes back by scene, in the order of the windows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from groundlook.core.geo import GeoRef
from groundlook.core.geometry import Box, Point, WholeTile
from groundlook_adapters.vectors.export.rows import feature_row, feature_uid
from groundlook_adapters.vectors.export.spool import Member, ScenePlace, Spool
from groundlook_adapters.vectors.export.waiting import Waiting, is_plain
from groundlook_adapters.vectors.geometry.shapes import to_geometry

from .exports import TURNED, UTM, feature, tile


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    kept = Spool(tmp_path / "spool.db")
    yield kept
    kept.close()


@given(corners=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=30))
def test_windows_come_row_by_row_whatever_the_order(corners: list[tuple[int, int]]) -> None:
    spool = Spool(Path(":memory:"))
    for i, (column, row) in enumerate(corners):
        spool.add(feature(Box(1, 2, 3, 4), uid=f"r{i}", window=(column * 100, row * 100, 128, 128)))
    spool.finish()
    assert len(spool.scenes) == 1  # rounding in the windows' transforms makes no new scene
    found = list(spool.read(0, "regions", 1))
    places = [(p.window[1], p.window[0]) for p in found]
    assert places == sorted((row * 100, column * 100) for column, row in corners)
    for piece in found:
        column, row, _, _ = piece.window
        assert piece.geometry.bounds == (column + 1, row + 2, column + 4, row + 6)
    spool.close()


def test_kinds_scenes_and_opinions_are_kept_apart(spool: Spool) -> None:
    for shape in (Box(1, 1, 2, 2), Point(3, 4), WholeTile()):
        spool.add(feature(shape))
        spool.add(feature(shape, TURNED, source="/data/other.tif"))
        spool.add(feature(shape, opinion=2))
    spool.finish()
    assert [s.source for s in spool.scenes] == ["/data/HARV_022.tif", "/data/other.tif"]
    assert spool.kinds(0) == {"regions", "points", "tiles"}
    assert (spool.opinions(0, "points"), spool.opinions(1, "points")) == ([1, 2], [1])
    (piece,) = spool.read(1, "tiles", 1)
    assert piece.geometry.equals(shapely.box(0, 0, 1024, 1024))


def test_a_raster_that_was_placed_anew_is_another_scene(spool: Spool) -> None:
    a, b, c, d, e, f = UTM.transform
    for shift in (0.0, 1e-9, 0.05):
        spool.add(feature(Box(1, 1, 2, 2), GeoRef(UTM.crs, (a, b, c + shift, d, e, f))))
    spool.finish()
    assert len(spool.scenes) == 2


def test_what_is_known_of_a_region_comes_along(spool: Spool) -> None:
    spool.add(feature(Box(1, 1, 2, 2), label="tree", uid="r1", task=5, annotation=6, annotator="ann"))
    spool.finish()
    (piece,) = spool.read(0, "regions", 1)
    member = piece.member
    assert (member.region, member.label, member.task, member.annotation) == ("r1", "tree", 5, 6)
    assert (member.annotator, member.tile_uid, member.lead_time) == ("ann", tile(UTM).uid, 2.0)
    assert np.isclose(piece.geometry.area, 4)


_SIDE = st.floats(0.01, 5000)


@given(st.lists(st.tuples(st.floats(-500, 5000), st.floats(-500, 5000), _SIDE, _SIDE), min_size=1, max_size=20))
def test_many_upright_boxes_are_placed_as_each_alone(rows: list[tuple[float, float, float, float]]) -> None:
    boxes = [Box(*row) for row in rows]
    assert all(map(is_plain, boxes))
    waiting = Waiting()
    for i, box in enumerate(boxes):
        # every third one comes as a geometry, as other shapes do
        waiting.add(box, to_geometry(box, (640, 640))[0] if i % 3 == 2 else None, (512 * i, 64), (i,))
    found = list(waiting.placed())
    for i, (box, (blob, values)) in enumerate(zip(boxes, found, strict=True)):
        alone, repaired = to_geometry(box, (640, 640))
        corner = np.array([512 * i, 64], np.float64)
        assert values == (i,)
        assert not repaired
        assert blob == shapely.to_wkb(shapely.transform(alone, lambda points, corner=corner: points + corner))


@pytest.mark.parametrize(
    "box", [Box(0, 0, 0, 5), Box(0, 0, -3, 5), Box(float("nan"), 0, 1, 1), Box(0, 0, 1e308, 1e308), Box(0, 0, 9, 9, 3)]
)
def test_boxes_that_need_a_look_are_not_plain(box: Box) -> None:
    assert not is_plain(box)


@given(
    st.builds(
        Member,
        *(st.text(max_size=8), st.text(max_size=8), st.none() | st.floats(0, 1), st.sampled_from(["manual", ""])),
        *(st.integers(-5, 9), st.integers(0, 9), st.text(max_size=5), st.floats(-1, 2e9), st.floats(0, 99)),
        *(st.integers(0, 9), st.text(max_size=5), st.sampled_from(["", "train"]), st.none(), st.none() | st.text()),
    )
)
def test_a_feature_of_one_region_is_told_as_one_of_two_equal_ones(member: Member) -> None:
    scene = ScenePlace(0, "/data/a.tif", "", "", None, UTM)
    more = ("regions", scene, 1, "single", 1, None)
    (uid, *one), (_, *both) = (feature_row([member] * times, *more) for times in (1, 2))
    assert one == both
    assert uid == feature_uid([member], "regions")
