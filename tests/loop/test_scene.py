"""A scene goes through a model window by window, and comes out as things, each once."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
import shapely

from groundlook.core.errors import InvalidRaster
from groundlook.core.geo import GeoRef, Tile, TileRef
from groundlook.core.geometry import Box, Polygon
from groundlook.core.mask import Mask
from groundlook.core.tiling import grid
from groundlook.core.types import Prediction, Region
from groundlook.loop.scene import SceneTally, predict_scene
from groundlook_adapters.vectors.geometry.shapes import to_geometry
from groundlook_adapters.vectors.seams.found import Found, Seams
from tests.loop.oracle import VERSION, Oracle

PLACE = GeoRef("EPSG:32631", (0.5, 0.0, 500_000.0, 0.0, -0.5, 5_400_000.0))
SIDE = 900
TRUTH = [
    (20, 20, 60, 50, "house"),  # in one window
    (310, 300, 350, 340, "house"),  # in the corner that four windows share
    (330, 500, 420, 540, "house"),  # cut by one window
    (100, 700, 850, 760, "road"),  # through all windows of a row
    (420, 380, 460, 420, "car"),
    (424, 384, 456, 416, "house"),  # in the car, another label
]


def windows(side: int = SIDE, size: int = 400, overlap: int = 100) -> Iterator[TileRef]:
    for window in grid(side, side, size, overlap):
        yield TileRef("/a.tif", "e", window, PLACE.window(window[0], window[1]), "scene")


def read(tile: TileRef) -> Tile:
    return Tile(np.zeros((tile.window[3], tile.window[2], 3), dtype=np.uint8), tile)


def area(found: Found) -> shapely.Geometry:
    """In px of the scene."""
    geometry, _ = to_geometry(found.region.shape, found.tile.size)
    assert geometry is not None
    column, row = found.tile.window[:2]
    assert found.tile.georef == PLACE.window(column, row)
    return shapely.transform(geometry, lambda points: points + np.array([column, row]))


@pytest.mark.parametrize("how", ["box", "turned", "polygon", "mask"])
def test_every_thing_comes_out_once(how: str) -> None:
    tally = SceneTally()
    found = list(predict_scene(Oracle(TRUTH, how), windows(), read, Seams((SIDE, SIDE)), tally))
    assert sorted((f.region.label, *map(round, area(f).bounds)) for f in found) == sorted((t[4], *t[:4]) for t in TRUTH)
    kinds = {"box": Box, "turned": Box, "polygon": Polygon, "mask": Mask}
    assert {type(f.region.shape) for f in found} == {kinds[how]}
    assert {f.views for f in found if f.region.label == "road"} == {3}
    assert (tally.looked, tally.empty, tally.failed) == (9, 0, 0)
    assert tally.regions > len(TRUTH)


def test_a_box_that_one_window_shows_is_given_on_as_it_was() -> None:
    tile = next(windows())
    box = Region(Box(0.1 + 0.2, 20, 30, 1 / 3), "house", 0.7)
    seams = Seams((SIDE, SIDE))
    seams.add(
        tile, Prediction(VERSION, (box, Region(Box(5, 5, 0, 9), "flat"), Region(Box(float("nan"), 5, 2, 9), "no")))
    )
    assert seams.finished(None) == [Found(tile, box)]
    assert seams.finished(None) == []


def test_surfaces_and_classes_of_tiles_are_given_on_unmerged() -> None:
    for how in ("surface", "tile"):
        tally = SceneTally()
        found = list(predict_scene(Oracle(TRUTH, how), windows(), read, Seams((SIDE, SIDE)), tally))
        assert len(found) == tally.regions


def test_what_no_later_window_shows_is_given_out_at_once_and_alike() -> None:
    """The sweep gives the same as all at once."""
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 1900, (500, 2))
    size = rng.uniform(8, 60, (500, 2))
    truth = [(*c, *(c + s), "house") for c, s in zip(corner, size, strict=True)]
    model = Oracle(truth, jitter=1.0)
    tiles = list(windows(2000))
    seams, early = Seams((2000, 2000)), []
    for last, tile in pairwise([None, *tiles]):
        if last is not None and tile.window[1] != last.window[1]:
            early += seams.finished(tile.window[1])
        seams.add(tile, model.predict([read(tile)])[0])
    assert len(early) > 300
    late = seams.finished(None)
    at_once = Seams((2000, 2000))
    for tile in tiles:
        at_once.add(tile, model.predict([read(tile)])[0])
    assert sorted(map(repr, early + late)) == sorted(map(repr, at_once.finished(None)))


def test_windows_are_read_ahead_while_the_model_looks_and_the_reader_is_left_alone() -> None:
    busy, ahead, threads = threading.Event(), [], set()

    def slow(tile: TileRef) -> Tile:
        ahead.append(busy.is_set())
        threads.add(threading.get_ident())
        return read(tile)

    class Slow(Oracle):
        def predict(self, tiles: object) -> list[Prediction]:
            busy.set()
            time.sleep(0.02)
            busy.clear()
            return super().predict(tiles)  # type: ignore[arg-type]

    list(predict_scene(Slow(TRUTH), windows(2000), slow, Seams((2000, 2000)), SceneTally(), batch=2))
    assert any(ahead)
    assert len(threads) == 1
    assert threads != {threading.get_ident()}


def test_what_can_not_be_read_is_counted_and_the_rest_goes_on() -> None:
    def broken(tile: TileRef) -> Tile:
        if tile.window[0] == 0:
            raise InvalidRaster(f"block at {tile.window[1]} is damaged")
        return read(tile)

    tiles = [None, *windows(), None]
    tally = SceneTally()
    shares: list[float] = []
    found = predict_scene(
        Oracle(TRUTH), tiles, broken, Seams((SIDE, SIDE)), tally, batch=4,
        progress=lambda share, _: shares.append(share), total=11,
    )  # fmt: skip
    labels = [f.region.label for f in found]
    assert "road" in labels
    assert (tally.looked, tally.empty, tally.failed, tally.windows) == (6, 2, 3, 11)
    assert tally.unread[0] == "block at 0 is damaged"
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_a_run_that_is_given_up_ends_its_thread_and_closes_the_windows_there() -> None:
    closed: list[int] = []

    def tiles() -> Iterator[TileRef]:
        try:
            yield from windows(5000)
        finally:
            closed.append(threading.get_ident())

    found = predict_scene(Oracle([(5, 5, 50, 50, "house")]), tiles(), read, Seams((5000, 5000)), SceneTally())
    next(found)
    found.close()
    assert closed
    assert closed[0] != threading.get_ident()
    assert not [t for t in threading.enumerate() if t.name.startswith("read ahead")]


def test_what_an_earlier_run_saw_is_not_looked_at_again() -> None:
    kept: dict[str, Prediction] = {}

    class Notes:
        def get(self, tile: TileRef) -> Prediction | None:
            return kept.get(tile.uid)

        def put(self, tile: TileRef, prediction: Prediction) -> None:
            kept[tile.uid] = prediction

    first = Oracle(TRUTH, breaks=5)
    with pytest.raises(KeyboardInterrupt):
        list(predict_scene(first, windows(), read, Seams((SIDE, SIDE)), SceneTally(), batch=1, memory=Notes()))
    second, tally = Oracle(TRUTH), SceneTally()
    again = list(predict_scene(second, windows(), read, Seams((SIDE, SIDE)), tally, batch=1, memory=Notes()))
    whole = list(predict_scene(Oracle(TRUTH), windows(), read, Seams((SIDE, SIDE)), SceneTally()))
    assert again == whole
    assert (len(second.seen), tally.remembered) == (4, 5)
