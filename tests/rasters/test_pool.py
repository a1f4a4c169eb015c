"""Rasters kept open, and etags that tell when they were replaced."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from groundlook.core.errors import InvalidRaster
from groundlook_adapters.rasters.reading import opened as guard
from groundlook_adapters.rasters.reading.opened import close_idle, opened
from groundlook_adapters.rasters.reading.pool import Held, Pool
from groundlook_adapters.rasters.reading.read import open_scene, quicklook, read_rgb, read_window

MakeRaster = Callable[..., Path]
Pixels = NDArray[np.uint8]


class Fake:
    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    close_idle()
    yield
    close_idle()


@pytest.fixture
def opens(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    seen: list[str] = []
    real = rasterio.open

    def counted(path: str, *args: object, **options: object) -> object:
        seen.append(str(path))
        return real(path, *args, **options)

    monkeypatch.setattr(guard.rasterio, "open", counted)
    return seen


def test_the_least_used_is_closed() -> None:
    pool, fakes = Pool(2), [Fake() for _ in range(3)]
    for i, fake in enumerate(fakes):
        pool.give((f"f{i}", 0), Held(fake))
    assert [f.closed for f in fakes] == [True, False, False]
    assert len(pool) == 2
    held = pool.take(("f2", 0))
    assert held is not None
    assert held.dataset is fakes[2]
    assert pool.take(("f2", 0)) is None
    pool.clear()
    assert [f.closed for f in fakes] == [True, True, False]


def test_the_old_version_of_a_file_is_closed() -> None:
    pool, old = Pool(), Fake()
    pool.give(("f", 1), Held(old))
    assert pool.take(("f", 2)) is None
    assert old.closed
    assert len(pool) == 0


def test_a_raster_is_opened_once(tmp_path: Path, make_tif: MakeRaster, rgb: Pixels, opens: list[str]) -> None:
    scene = open_scene(make_tif(rgb), [tmp_path])
    opens.clear()
    close_idle()
    for i in range(20):
        read_rgb(scene.source, (i, i, 64, 64), scene.render, [tmp_path], etag=scene.etag)
    assert opens == [scene.source]


def test_what_fails_is_closed(tmp_path: Path, make_tif: MakeRaster, rgb: Pixels, opens: list[str]) -> None:
    path = make_tif(rgb)
    with pytest.raises(ZeroDivisionError), opened(path) as dataset:
        _ = 1 / 0
    assert dataset.closed
    opens.clear()
    with pytest.raises(InvalidRaster, match="is not inside"):
        read_window(str(path), (0, 0, 999, 999), [tmp_path])
    read_window(str(path), (0, 0, 9, 9), [tmp_path])
    assert len(opens) == 1  # the window outside was refused by us, and the raster stayed open


def test_a_replaced_file_is_told_by_both_etags(tmp_path: Path, make_tif: MakeRaster, rgb: Pixels) -> None:
    scene = open_scene(make_tif(rgb), [tmp_path])
    other = rgb[::-1].copy()
    make_tif(other)
    now = open_scene(scene.source, [tmp_path]).etag
    for read in (
        lambda: read_window(scene.source, (0, 0, 9, 9), [tmp_path], etag=scene.etag),
        lambda: read_rgb(scene.source, (0, 0, 9, 9), scene.render, [tmp_path], etag=scene.etag),
        lambda: quicklook(scene.source, scene.render, [tmp_path], 64, etag=scene.etag),
    ):
        with pytest.raises(InvalidRaster, match=rf"has the etag {now}.*made of {scene.etag}; ingest it again"):
            read()
    assert (read_window(scene.source, (0, 0, 400, 300), [tmp_path], etag=now) == other).all()


def test_a_mask_that_comes_later_is_seen(tmp_path: Path, make_tif: MakeRaster, rgb: Pixels) -> None:
    path = make_tif(rgb.astype(np.uint16) + 1000)
    scene = open_scene(path, [tmp_path])
    assert (read_rgb(scene.source, (0, 0, 9, 9), scene.render, [tmp_path]) > 0).all()
    with rasterio.open(
        f"{path}.msk", "w", driver="GTiff", width=400, height=300, count=1, dtype="uint8",
        crs="EPSG:32611", transform=rasterio.Affine(1, 0, 9, 0, -1, 9),
    ) as mask:  # fmt: skip
        mask.update_tags(INTERNAL_MASK_FLAGS_1="2", INTERNAL_MASK_FLAGS_2="2", INTERNAL_MASK_FLAGS_3="2")
        mask.write(np.zeros((1, 300, 400), dtype=np.uint8))
    assert (read_rgb(scene.source, (0, 0, 9, 9), scene.render, [tmp_path]) == 0).all()


def test_many_threads_read_many_rasters(tmp_path: Path, make_tif: MakeRaster) -> None:
    rng = np.random.default_rng(1)
    pixels = [rng.integers(0, 9999, (200, 220, 2), dtype=np.uint16) for _ in range(20)]
    paths = [
        str(make_tif(p, f"{i}.tif", compress="deflate", tiled=True, blockxsize=64, blockysize=64))
        for i, p in enumerate(pixels)
    ]
    started = threading.Barrier(8)

    def work(seed: int) -> int:
        started.wait()
        mine = np.random.default_rng(seed)
        for _ in range(150):
            which, column, row = (int(v) for v in mine.integers(0, (20, 156, 136)))
            found = read_window(paths[which], (column, row, 64, 64), [tmp_path])
            assert (found == pixels[which][row : row + 64, column : column + 64]).all()
        return seed

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(work, range(8))) == list(range(8))
    assert len(guard._idle) <= 16


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_shares_no_file(tmp_path: Path, make_tif: MakeRaster, rgb: Pixels) -> None:
    path = make_tif(rgb)
    code = (
        "import os, sys\nfrom pathlib import Path\n"
        "from groundlook_adapters.rasters.reading import opened as guard\n"
        "from groundlook_adapters.rasters.reading.read import read_window\n"
        "p = Path(sys.argv[1]); read_window(str(p), (0, 0, 9, 9), [p.parent]); assert len(guard._idle) == 1\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    held = guard._idle.take(guard.place_of(p, None).key)\n"
        "    os._exit(0 if held is None else 3)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == 0
