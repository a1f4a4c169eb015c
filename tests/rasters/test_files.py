"""Which files are opened: by content, within the roots, and what they refer to as well."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from groundlook.core.errors import GroundlookError, InvalidRaster, NotAllowed
from groundlook_adapters.rasters.reading import files, vrt
from groundlook_adapters.rasters.reading.files import content_tag, driver_of, driver_of_head, etag, resolve
from groundlook_adapters.rasters.reading.read import open_scene, read_rgb, read_window

MakeRaster = Callable[..., Path]
Pixels = NDArray[np.uint8]
NORTH_UP = rasterio.Affine(1, 0, 500_000, 0, -1, 5_000_000)


@pytest.mark.parametrize(
    ("driver", "suffix", "options"),
    [
        ("HFA", "img", {}),
        ("JP2OpenJPEG", "jp2", {"QUALITY": 100, "REVERSIBLE": "YES"}),
        ("NITF", "ntf", {"ICORDS": "G"}),
    ],
)
def test_other_formats_by_their_first_bytes(
    tmp_path: Path, rgb: Pixels, driver: str, suffix: str, options: dict[str, object]
) -> None:
    made, path = tmp_path / f"a.{suffix}", tmp_path / "scene.dat"
    place = rasterio.Affine(1e-3, 0, 3, 0, -1e-3, 45)
    with rasterio.open(
        made,
        "w",
        driver=driver,
        width=400,
        height=300,
        count=3,
        dtype="uint8",
        crs="EPSG:4326",
        transform=place,
        **options,
    ) as dataset:
        dataset.write(rgb.transpose(2, 0, 1))
    made.rename(path)
    assert driver_of(path) == driver
    scene = open_scene(path, [tmp_path])
    assert scene.georef is not None
    assert scene.georef.crs == "EPSG:4326"
    assert scene.georef.transform == pytest.approx(tuple(place)[:6], abs=1e-4 if driver == "NITF" else 1e-12)
    assert (read_window(scene.source, (5, 6, 70, 80), [tmp_path]) == rgb[6:86, 5:75]).all()


@given(st.binary(max_size=64))
def test_other_bytes_are_refused(head: bytes) -> None:
    known = (
        b"II",
        b"MM",
        b"\x89PNG",
        b"\xff",
        b"RIFF",
        b"\0\0\0\x0cjP",
        b"EHFA",
        b"NITF",
        b"NSIF",
        b"\xef",
        b"<",
        b" ",
    )
    if head.startswith(known) or head[:1].isspace():
        return
    with pytest.raises(InvalidRaster, match="x is not a GeoTIFF"):
        driver_of_head(head, "x")


def test_a_copy_keeps_its_etag_and_a_change_does_not(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    data = bytearray(np.random.default_rng(0).bytes(3_000_000))
    path.write_bytes(data)
    first = etag(path)
    copy = tmp_path / "b.bin"
    shutil.copy(path, copy)
    os.utime(copy, (1, 1))
    assert etag(copy) == first
    for place in (0, 65_535, 65_536, 2_934_463, 2_999_999):
        changed = bytearray(data)
        changed[place] ^= 1
        copy.write_bytes(changed)
        assert content_tag(copy) != first, place
    copy.write_bytes(data + b"\0")
    assert etag(copy) != first


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("etag") / "a"


@given(st.binary(min_size=1, max_size=300), st.integers(0, 299))
def test_every_byte_of_a_small_file_counts(small: Path, data: bytes, place: int) -> None:
    small.write_bytes(data)
    before = content_tag(small)
    place %= len(data)
    small.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    assert content_tag(small) != before


def test_an_etag_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"abc")
    reads: list[Path] = []
    real = files.content_tag
    monkeypatch.setattr(files, "content_tag", lambda p: reads.append(p) or real(p))
    assert len({etag(path) for _ in range(5)}) == 1
    path.write_bytes(b"abd")
    os.utime(path, ns=(1, 1))
    etag(path)
    assert len(reads) == 2


@pytest.mark.parametrize("path", ["/vsicurl/http://127.0.0.1/a.tif", "/vsimem/a.tif", "/vsizip/a.zip", "/vsis3/b/k"])
def test_virtual_paths_are_refused_even_in_the_root_of_all(path: str) -> None:
    with pytest.raises(NotAllowed, match="virtual paths are not taken"):
        resolve(path, [Path("/")])


def test_one_pixel_and_no_pixel_with_data(tmp_path: Path, make_tif: MakeRaster, rgb: Pixels) -> None:
    one = open_scene(make_tif(rgb[:1, :1], "one.tif"), [tmp_path])
    assert (read_rgb(one.source, (0, 0, 1, 1), one.render, [tmp_path]) == rgb[:1, :1]).all()
    for name, pixels, options in (
        ("value.tif", np.full((9, 9, 2), 7, np.uint16), {"nodata": 7}),
        ("nan.tif", np.full((9, 9, 1), np.nan, np.float32), {}),
    ):
        with pytest.raises(InvalidRaster, match="has no pixel with data"):
            open_scene(make_tif(pixels, name, **options), [tmp_path])


def test_one_valid_pixel_of_a_large_raster_is_found(tmp_path: Path, make_tif: MakeRaster) -> None:
    pixels = np.zeros((3000, 2900, 1), dtype=np.uint16)
    pixels[2500, 2777] = 9
    scene = open_scene(make_tif(pixels, nodata=0), [tmp_path])
    assert scene.stretch == ((9.0, 10.0),)


def test_sidecars_are_seen(tmp_path: Path, make_tif: MakeRaster, rgb: Pixels) -> None:
    path = make_tif(np.concatenate([rgb] * 4)[:, :, :1].astype(np.uint16) + 100)
    with rasterio.Env(TIFF_USE_OVR="TRUE", GDAL_TIFF_INTERNAL_MASK="NO"), rasterio.open(path, "r+") as dataset:
        mask = np.full((1200, 400), 255, dtype=np.uint8)
        mask[:50] = 0
        dataset.write_mask(mask)
    with rasterio.Env(TIFF_USE_OVR="TRUE"), rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([2, 4])
    assert {p.suffix for p in tmp_path.iterdir()} == {".tif", ".msk", ".ovr"}
    scene = open_scene(path, [tmp_path])
    picture = read_rgb(scene.source, (0, 0, 400, 300), scene.render, [tmp_path])
    assert (picture[:50] == 0).all()
    assert (picture[50:] > 0).all()


def test_a_world_file_needs_a_crs(tmp_path: Path, rgb: Pixels) -> None:
    path = tmp_path / "scene.tif"
    cv2.imwrite(str(path), rgb)
    with pytest.raises(InvalidRaster, match="no CRS and no transform"):
        open_scene(path, [tmp_path], crs="EPSG:32631")
    path.with_suffix(".tfw").write_text("0.5\n0\n0\n-0.5\n400000.25\n4999999.75\n")
    with pytest.raises(InvalidRaster, match="has no CRS; pass the one it was made in: --crs"):
        open_scene(path, [tmp_path])
    georef = open_scene(path, [tmp_path], crs="EPSG:32631").georef
    assert georef is not None
    assert (georef.crs, georef.transform) == ("EPSG:32631", (0.5, 0, 400_000, 0, -0.5, 5_000_000))
    wkt = rasterio.CRS.from_epsg(32631).to_wkt(version="WKT2_2019")
    assert open_scene(path, [tmp_path], crs=wkt).georef == georef


def test_a_crs_that_contradicts_the_file(tmp_path: Path, make_tif: MakeRaster, rgb: Pixels) -> None:
    path = make_tif(rgb)
    assert open_scene(path, [tmp_path], crs="EPSG:32611") == open_scene(path, [tmp_path])
    with pytest.raises(InvalidRaster, match=r"is in EPSG:32611, --crs says EPSG:32612"):
        open_scene(path, [tmp_path], crs="EPSG:32612")
    for text in ("32611", "EPSG:999999", "http://h/a.wkt", "/etc/passwd"):
        with pytest.raises(InvalidRaster, match="neither an authority code nor WKT"):
            open_scene(path, [tmp_path], crs=text)


@pytest.mark.parametrize("suffix", [".ovr", ".msk"])
def test_a_sidecar_that_links_out_of_the_roots(tmp_path: Path, make_tif: MakeRaster, rgb: Pixels, suffix: str) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    path = make_tif(rgb[:, :, :1], "root/scene.tif")
    secret = make_tif(rgb[:150, :200, :1] if suffix == ".ovr" else rgb[:, :, :1], "outside/secret.tif")
    (root / f"scene.tif{suffix}").symlink_to(secret)
    with pytest.raises(NotAllowed, match="refers to a file that may not be read"):
        open_scene(path, [root])


def test_overviews_that_a_file_names_elsewhere(tmp_path: Path, make_tif: MakeRaster, rgb: Pixels) -> None:
    (tmp_path / "root").mkdir()
    secret = make_tif(rgb[:150, :200, :1], "secret.tif")
    path = make_tif(rgb[:, :, :1], "root/scene.tif")
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=str(secret))
    with pytest.raises(NotAllowed, match=r"secret\.tif is outside"):
        open_scene(path, [tmp_path / "root"])


def _mosaic(
    source: str = '<SourceFilename relativeToVRT="1">a.tif</SourceFilename>', kind: str = "SimpleSource"
) -> str:
    return (
        '<VRTDataset rasterXSize="400" rasterYSize="300"><SRS>EPSG:32631</SRS>'
        "<GeoTransform>500000, 1, 0, 5000000, 0, -1</GeoTransform>"
        f'<VRTRasterBand dataType="Byte" band="1"><NoDataValue>0</NoDataValue><{kind}>{source}'
        f"<SourceBand>1</SourceBand></{kind}></VRTRasterBand></VRTDataset>"
    )


def test_a_plain_mosaic(tmp_path: Path, make_tif: MakeRaster, rgb: Pixels) -> None:
    make_tif(rgb, "a.tif", crs="EPSG:32631", transform=tuple(NORTH_UP)[:6])
    path = tmp_path / "mosaic.vrt"
    path.write_text(f'<?xml version="1.0"?>\n{_mosaic()}')
    scene = open_scene(path, [tmp_path])
    assert scene.georef is not None
    assert (scene.georef.crs, scene.georef.transform) == ("EPSG:32631", tuple(NORTH_UP)[:6])
    assert (read_window(scene.source, (9, 8, 30, 40), [tmp_path])[:, :, 0] == rgb[8:48, 9:39, 0]).all()
    make_tif(rgb[::-1].copy(), "a.tif", crs="EPSG:32631", transform=tuple(NORTH_UP)[:6])
    again = open_scene(path, [tmp_path])
    assert again.etag != scene.etag
    assert (read_window(scene.source, (9, 8, 30, 40), [tmp_path])[:, :, 0] == rgb[::-1][8:48, 9:39, 0]).all()


HOSTILE = {
    "derived": _mosaic().replace('band="1"', 'band="1" subClass="VRTDerivedRasterBand"'),
    "derived, other case": _mosaic().replace('band="1"', 'band="1" SUBCLASS="VRTDerivedRasterBand"'),
    "derived, as child": _mosaic().replace("<NoDataValue>", "<subClass>VRTDerivedRasterBand</subClass><NoDataValue>"),
    "python": _mosaic().replace("<NoDataValue>", "<PixelFunctionLanguage>Python</PixelFunctionLanguage><NoDataValue>"),
    "warped": _mosaic().replace('rasterXSize="400"', 'rasterXSize="400" subClass="VRTWarpedDataset"'),
    "raw": _mosaic().replace('band="1"', 'band="1" subClass="VRTRawRasterBand"'),
    "filtered": _mosaic(kind="KernelFilteredSource"),
    "url": _mosaic("<SourceFilename>http://127.0.0.1:9/a.tif</SourceFilename>"),
    "vsi": _mosaic("<SourceFilename>/vsicurl/http://127.0.0.1:9/a.tif</SourceFilename>"),
    "inline": _mosaic("<SourceFilename>&lt;VRTDataset/></SourceFilename>"),
    "as attribute": _mosaic().replace("<SimpleSource>", '<SimpleSource SourceFilename="/etc/passwd">'),
    "twice, other case": _mosaic(
        '<sourcefilename>/etc/passwd</sourcefilename><SourceFilename relativeToVRT="1">a.tif</SourceFilename>'
    ),
    "entity": '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>' + _mosaic(),
    "comment": _mosaic('<SourceFilename relativeToVRT="1">a<!-- -->.tif</SourceFilename>'),
    "instruction": _mosaic('<SourceFilename relativeToVRT="1">a<?x?>.tif</SourceFilename>'),
    "overviews": _mosaic().replace(
        "<NoDataValue>",
        '<Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">/etc/x.tif</MDI></Metadata><NoDataValue>',
    ),
    "not XML": _mosaic()[:-5],
    "missing": _mosaic('<SourceFilename relativeToVRT="1">none.tif</SourceFilename>'),
    "itself": _mosaic('<SourceFilename relativeToVRT="1">evil.vrt</SourceFilename>'),
    "relative to nothing": _mosaic("<SourceFilename>a.tif</SourceFilename>"),
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(HOSTILE))
def test_a_hostile_vrt_is_one_clear_line(tmp_path: Path, make_tif: MakeRaster, rgb: Pixels, kind: str) -> None:
    make_tif(rgb, "a.tif")
    path = tmp_path / "evil.vrt"
    path.write_text(HOSTILE[kind])
    with pytest.raises(GroundlookError) as caught:
        open_scene(path, [tmp_path])
    assert isinstance(caught.value, InvalidRaster | NotAllowed)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_vrt_shows_nothing_outside_the_roots(tmp_path: Path, make_tif: MakeRaster, rgb: Pixels) -> None:
    root = tmp_path / "root"
    root.mkdir()
    outside = make_tif(rgb, "a.tif")
    (root / "link.tif").symlink_to(outside)
    path = root / "m.vrt"
    for source in (
        '<SourceFilename relativeToVRT="1">../a.tif</SourceFilename>',
        '<SourceFilename relativeToVRT="1">link.tif</SourceFilename>',
        f"<SourceFilename>{outside}</SourceFilename>",
        "<SourceFilename>/etc/passwd</SourceFilename>",
    ):
        path.write_text(_mosaic(source))
        with pytest.raises(NotAllowed, match="shows a file that may not be read"):
            open_scene(path, [root])
    path.write_text(_mosaic(f"<SourceFilename>{outside}</SourceFilename>"))
    assert open_scene(path, [root, tmp_path]).bands == 1


def test_too_large_a_vrt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.vrt"
    path.write_text(_mosaic())
    monkeypatch.setattr(vrt, "MAX_BYTES", 100)
    with pytest.raises(InvalidRaster, match="is larger than"):
        open_scene(path, [tmp_path])
