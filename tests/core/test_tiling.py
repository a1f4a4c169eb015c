"""The grid covers the scene, and the split keeps held-out ground apart."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from groundlook.core.errors import InvalidInput
from groundlook.core.geo import GeoRef, TileRef
from groundlook.core.tiling import Split, grid, spatial_split

side = st.integers(1, 300)


@given(side, side, st.integers(1, 256), st.data())
def test_windows_are_full_lie_inside_and_cover_every_pixel(
    width: int, height: int, size: int, data: st.DataObject
) -> None:
    overlap = data.draw(st.integers(0, max(0, size - max(1, size // 4))).filter(lambda o: o < size))
    covered = np.zeros((height, width), dtype=bool)
    windows = list(grid(width, height, size, overlap))
    for column, row, w, h in windows:
        assert (w, h) == (min(size, width), min(size, height))
        assert column >= 0
        assert row >= 0
        assert column + w <= width
        assert row + h <= height
        covered[row : row + h, column : column + w] = True
    assert covered.all()
    assert len(set(windows)) == len(windows)
    assert windows == sorted(windows, key=lambda x: (x[1], x[0]))


@given(side, st.integers(2, 256), st.data())
def test_neighbours_share_at_least_the_overlap(width: int, size: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(0, size // 2))
    starts = [column for column, *_ in grid(width, size, size, overlap)]
    shared = [a + size - b for a, b in itertools.pairwise(starts)]
    assert all(s == overlap for s in shared[:-1])
    assert all(s >= overlap for s in shared)


@pytest.mark.parametrize(("size", "overlap"), [(0, 0), (10, 10), (10, 11), (10, -1)])
def test_an_overlap_that_never_ends_is_refused(size: int, overlap: int) -> None:
    with pytest.raises(InvalidInput, match=f"tile size {size} with overlap {overlap}"):
        list(grid(100, 100, size, overlap))


@st.composite
def tilings(draw: st.DrawFn) -> list[TileRef]:
    """The tiles of a scene anywhere, turned any way."""
    size = draw(st.integers(32, 256))
    overlap = draw(st.integers(0, size // 2))
    turn, gsd = np.radians(draw(st.floats(-180, 180))), draw(st.floats(0.05, 10))
    a, b = float(gsd * np.cos(turn)), float(gsd * np.sin(turn))
    georef = GeoRef("EPSG:32631", (a, b, draw(st.floats(-1e6, 1e6)), b, -a, draw(st.floats(-1e7, 1e7))))
    windows = grid(draw(st.integers(100, 1200)), draw(st.integers(100, 1200)), size, overlap)
    return [TileRef("/s.tif", "e", w, georef.window(w[0], w[1])) for w in windows]


def pixel_area(tile: TileRef) -> float:
    assert tile.georef is not None
    across, down = tile.georef.gsd()
    return across * down


@settings(max_examples=60)
@given(tilings(), st.floats(50, 2000), st.floats(0.1, 0.9), st.text(max_size=5))
def test_no_pixel_is_both_trained_on_and_held_out(tiles: list[TileRef], block: float, share: float, seed: str) -> None:
    ground: dict[Split, list[shapely.Polygon]] = {"train": [], "val": [], "margin": []}
    for tile in tiles:
        ground[spatial_split(tile, block, share, seed)].append(shapely.Polygon(tile.outline()))
    tree = shapely.STRtree(ground["train"])
    for held_out in ground["val"]:
        for i in tree.query(held_out, predicate="intersects"):
            # block edges have a tolerance of a millionth of a block: less than a tenth of a pixel, along a diagonal
            leaked = shapely.intersection(held_out, ground["train"][i]).area / pixel_area(tiles[0])
            assert leaked < 0.1 * 256 * 1.5


def test_every_date_of_a_place_shares_a_fold() -> None:
    georef = GeoRef("EPSG:32631", (1, 0, 400_100, 0, -1, 5_000_400))
    dates = [TileRef(f"/{year}.tif", str(year), (0, 0, 100, 100), georef, acquired=str(year)) for year in (2009, 2020)]
    assert len({spatial_split(tile, 500, 0.5, "s") for tile in dates}) == 1


def test_share_is_roughly_kept_and_the_seed_matters() -> None:
    def folds(seed: str) -> list[Split]:
        places = [GeoRef("EPSG:32631", (1, 0, 100.0 * i + 1, 0, -1, 99)) for i in range(1000)]
        return [spatial_split(TileRef("/s.tif", "e", (0, 0, 90, 90), p), 100, 0.25, seed) for p in places]

    assert 200 < folds("a").count("val") < 300
    assert "margin" not in folds("a")
    assert folds("a") == folds("a") != folds("b")


def test_images_without_georeference_are_split_by_image() -> None:
    folds = [spatial_split(TileRef(f"/{i}.png", "e", (0, 0, 9, 9)), 100, 0.5, "s") for i in range(200)]
    assert 70 < folds.count("val") < 130
    first = [spatial_split(TileRef("/1.png", "e", (x, 0, 9, 9)), 100, 0.5, "s") for x in range(20)]
    assert len(set(first)) == 1


def test_another_space_decides_by_its_own_blocks() -> None:
    tile = TileRef("/s.tif", "e", (0, 0, 10, 10), GeoRef("EPSG:32631", (1, 0, 500_000, 0, -1, 5_000_000)))
    outline = tile.outline()
    for seed in map(str, range(50)):
        assert spatial_split(tile, 40, 0.5, seed, ("EPSG:32631", outline)) == spatial_split(tile, 40, 0.5, seed)
    elsewhere = np.array([[0.0, 0.0], [100.0, 100.0]])
    folds = {spatial_split(tile, 40, 0.5, str(i), ("EPSG:3857", elsewhere)) for i in range(50)}
    assert folds == {"margin"} or "margin" in folds  # nine blocks hardly ever agree
    one_block = np.array([[1.0, 1.0], [2.0, 2.0]])
    assert "margin" not in {spatial_split(tile, 40, 0.5, str(i), ("EPSG:3857", one_block)) for i in range(50)}


@pytest.mark.parametrize("block", [0, -1, float("nan"), float("inf")])
def test_a_block_without_a_length_is_refused(block: float) -> None:
    tile = TileRef("/s.tif", "e", (0, 0, 10, 10), GeoRef("EPSG:32631", (1, 0, 0, 0, -1, 0)))
    with pytest.raises(InvalidInput, match="positive"):
        spatial_split(tile, block, 0.5, "s")


def test_blocks_far_smaller_than_a_tile_end_soon() -> None:
    """10^22 of them: looked at until two disagree, not all."""
    tile = TileRef("/s.tif", "e", (0, 0, 10, 10), GeoRef("EPSG:32631", (1, 0, 0, 0, -1, 0)))
    assert spatial_split(tile, 1e-10, 0.2, "s") == "margin"
    assert spatial_split(tile, 1e-10, 0.0, "s") == "train"
    assert spatial_split(tile, 1e-10, 1.0, "s") == "val"


def test_a_tile_smaller_than_the_tolerance_of_a_block_has_a_fold() -> None:
    tile = TileRef("/s.tif", "e", (0, 0, 1, 1), GeoRef("EPSG:32631", (1, 0, 500, 0, -1, 500)))
    assert spatial_split(tile, 1e8, 0.5, "s") in ("train", "val")
