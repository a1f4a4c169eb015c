"""Paths → scenes → tiles."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import cv2
import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

from groundlook.core.errors import GroundlookError, InvalidInput, InvalidRaster, NotAllowed
from groundlook.core.tiling import grid
from groundlook_adapters.rasters.pictures.render import Choice
from groundlook_adapters.rasters.reading.read import Scene, open_scene, read_rgb
from groundlook_adapters.rasters.tiling.coverage import shares
from groundlook_adapters.rasters.tiling.geotile import task_data, tile_ref
from groundlook_adapters.rasters.tiling.ingest import scan, tiles, walk

MakeRaster = Callable[..., Path]


def split(found: list[Scene | GroundlookError]) -> tuple[list[Scene], list[GroundlookError]]:
    return [f for f in found if isinstance(f, Scene)], [f for f in found if isinstance(f, GroundlookError)]


def test_a_folder_is_searched_in_order_and_errors_do_not_stop_it(
    tmp_path: Path, make_tif: MakeRaster, rgb: NDArray[np.uint8]
) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("b.tif", "a.tif", "sub/c.TIFF"):
        make_tif(rgb, name)
    (tmp_path / "aa.tif").write_bytes(b"")
    (tmp_path / "._a.tif").write_bytes(b"")
    (tmp_path / "labels.geojson").write_text("{}")
    found = list(scan([tmp_path], [tmp_path]))
    scenes, errors = split(found)
    assert [Path(s.source).name for s in scenes] == ["a.tif", "b.tif", "c.TIFF"]
    assert [str(tmp_path / "aa.tif") in str(e) for e in errors] == [True]
    assert isinstance(found[1], InvalidRaster)
    assert list(map(str, scan([tmp_path], [tmp_path]))) == list(map(str, found))


def test_each_file_once(tmp_path: Path, make_tif: MakeRaster, rgb: NDArray[np.uint8]) -> None:
    make_tif(rgb, "a.tif")
    (tmp_path / "link.tif").symlink_to(tmp_path / "a.tif")
    found = list(scan([tmp_path / "a.tif", tmp_path, str(tmp_path / "*.tif"), str(tmp_path / "**")], [tmp_path]))
    assert len(found) == 1


def test_what_names_nothing_says_so(tmp_path: Path, make_tif: MakeRaster, rgb: NDArray[np.uint8]) -> None:
    root = tmp_path / "root"
    root.mkdir()
    outside = make_tif(rgb, "outside.tif")
    (root / "link.tif").symlink_to(outside)
    paths = [root / "none", str(root / "*.png"), outside, tmp_path, root]
    _, errors = split(list(scan(paths, [root])))
    assert [type(e) for e in errors] == [InvalidRaster, InvalidRaster, NotAllowed, NotAllowed, NotAllowed]
    (root / "link.tif").unlink()
    (error,) = scan([root], [root])
    assert "has no raster in it" in str(error)


def test_brackets_in_a_name_are_part_of_the_name(tmp_path: Path, make_tif: MakeRaster, rgb: NDArray[np.uint8]) -> None:
    assert isinstance(next(scan([make_tif(rgb, "scene[1].tif")], [tmp_path])), Scene)


def test_tiles_cover_the_scene_and_lie_where_they_should(
    tmp_path: Path, make_tif: MakeRaster, rgb: NDArray[np.uint8]
) -> None:
    scene = open_scene(make_tif(rgb, transform=(0.08, 0.06, 5e5, 0.06, -0.08, 4e6)), [tmp_path])
    found, skipped = tiles(scene, 128, 32)
    assert skipped == 0
    assert len(found) == 12
    assert scene.georef is not None
    for tile in found:
        column, row, width, height = tile.window
        assert tile.georef is not None
        assert tile.georef.to_map(np.zeros((1, 2))) == pytest.approx(scene.georef.to_map(np.array([[column, row]])))
        picture = read_rgb(tile.source, tile.window, tile.render, [tmp_path])
        assert (picture == rgb[row : row + height, column : column + width]).all()
    assert len({tile.uid for tile in found}) == 12
    assert [t.uid for t in tiles(open_scene(scene.source, [tmp_path]), 128, 32)[0]] == [t.uid for t in found]


def test_empty_tiles_are_skipped_and_counted(tmp_path: Path, make_tif: MakeRaster) -> None:
    pixels = np.zeros((400, 400, 1), dtype=np.uint16)
    pixels[:100, :100] = 500
    pixels[100:200, 0:4] = 500  # 4 % of the tile below
    scene = open_scene(make_tif(pixels, nodata=0), [tmp_path])
    found, skipped = tiles(scene, 100, 0)
    assert [t.window for t in found] == [(0, 0, 100, 100)]
    assert skipped == 15
    assert tiles(scene, 100, 0, min_valid=0.04)[1] == 14


def test_nan_is_no_data(tmp_path: Path, make_tif: MakeRaster) -> None:
    pixels = np.full((200, 200, 1), np.nan, dtype=np.float32)
    pixels[:100, :100] = 1.5
    assert tiles(open_scene(make_tif(pixels), [tmp_path]), 100, 0)[1] == 3


def test_a_scene_smaller_than_a_tile_is_one_tile(tmp_path: Path, make_tif: MakeRaster) -> None:
    scene = open_scene(make_tif(np.ones((1, 1, 3), dtype=np.uint8)), [tmp_path])
    assert [t.window for t in tiles(scene, 1024, 128)[0]] == [(0, 0, 1, 1)]
    with pytest.raises(InvalidInput, match="overlap"):
        tiles(scene, 128, 128)


def test_slippy_folders(tmp_path: Path, rgb: NDArray[np.uint8]) -> None:
    for x in (5, 6):
        cv2.imwrite(str(tmp_path / f"OAM-{x}-1-3.png"), rgb)
    cv2.imwrite(str(tmp_path / "other.png"), rgb)
    scenes, errors = split(list(scan([tmp_path], [tmp_path], "OAM-{x}-{y}-{z}.png")))
    assert len(scenes) == 2
    assert [isinstance(e, InvalidRaster) for e in errors] == [True]


def test_another_picture_of_a_scene_is_another_scene(
    tmp_path: Path, make_tif: MakeRaster, rgb: NDArray[np.uint8]
) -> None:
    """The store keeps one render per scene id, and pictures are cached by it."""
    path = make_tif(rgb)
    choices = [Choice(), Choice(bands=(3, 2, 1)), Choice(expressions=("(b1-b2)/(b1+b2)",))]
    found = [next(scan([path], [tmp_path], choice=choice)) for choice in (*choices, Choice())]
    assert all(isinstance(f, Scene) for f in found)
    ids = [f.id for f in found if isinstance(f, Scene)]
    assert ids[0] == ids[3]
    assert len(set(ids)) == 3


def test_a_crs_can_be_given(tmp_path: Path, make_tif: MakeRaster, rgb: NDArray[np.uint8]) -> None:
    bare = make_tif(rgb, "bare.tif", crs=None)
    (refused,) = scan([bare], [tmp_path])
    assert "--crs" in str(refused)
    (scene,) = scan([bare], [tmp_path], crs="EPSG:32611")
    assert isinstance(scene, Scene)
    assert scene.georef is not None
    assert scene.georef.crs == "EPSG:32611"


@pytest.mark.parametrize("nothing", ["nodata", "nan"])
def test_a_scene_without_data_says_so(tmp_path: Path, make_tif: MakeRaster, nothing: str) -> None:
    if nothing == "nan":
        path = make_tif(np.full((300, 300, 1), np.nan, dtype=np.float32))
    else:
        path = make_tif(np.zeros((300, 300, 3), dtype=np.uint8), nodata=0)
    (error,) = scan([path], [tmp_path])
    assert isinstance(error, InvalidRaster)
    assert "no pixel with data" in str(error)


def test_a_scene_with_hardly_any_data_says_so(tmp_path: Path, make_tif: MakeRaster) -> None:
    pixels = np.zeros((200, 200, 1), dtype=np.uint16)
    pixels[:10, :10] = 7
    scene = open_scene(make_tif(pixels, nodata=0), [tmp_path])
    with pytest.raises(
        InvalidRaster, match=r"no tile has data in 0\.05 of its pixels, the fullest in 0\.01.*--min-valid"
    ):
        tiles(scene, 100, 0)
    assert len(tiles(scene, 100, 0, min_valid=0)[0]) == 4


def test_tiles_come_one_by_one(tmp_path: Path, make_tif: MakeRaster, rgb: NDArray[np.uint8]) -> None:
    scene = open_scene(make_tif(rgb), [tmp_path])
    found = walk(scene, 64, 0)
    first = next(found)
    assert first is not None
    assert first.window == (0, 0, 64, 64)
    os.remove(scene.source)  # the rest is known without looking at pixels: this raster can't have holes
    assert len(list(found)) == 34


@pytest.mark.parametrize("kind", ["nodata", "mask", "alpha", "nan"])
@pytest.mark.parametrize("factors", [[], [2, 4, 8, 16]])
def test_empty_tiles_are_the_same_with_overviews_and_without(
    tmp_path: Path, make_tif: MakeRaster, kind: str, factors: list[int]
) -> None:
    path, valid = holey(make_tif, kind)
    if factors:
        with rasterio.open(path, "r+") as dataset:
            dataset.build_overviews(factors)
    scene = open_scene(path, [tmp_path])
    found, skipped = tiles(scene, 256, 32)
    expected = [w for w in grid(2048, 2048, 256, 32) if valid[w[1] : w[1] + 256, w[0] : w[0] + 256].mean() >= 0.05]
    assert [t.window for t in found] == expected
    assert skipped == 81 - len(expected)
    assert 10 < skipped < 70


def holey(make_tif: MakeRaster, kind: str) -> tuple[Path, NDArray[np.bool_]]:
    """A scene of 2048² with a diagonal border, islands and a comb of thin lines."""
    y, x = np.mgrid[:2048, :2048]
    valid = (x + y < 1500) | ((x // 37 + y // 41) % 23 == 0) & (y > 1200) | ((x % 64 == 0) & (x > 1700))
    options = {"tiled": True, "blockxsize": 256, "blockysize": 256}
    if kind == "nan":
        return make_tif(np.where(valid, 1.5, np.nan).astype(np.float32)[:, :, None], **options), valid
    pixels = np.where(valid, 100, 0).astype(np.uint8)[:, :, None]
    if kind == "nodata":
        return make_tif(pixels, nodata=0, **options), valid
    if kind == "alpha":
        bands = np.concatenate([np.full_like(pixels, 9)] * 3 + [np.where(pixels, 255, 0).astype(np.uint8)], axis=2)
        return make_tif(bands, photometric="RGB", alpha="YES", **options), valid
    path = make_tif(np.full_like(pixels, 9), **options)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as dataset:
        dataset.write_mask(valid)
    return path, valid


class Watched:
    """An open dataset that counts the pixels its mask was asked for."""

    def __init__(self, dataset: Any) -> None:
        self.dataset, self.pixels = dataset, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.dataset, name)

    def dataset_mask(self, **options: Any) -> Any:
        found = self.dataset.dataset_mask(**options)
        self.pixels += found.size
        return found


def test_overviews_spare_the_pixels(tmp_path: Path, make_tif: MakeRaster) -> None:
    pixels = np.zeros((4096, 4096, 1), dtype=np.uint8)
    pixels[:, 2048:] = 1
    path = make_tif(pixels, nodata=0, tiled=True, blockxsize=256, blockysize=256)
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([2, 4, 8, 16])
    windows = list(grid(4096, 4096, 1024, 128))
    with rasterio.open(path) as dataset:
        watched = Watched(dataset)
        found = list(shares(watched, windows, 0.05))
    assert [w for w, _ in found] == windows
    for (column, *_), share in found:
        covered = np.clip((column + 1024 - 2048) / 1024, 0, 1)
        assert share == pytest.approx(covered, abs=0.02)
    assert watched.pixels < pixels.size / 50


HUGE = """
import sys, time
from pathlib import Path
from groundlook_adapters.rasters.tiling.ingest import scan, walk
path = Path(sys.argv[1])
scene = next(scan([path], [path.parent]))
kept = empty = 0
for tile in walk(scene, 1024, 128, roots=[path.parent]):
    kept, empty = kept + (tile is not None), empty + (tile is None)
# not ru_maxrss: that is never less than what the process that started this one held
(peak,) = (line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(kept, empty, int(peak) // 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_50000_pixels_a_side_in_less_than_a_gigabyte(tmp_path: Path, dtype: str) -> None:
    """3,136 windows of a raster with holes and no overviews: each pixel of the mask is looked at."""
    path = tmp_path / "huge.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=50_000, height=50_000, count=1, dtype=dtype, crs="EPSG:32631",
        transform=rasterio.Affine(0.5, 0, 5e5, 0, -0.5, 5e6), compress="deflate", sparse_ok=True, bigtiff="YES",
        nodata=0, tiled=True, blockxsize=512, blockysize=512,
    ) as dataset:  # fmt: skip
        dataset.write(np.ones((1, 512, 50_000), dtype=dtype), window=Window(0, 25_088, 50_000, 512))
    done = subprocess.run([sys.executable, "-c", HUGE, str(path)], capture_output=True, text=True, check=True)
    kept, empty, mib = map(int, done.stdout.split())
    assert kept + empty == 56 * 56
    assert kept == 2 * 56  # the stripe lies in the overlap of two rows of windows, too
    assert mib < 1000


def test_urls_go_through_the_same_door(tmp_path: Path, make_tif: MakeRaster, rgb: NDArray[np.uint8]) -> None:
    make_tif(rgb)
    handler = partial(Quiet, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        host = f"127.0.0.1:{server.server_address[1]}"
        url = f"http://{host}/scene.tif"
        (error,) = scan([url], [tmp_path])
        assert isinstance(error, NotAllowed)
        assert "GROUNDLOOK_RASTER_HOSTS" in str(error)
        scenes, errors = split(list(scan([url, url, f"http://{host}/none.tif"], [tmp_path], hosts=[host])))
        assert [s.source for s in scenes] == [url]
        assert len(errors) == 1
        found = [t for t in walk(scenes[0], 128, 32, roots=[tmp_path], hosts=[host]) if t is not None]
        assert len(found) == 12
        server.shutdown()


class Quiet(SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        """With the byte ranges that GDAL reads by."""
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        first, last = (int(asked[1]), int(asked[2] or len(data) - 1)) if asked else (0, len(data) - 1)
        body = data[first : last + 1]
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", '"1"')
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{first + len(body) - 1}/{len(data)}")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_the_whole_suite_of_real_geotiffs(data_dir: Path) -> None:
    folder = data_dir / "geotiff_suite"
    scenes, errors = split(list(scan([folder], [folder])))
    assert len(scenes) + len(errors) == 54
    refused = {Path(str(e).split(" ")[0]).name for e in errors}
    nowhere = {"1087767-1046604-21.tif", "1087767-1046604-21_offset.tif", "float_nan.tif", "rotated.tif"}
    assert refused >= nowhere
    for scene in scenes:
        found, _ = tiles(scene, 512, 64, min_valid=0.0)
        for tile in found[:2]:
            picture = read_rgb(tile.source, tile.window, tile.render, [folder], etag=tile.etag)
            assert picture.shape == (tile.size[1], tile.size[0], 3)
            assert tile_ref(json.loads(json.dumps(task_data(tile, "train", "u")))) == tile
