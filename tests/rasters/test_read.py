"""Opening scenes and reading windows of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

from groundlook.core.errors import GroundlookError, InvalidInput, InvalidRaster, NotAllowed
from groundlook_adapters.rasters.pictures.render import Choice
from groundlook_adapters.rasters.reading.files import etag
from groundlook_adapters.rasters.reading.read import (
    copyright_of,
    open_scene,
    opened,
    quicklook,
    read_rgb,
    read_window,
    valid_pixels,
)

MakeRaster = Callable[..., Path]
NORTH_UP = (0.1, 0.0, 500_000.0, 0.0, -0.1, 4_000_000.0)
ROTATED = (0.08, 0.06, 500_000.0, 0.06, -0.08, 4_000_000.0)


def test_a_scene_knows_its_size_place_and_date(tmp_path: Path, make_tif: MakeRaster, rgb: NDArray[np.uint8]) -> None:
    path = make_tif(rgb, photometric="RGB", tags={"TIFFTAG_DATETIME": "2019:06:05 10:11:12"})
    scene = open_scene(path, [tmp_path])
    assert (scene.width, scene.height, scene.bands, scene.dtype) == (400, 300, 3, "uint8")
    assert scene.source == str(path.resolve())
    assert scene.acquired == "2019-06-05T10:11:12"
    assert scene.georef is not None
    assert (scene.georef.crs, scene.georef.transform) == ("EPSG:32611", NORTH_UP)
    assert scene.render.bands == (1, 2, 3)
    assert scene.stretch is None
    assert len(scene.id) == 16
    assert open_scene(path, [tmp_path]) == scene


def test_id_and_etag_change_with_the_file(tmp_path: Path, make_tif: MakeRaster, rgb: NDArray[np.uint8]) -> None:
    before = open_scene(make_tif(rgb), [tmp_path])
    after = open_scene(make_tif(rgb[::-1].copy()), [tmp_path])
    assert before.etag != after.etag
    assert before.id != after.id


def test_windows_are_the_pixels_of_the_native_grid(
    tmp_path: Path, make_tif: MakeRaster, rgb: NDArray[np.uint8]
) -> None:
    deep = rgb.astype(np.uint16) * 257
    path = make_tif(np.concatenate([deep, deep[:, :, :2]], axis=2))
    window = read_window(str(path), (30, 50, 100, 80), [tmp_path])
    assert window.dtype == np.uint16
    assert window.shape == (80, 100, 5)
    assert (window[:, :, :3] == deep[50:130, 30:130]).all()


@pytest.mark.parametrize(
    "window", [(301, 0, 100, 100), (0, 201, 100, 100), (-1, 0, 10, 10), (0, 0, 0, 10), (9999999, 0, 1, 1)]
)
def test_a_window_outside_names_both_sizes(
    tmp_path: Path, make_tif: MakeRaster, rgb: NDArray[np.uint8], window: tuple[int, int, int, int]
) -> None:
    path = make_tif(rgb)
    with pytest.raises(InvalidRaster, match=rf"window {window[2]} × {window[3]} px.*has 400 × 300 px"):
        read_window(str(path), window, [tmp_path])


def test_a_window_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "huge.tif"
    options: dict[str, Any] = {"dtype": "float64", "crs": "EPSG:3857", "sparse_ok": True, "compress": "deflate"}
    transform = rasterio.Affine(1, 0, 9, 0, -1, 9)
    with rasterio.open(
        path, "w", driver="GTiff", width=40_000, height=40_000, count=1, tiled=True, transform=transform, **options
    ):
        pass
    with pytest.raises(InvalidRaster, match="use smaller tiles"):
        read_window(str(path), (0, 0, 40_000, 40_000), [tmp_path])


HUGE = """
import sys
from pathlib import Path
from groundlook_adapters.rasters.reading.read import open_scene, quicklook, read_rgb, read_window
path = Path(sys.argv[1])
scene = open_scene(path, [path.parent])
look = quicklook(scene.source, scene.render, [path.parent], 512, etag=scene.etag)
for i in range(12):
    read_rgb(scene.source, (4000 * i, 4000 * i, 1024, 1024), scene.render, [path.parent], etag=scene.etag)
read_window(scene.source, (0, 0, 1024, 1024), [path.parent])
# not ru_maxrss: that is never less than what the process that started this one held
(peak,) = (line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(scene.width, look.shape, look.any(), int(peak) // 1024)
"""


@pytest.mark.parametrize(("dtype", "count", "tiled"), [("uint8", 3, True), ("uint16", 1, True), ("uint16", 1, False)])
def test_50000_pixels_a_side_in_less_than_a_gigabyte(tmp_path: Path, dtype: str, count: int, tiled: bool) -> None:
    path = tmp_path / "huge.tif"
    options: dict[str, Any] = {"tiled": True, "blockxsize": 512, "blockysize": 512} if tiled else {}
    with rasterio.open(
        path, "w", driver="GTiff", width=50_000, height=50_000, count=count, dtype=dtype, crs="EPSG:32631",
        transform=rasterio.Affine(*NORTH_UP), compress="deflate", sparse_ok=True, bigtiff="YES", **options,
    ) as dataset:  # fmt: skip
        block = np.full((count, 512, 50_000 if tiled else 512), 7, dtype=dtype)
        block[:, ::3] = 100
        dataset.write(block, window=Window(0, 25_088, block.shape[2], 512))
    done = subprocess.run([sys.executable, "-c", HUGE, str(path)], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    words = done.stdout.split()
    assert (words[0], words[1:4]) == ("50000", ["(512,", "512,", "3)"])
    assert words[4] == "True"
    assert int(words[5]) < 1000, f"{words[5]} MiB at the peak"


def test_a_large_picture_that_is_shown_as_it_is_opens_without_a_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes a third of a second and says nothing; of one with an alpha band, whether it has any data."""
    place = rasterio.Affine(0.3, 0, 500000, 0, -0.3, 5400000)
    profile = {"driver": "GTiff", "dtype": "uint8", "tiled": True, "SPARSE_OK": True, "crs": "EPSG:32631"}
    for count, name in ((3, "plain.tif"), (4, "clear.tif")):
        with rasterio.open(tmp_path / name, "w", count=count, width=4096, height=4096, transform=place, **profile):
            pass
    with pytest.raises(InvalidRaster, match="has no pixel with data"):
        open_scene(tmp_path / "clear.tif", [tmp_path])
    monkeypatch.delattr("groundlook_adapters.rasters.reading.read.sample")
    assert open_scene(tmp_path / "plain.tif", [tmp_path]).stretch is None


def test_one_block_that_fills_the_memory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "strip.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=40_000, height=40_000, count=1, dtype="uint8", crs="EPSG:32631",
        transform=rasterio.Affine(*NORTH_UP), tiled=True, blockxsize=20_000, blockysize=20_000, sparse_ok=True,
    ):  # fmt: skip
        pass
    with pytest.raises(InvalidRaster, match=r"blocks of 20000 × 20000 px .*gdal_translate -of COG"):
        open_scene(path, [tmp_path])


def test_nodata_of_each_band_nan_and_alpha(tmp_path: Path, make_tif: MakeRaster) -> None:
    pixels = np.full((8, 10, 2), 5, dtype=np.float32)
    pixels[0, :, 0], pixels[1, :, 1], pixels[2] = np.nan, np.nan, np.nan
    pixels[3], pixels[4, :, 0] = -9, -9
    with opened(make_tif(pixels, nodata=-9)) as dataset:
        valid = valid_pixels(dataset, (0, 0, 10, 8))
    assert valid.all(axis=1).tolist() == [True, True, False, False, True, True, True, True]
    assert (valid.any(axis=1) == valid.all(axis=1)).all()


def test_the_offsets_of_the_file_reach_the_render(tmp_path: Path, make_tif: MakeRaster) -> None:
    path = make_tif(np.full((8, 10, 1), 3000, dtype=np.uint16))
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets = (0.0001,), (-0.1,)
    scene = open_scene(path, [tmp_path], choice=Choice(mode="reflectance"))
    assert scene.render.offset == -1000
    with pytest.raises(InvalidInput, match="no band 4"):
        open_scene(path, [tmp_path], choice=Choice(bands=(4,)))


def test_the_copyright_is_read_where_it_is_still_the_same_file(
    tmp_path: Path, make_tif: MakeRaster, rgb: NDArray[np.uint8]
) -> None:
    assert copyright_of(str(make_tif(rgb)), [tmp_path]) is None
    path = make_tif(rgb, crs=None, tags={"TIFFTAG_COPYRIGHT": " (c) Survey "})  # one that needs --crs
    assert copyright_of(str(path), [tmp_path], etag=etag(path)) == "(c) Survey"
    with pytest.raises(InvalidRaster, match="replaced"):
        copyright_of(str(path), [tmp_path], etag="other")


def test_quicklook_is_the_scene_in_small(tmp_path: Path, make_tif: MakeRaster) -> None:
    ramp = np.linspace(1, 60_000, 700 * 900).astype(np.uint16).reshape(700, 900, 1)
    scene = open_scene(make_tif(ramp), [tmp_path])
    look = quicklook(scene.source, scene.render, [tmp_path], 90)
    assert look.shape == (70, 90, 3)
    assert (np.diff(look[:, 0, 0].astype(int)) >= 0).all()
    assert (look[0, 0, 0], look[-1, -1, 0]) == (1, 255)
    for side in (0, 10_000):
        with pytest.raises(InvalidInput, match="quick-look"):
            quicklook(scene.source, scene.render, [tmp_path], side)


def test_a_rotated_raster_keeps_its_whole_affine(tmp_path: Path, make_tif: MakeRaster, rgb: NDArray[np.uint8]) -> None:
    scene = open_scene(make_tif(rgb, transform=ROTATED), [tmp_path])
    assert scene.georef is not None
    assert scene.georef.transform == ROTATED
    assert scene.georef.gsd() == pytest.approx((0.1, 0.1))


def test_a_crs_without_code_stays_itself(tmp_path: Path, make_tif: MakeRaster, rgb: NDArray[np.uint8]) -> None:
    custom = "+proj=aea +lat_0=23 +lon_0=-97 +lat_1=29.7 +lat_2=45.5 +x_0=0 +y_0=0 +datum=NAD83 +units=m"
    scene = open_scene(make_tif(rgb, crs=custom), [tmp_path])
    assert scene.georef is not None
    assert scene.georef.crs.startswith("PROJCRS[")
    assert rasterio.crs.CRS.from_wkt(scene.georef.crs) == rasterio.crs.CRS.from_string(custom)


def test_outside_the_roots_nothing_is_read(tmp_path: Path, make_tif: MakeRaster, rgb: NDArray[np.uint8]) -> None:
    path, root = make_tif(rgb), tmp_path / "allowed"
    root.mkdir()
    link = root / "link.tif"
    link.symlink_to(path)
    for tried in (path, link, root / ".." / path.name, Path("/etc/passwd"), tmp_path / "not there"):
        with pytest.raises(NotAllowed, match="GROUNDLOOK_ROOTS"):
            open_scene(tried, [root])
        with pytest.raises(NotAllowed, match=str(root)):
            read_window(str(tried), (0, 0, 1, 1), [root])
    with pytest.raises(NotAllowed, match="none"):
        open_scene(path, [])
    assert open_scene(link, [root, tmp_path]).source == str(path.resolve())


@pytest.mark.parametrize(
    "source", ["/vsicurl/http://127.0.0.1:9/a.tif", "GTIFF_DIR:1:a.tif", "a\0.tif", "http://h/a.tif"]
)
def test_gdal_names_are_only_file_names(tmp_path: Path, source: str) -> None:
    with pytest.raises(GroundlookError):
        read_window(source, (0, 0, 1, 1), [tmp_path])


def _broken(folder: Path, rgb: NDArray[np.uint8], whole: Path) -> dict[str, tuple[Path, str]]:
    content = whole.read_bytes()
    files: dict[str, tuple[bytes, str]] = {
        "empty.tif": (b"", "is empty"),
        "half.tif": (content[: len(content) // 2], "truncated or damaged"),
        "head.tif": (content[:100], "truncated or damaged"),
        "text.tif": (b"this is no raster" * 100, "is not a GeoTIFF, JPEG 2000"),
    }
    for suffix in ("png", "jpg", "webp"):
        data = bytes(cv2.imencode(f".{suffix}", rgb)[1])
        files[f"half.{suffix}"] = (data[: len(data) // 2], "truncated or damaged")
    for name, (data, _) in files.items():
        (folder / name).write_bytes(data)
    (folder / "folder.tif").mkdir()
    os.mkfifo(folder / "pipe.tif")
    broken = {name: (folder / name, reason) for name, (_, reason) in files.items()}
    broken["folder.tif"] = (folder / "folder.tif", "is a folder")
    broken["pipe.tif"] = (folder / "pipe.tif", "not a regular file")
    broken["missing.tif"] = (folder / "missing.tif", "does not exist")
    return broken


def test_what_is_no_raster_is_one_clear_line(
    tmp_path: Path, make_tif: MakeRaster, rgb: NDArray[np.uint8], capfd: pytest.CaptureFixture[str]
) -> None:
    for path, reason in _broken(tmp_path, rgb, make_tif(rgb)).values():
        with pytest.raises(InvalidRaster, match=reason) as caught:
            open_scene(path, [tmp_path])
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert "previous exception" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_gdal_says_nothing_of_its_own(tmp_path: Path, make_tif: MakeRaster, rgb: NDArray[np.uint8]) -> None:
    # in a process without pytest's log capture, where Python prints what no handler takes
    _broken(tmp_path, rgb, make_tif(rgb))
    cv2.imwrite(str(tmp_path / "plain.png"), rgb)
    code = (
        "import sys; from pathlib import Path; from groundlook_adapters.rasters.tiling.ingest import scan\n"
        "root = Path(sys.argv[1]); print(len(list(scan([p for p in sorted(root.iterdir())], [root]))))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert int(done.stdout) == 11


def test_a_geotiff_that_is_nowhere_is_refused(tmp_path: Path, make_tif: MakeRaster, rgb: NDArray[np.uint8]) -> None:
    plain = tmp_path / "plain.tif"
    cv2.imwrite(str(plain), rgb)
    with pytest.raises(InvalidRaster, match=r"has no CRS and no transform; .*--crs"):
        open_scene(plain, [tmp_path])
    with pytest.raises(InvalidRaster, match="CRS but no transform"):
        open_scene(make_tif(rgb, transform=(1, 0, 0, 0, 1, 0)), [tmp_path])
    with pytest.raises(InvalidRaster, match="complex"):
        open_scene(make_tif(rgb.astype(np.complex64)), [tmp_path])


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_plain_images_need_no_place(tmp_path: Path, rgb: NDArray[np.uint8], suffix: str) -> None:
    path = tmp_path / f"image.{suffix}"
    cv2.imwrite(str(path), rgb[:, :, ::-1], [cv2.IMWRITE_WEBP_QUALITY, 101] if suffix == "webp" else [])
    scene = open_scene(path, [tmp_path])
    assert scene.georef is None
    picture = read_rgb(scene.source, (10, 20, 64, 32), scene.render, [tmp_path])
    assert picture.shape == (32, 64, 3)
    if suffix != "jpg":
        assert (picture == rgb[20:52, 10:74]).all()


def test_slippy_tiles_lie_where_their_name_says(tmp_path: Path, rgb: NDArray[np.uint8]) -> None:
    for x, y in ((319292, 270960), (319293, 270961)):
        cv2.imwrite(str(tmp_path / f"OAM-{x}-{y}-19.png"), rgb[:256, :256])
    pattern = "OAM-{x}-{y}-{z}.png"
    first, second = (open_scene(p, [tmp_path], pattern).georef for p in sorted(tmp_path.glob("*.png")))
    assert first is not None
    assert second is not None
    assert first.crs == "EPSG:3857"
    end, start = first.to_map(np.array([[256, 256]])), second.to_map(np.array([[0, 0]]))
    assert np.abs(end - start).max() < 1e-7
    whole = 2 * np.pi * 6378137
    assert first.to_pixel(np.array([[319292 / 2**19 - 0.5, 0.5 - 270960 / 2**19]]) * whole) == pytest.approx(
        np.zeros((1, 2)), abs=1e-6
    )


def test_slippy_patterns_that_do_not_fit(tmp_path: Path, rgb: NDArray[np.uint8]) -> None:
    path = tmp_path / "OAM-5-1-2.png"
    cv2.imwrite(str(path), rgb)
    with pytest.raises(InvalidRaster, match=r"no tile x=5 y=1 at zoom 2"):
        open_scene(path, [tmp_path], "OAM-{x}-{y}-{z}.png")
    with pytest.raises(InvalidRaster, match="does not match --xyz"):
        open_scene(path, [tmp_path], "{x}_{y}_{z}.png")
    with pytest.raises(InvalidInput, match=r"needs \{z\} exactly once"):
        open_scene(path, [tmp_path], "OAM-{x}-{y}.png")
    (tmp_path / "2" / "1").mkdir(parents=True)
    folders = tmp_path / "2" / "1" / "3.png"
    cv2.imwrite(str(folders), rgb)
    assert open_scene(folders, [tmp_path], "{z}/{x}/{y}.png").georef is not None


def test_real_neon_and_naip_scenes(data_dir: Path) -> None:
    neon = sorted((data_dir / "neon_trees").glob("*/*.tif"))
    naip = sorted((data_dir / "urban_trees" / "images").glob("*.tif"))[:20]
    for path in [*neon, *naip]:
        scene = open_scene(path, [data_dir])
        assert scene.georef is not None
        assert scene.georef.crs in {"EPSG:32611", "EPSG:32617", "EPSG:32618", "EPSG:26910", "EPSG:26911"}
        assert scene.stretch is None
        picture = read_rgb(scene.source, (0, 0, scene.width, scene.height), scene.render, [data_dir])
        with rasterio.open(path) as dataset:
            assert (picture == dataset.read([1, 2, 3]).transpose(1, 2, 0)).all()


def test_real_oam_tiles_also_the_jpegs_named_png(data_dir: Path) -> None:
    folder = data_dir / "oam_buildings"
    kinds = set()
    for path in sorted(folder.glob("*/OAM-*.png"))[::7]:
        scene = open_scene(path, [folder], "OAM-{x}-{y}-{z}.png")
        kinds.add((path.read_bytes()[:4], scene.bands))
        assert scene.georef is not None
        assert read_rgb(scene.source, (0, 0, 256, 256), scene.render, [folder]).any()
    assert len(kinds) >= 2
