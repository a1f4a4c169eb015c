"""Paths → scenes → tiles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from groundlook.core.errors import GroundlookError, InvalidInput, InvalidRaster, NotAllowed
from groundlook_adapters.rasters.ingest import scan, tiles
from groundlook_adapters.rasters.read import Scene, open_scene, read_rgb

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


def test_the_whole_suite_of_real_geotiffs(data_dir: Path) -> None:
    folder = data_dir / "geotiff_suite"
    scenes, errors = split(list(scan([folder], [folder])))
    assert len(scenes) + len(errors) == 54
    refused = {Path(str(e).split(" ")[0]).name for e in errors}
    nowhere = {"1087767-1046604-21.tif", "1087767-1046604-21_offset.tif", "float_nan.tif", "rotated.tif"}
    assert refused == {*nowhere, "cog_gcps.tif"}
    for scene in scenes:
        found, _ = tiles(scene, 512, 64)
        for tile in found[:2]:
            picture = read_rgb(tile.source, tile.window, tile.render, [folder])
            assert picture.shape == (tile.size[1], tile.size[0], 3)
