"""Pictures of tiles as files."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput, InvalidRaster
from groundlook.core.geo import TileRef
from groundlook_adapters.rasters.pictures.prerender import album, is_whole, prerender
from groundlook_adapters.rasters.reading.read import Scene, read_rgb
from groundlook_adapters.rasters.tiling.ingest import scan, tiles

MakeRaster = Callable[..., Path]


@pytest.fixture
def scene(tmp_path: Path, make_tif: MakeRaster, rgb: NDArray[np.uint8]) -> Scene:
    found = next(scan([make_tif(rgb)], [tmp_path]))
    assert isinstance(found, Scene)
    return found


def reader(root: Path) -> Callable[[TileRef], NDArray[np.uint8]]:
    return lambda tile: read_rgb(tile.source, tile.window, tile.render, [root])


def numbered(scene: Scene) -> list[tuple[TileRef, int]]:
    return [(tile, i) for i, tile in enumerate(tiles(scene, 128, 32)[0])]


@pytest.mark.parametrize("fmt", ["jpg", "png", "webp"])
def test_every_tile_has_its_picture(tmp_path: Path, scene: Scene, rgb: NDArray[np.uint8], fmt: str) -> None:
    book = album(tmp_path / "deep" / "out", fmt=fmt)
    rows = list(prerender(numbered(scene), book, reader(tmp_path)))
    assert [(i, error) for _, i, error in rows] == [(i, None) for i in range(12)]
    files = sorted(p for p in book.folder.rglob("*") if p.is_file())
    assert files == sorted(book.folder / book.path(tile) for tile, _, _ in rows)
    for tile, _, _ in rows:
        column, row, width, height = tile.window
        path = book.folder / scene.id / f"{column}_{row}_{width}_{height}.{fmt}"
        assert is_whole(path)
        picture = cv2.imread(str(path))[:, :, ::-1].astype(int)
        truth = rgb[row : row + height, column : column + width]
        assert picture.shape == truth.shape
        assert abs(picture - truth).mean() < (1e-9 if fmt == "png" else 60)  # noise is what JPEG is worst at


def test_whole_pictures_are_left_and_broken_ones_made_again(tmp_path: Path, scene: Scene) -> None:
    book = album(tmp_path / "out")
    work = numbered(scene)
    list(prerender(work, book, reader(tmp_path)))
    paths = [book.folder / book.path(tile) for tile, _ in work]
    good = paths[0].read_bytes()
    paths[0].write_bytes(good[:-50])
    paths[1].write_bytes(b"")
    paths[2].unlink()
    asked: list[TileRef] = []

    def read(tile: TileRef) -> Any:
        asked.append(tile)
        return reader(tmp_path)(tile)

    list(prerender(work, book, read))
    assert sorted(t.window for t in asked) == sorted(tile.window for tile, _ in work[:3])
    assert paths[0].read_bytes() == good
    assert all(map(is_whole, paths))


def test_a_tile_that_cannot_be_read_is_its_own_problem(tmp_path: Path, scene: Scene) -> None:
    def read(tile: TileRef) -> Any:
        if tile.window[0] == 0:
            raise InvalidRaster("block 7 is broken")
        return reader(tmp_path)(tile)

    book = album(tmp_path / "out")
    rows = list(prerender(numbered(scene), book, read))
    assert [str(e) for t, _, e in rows if t.window[0] == 0] == ["block 7 is broken"] * 3
    assert [e for t, _, e in rows if t.window[0] > 0] == [None] * 9
    assert len([p for p in book.folder.rglob("*") if p.is_file()]) == 9


def test_memory_is_bounded_and_threads_are_used(tmp_path: Path) -> None:
    """10,000 tiles: no more are taken than can be worked on, and two are worked on at once."""
    taken, waiting, both = 0, threading.Barrier(2, timeout=30), threading.Event()

    def source() -> Iterator[tuple[TileRef, int]]:
        nonlocal taken
        for i in range(10_000):
            taken += 1
            yield TileRef("/a.tif", "e", (i, 0, 2, 2), scene_id="s"), i

    def read(tile: TileRef) -> Any:
        if not both.is_set():
            waiting.wait()
            both.set()
        return np.zeros((2, 2, 3), dtype=np.uint8)

    rows = prerender(source(), album(tmp_path / "out"), read, workers=2)
    for _ in range(5):
        next(rows)
    assert taken <= 5 + 2 * 4 + 1
    rows.close()
    assert taken <= 5 + 2 * 4 + 1


def test_a_full_disk_stops_it(tmp_path: Path, scene: Scene) -> None:
    (tmp_path / "out").write_bytes(b"a file where the folder should be")
    with pytest.raises(OSError, match="out"):
        list(prerender(numbered(scene), album(tmp_path / "out"), reader(tmp_path)))


def test_where_label_studio_finds_them(tmp_path: Path) -> None:
    tile = TileRef("/a.tif", "e", (1, 2, 3, 4), scene_id="0a1b")
    assert album(tmp_path / "my tiles").url(tile) == "/data/local-files/?d=my%20tiles/0a1b/1_2_3_4.jpg"
    bucket = album(tmp_path, "https://b.example.org/x/", "webp")
    assert bucket.url(tile) == "https://b.example.org/x/0a1b/1_2_3_4.webp"
    with pytest.raises(InvalidInput, match="gif"):
        album(tmp_path, fmt="gif")
