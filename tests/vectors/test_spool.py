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
from groundlook_adapters.vectors.export.spool import Spool

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
