"""Leaks and statistics of snapshots."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from rasterio.warp import transform

from groundlook.core.geo import GeoRef, TileRef
from groundlook.core.geometry import Box, Ellipse, Point, Polygon, WholeTile
from groundlook.core.mask import Mask
from groundlook.core.types import Example, Region, Snapshot, Task
from groundlook.learning.snapshot.file import snapshot_of
from groundlook.learning.snapshot.leaks import HAIR, Leak, leaks
from groundlook.learning.snapshot.stats import areas_px, stats
from groundlook_adapters.rasters.tiling.ground import ground, tile_square_metres


def tile(x: float, y: float = 0.0, side: int = 100, scene: str = "s", crs: str = "EPSG:32631") -> TileRef:
    """Of pixels of a metre, `x` m east of the corner and `y` m south."""
    place = GeoRef(crs, (1.0, 0, 500_000 + x, 0, -1.0, 5_400_000 - y))
    return TileRef(f"/{scene}.tif", f"{scene}{x}{y}", (0, 0, side, side), place, scene)


def shot(*tasks: Task, regions: tuple[Region, ...] = ()) -> Snapshot:
    return snapshot_of(1, ("A", "B"), [Example(t, regions, (t.id,), ("ann",)) for t in tasks])


def as_drawn(tile: TileRef) -> Any:
    return shapely.Polygon(tile.outline())


boxes = st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(2, 20))


@given(st.lists(boxes, max_size=6), st.lists(boxes, max_size=6))
def test_ground_leaks_where_footprints_overlap_by_more_than_a_hair(
    ours: list[tuple[int, int, int]], theirs: list[tuple[int, int, int]]
) -> None:
    train = [Task(i, "", tile(x, y, side, f"t{i}")) for i, (x, y, side) in enumerate(ours)]
    val = [Task(100 + i, "", tile(x, y, side, f"v{i}"), "val") for i, (x, y, side) in enumerate(theirs)]
    margin = Task(999, "", tile(0, 0, 60, "m"), "margin")
    found = {(leak.train, leak.val): leak.share for leak in leaks(shot(*train, *val, margin), as_drawn)}
    for i, (x, y, side) in enumerate(ours):
        for j, (u, v, other) in enumerate(theirs):
            wide = max(0, min(x + side, u + other) - max(x, u))
            high = max(0, min(y + side, v + other) - max(y, v))
            share = wide * high / min(side, other) ** 2
            assert found.get((i, 100 + j), 0.0) == pytest.approx(share if share > HAIR else 0.0)


def test_neighbours_on_the_real_map_don_t_leak_and_half_a_pixel_more_than_a_hair_does() -> None:
    one, beside = Task(1, "", tile(0)), Task(2, "", tile(100, scene="u"), "val")
    assert leaks(shot(one, beside), ground) == []
    near = Task(2, "", tile(99.5, scene="u"), "val")
    (leak,) = leaks(shot(one, near), ground)
    assert leak.share == pytest.approx(0.005, rel=0.05)


def test_a_hair_of_common_ground_is_none() -> None:
    one = Task(1, "", tile(0))
    shares = [leaks(shot(one, Task(2, "", tile(100 - more, scene="u"), "val")), as_drawn) for more in (0.05, 0.2)]
    assert [len(found) for found in shares] == [0, 1]


def test_the_same_place_in_another_crs_leaks() -> None:
    """UTM 31 and 32 at 6° east."""
    here = tile(220_000)
    lon, lat = shapely.get_coordinates(ground(here)).mean(axis=0)
    (x,), (y,) = transform("EPSG:4326", "EPSG:32632", [lon], [lat])
    place = GeoRef("EPSG:32632", (1.0, 0, x, 0, -1.0, y))
    val = Task(2, "", TileRef("/b.tif", "b", (0, 0, 200, 200), place), "val")
    (leak,) = leaks(shot(Task(1, "", here), val), ground)
    assert leak.share == pytest.approx(0.25, abs=0.1), "the quarter south-east of its middle"


def test_the_same_picture_on_both_sides_leaks_once() -> None:
    same = Task(1, "http://x/1.png"), Task(2, "http://x/1.png", split="val")
    assert leaks(shot(*same), ground) == [Leak(1, 2, "image")]
    copied = tile(0), replace(tile(0), source="/copy.tif")
    both = Task(1, "u", copied[0]), Task(2, "v", copied[1], "val")
    assert leaks(shot(*both), ground) == [Leak(1, 2, "image")]
    twice = Task(1, "u", copied[0]), Task(2, "v", copied[1])
    assert leaks(shot(*twice), ground) == []
    assert leaks(shot(Task(1, ""), Task(2, "", split="val")), ground) == []


def test_of_a_picture_on_many_tasks_each_is_in_a_pair_but_not_every_pair_is_told() -> None:
    """A legend beside every task of a project of a hundred thousand would be billions."""
    legend = {"legend": "http://x/legend.png"}
    train = [Task(i, f"u{i}", others=legend) for i in range(1, 8)]
    val = [Task(i, f"u{i}", split="val", others=legend) for i in range(101, 104)]
    found = leaks(shot(*train, *val), ground)
    assert len(found) == 7
    assert {leak.train for leak in found} == {t.id for t in train}
    assert {leak.val for leak in found} == {t.id for t in val}


def test_every_kind_of_shape_has_its_area() -> None:
    bow_tie = Polygon(((0, 0), (10, 10), (10, 0), (0, 10)))
    shapes = [bow_tie, Box(50, 50, -4, 5, 30), Ellipse(20, 20, 8, 4, 45), Point(1, 1), WholeTile(), Polygon(())]
    found = areas_px(shapes).tolist()
    assert found == [pytest.approx(50), pytest.approx(20), pytest.approx(np.pi * 32, rel=2e-3), 0, 0, 0]
    assert areas_px([]).tolist() == []


def test_areas_are_those_of_the_ground() -> None:
    pixels = np.zeros((100, 100), bool)
    pixels[10:20, 10:30] = True
    regions = (
        Region(Box(0, 0, 20, 10), "A"),
        Region(Mask.of(pixels), "A"),
        Region(Polygon(((0, 0), (10, 0), (0, 10))), "B"),
        Region(Point(3, 3), "B"),
    )
    placed = Task(1, "", replace(tile(0), window=(0, 0, 100, 100)), "val", site="alps", sensor="S2")
    found = stats(shot(placed, Task(2, "u"), regions=regions), tile_square_metres)
    a, b = found.whole.classes["A"], found.whole.classes["B"]
    assert (a.regions, a.tiles, a.px, b.px) == (4, 2, 800.0, 100.0)
    # UTM's scale on its middle meridian is .9996, so a metre on the map is a little more on the ground
    assert a.m2 == pytest.approx(400 / 0.9996**2, rel=1e-4)
    assert (found.splits["val"].tiles, found.splits["train"].m2) == (1, None)
    assert (found.sites["alps"].regions, found.sites[""].regions, found.sensors["S2"].tiles) == (4, 4, 1)
    assert found.annotators == {"ann": 2}


def test_what_nobody_found_counts_as_empty_and_labels_without_regions_are_told() -> None:
    found = stats(shot(Task(1, "u"), Task(2, "v", split="val")), tile_square_metres)
    assert (found.whole.tiles, found.whole.empty, found.whole.m2) == (2, 2, None)
    assert {label: c.regions for label, c in found.splits["val"].classes.items()} == {"A": 0, "B": 0}
