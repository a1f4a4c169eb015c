"""Rasters whose bands differ: in type, in what they have data for, in what they mean."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling

from groundlook.core.errors import InvalidInput, InvalidRaster
from groundlook_adapters.rasters.pictures.render import Choice
from groundlook_adapters.rasters.reading.read import open_scene, quicklook, read_rgb, read_window
from groundlook_adapters.rasters.tiling.ingest import tiles

MakeRaster = Callable[..., Path]
NDVI = "(b4-b1)/(b4+b1)"
WHOLE = (0, 0, 200, 100)


def _vrt(folder: Path, *bands: tuple[str, Path]) -> Path:
    """200 × 100 px, one band of each file, of the type given."""
    body = "".join(
        f'<VRTRasterBand dataType="{dtype}" band="{i}"><SimpleSource>'
        f'<SourceFilename relativeToVRT="1">{path.name}</SourceFilename></SimpleSource></VRTRasterBand>'
        for i, (dtype, path) in enumerate(bands, 1)
    )
    head = "<SRS>EPSG:32611</SRS><GeoTransform>500000,0.1,0,4000000,0,-0.1</GeoTransform>"
    path = folder / "stack.vrt"
    path.write_text(f'<VRTDataset rasterXSize="200" rasterYSize="100">{head}{body}</VRTDataset>')
    return path


def test_bands_of_several_types(tmp_path: Path, make_tif: MakeRaster) -> None:
    rng = np.random.default_rng(0)
    small = rng.integers(1, 255, (100, 200, 1), dtype=np.uint8)
    middle = rng.integers(0, 60_000, (100, 200, 1)).astype(np.uint16)
    real = rng.normal(size=(100, 200, 1)).astype(np.float32)
    named = zip(("Byte", "UInt16", "Float32"), (small, middle, real), strict=True)
    path = _vrt(tmp_path, *((dtype, make_tif(pixels, f"{dtype}.tif")) for dtype, pixels in named))
    together = read_window(str(path), WHOLE, [tmp_path])
    assert together.dtype == np.float32
    assert (together == np.concatenate([small, middle, real], axis=2)).all()
    scene = open_scene(path, [tmp_path], choice=Choice(expressions=("b2/b1",)))
    assert scene.stretch is not None
    assert scene.stretch[0] == pytest.approx(np.percentile(middle / small.astype(float), (2, 98)), rel=1e-4)
    assert read_rgb(str(path), WHOLE, open_scene(path, [tmp_path]).render, [tmp_path]).shape == (100, 200, 3)


def test_complex_integers_are_refused(tmp_path: Path, make_tif: MakeRaster) -> None:
    path = _vrt(tmp_path, ("CInt16", make_tif(np.ones((100, 200, 1), dtype=np.uint8), "a.tif")))
    with pytest.raises(InvalidRaster, match="convert complex SAR to amplitude first"):
        open_scene(path, [tmp_path])


@pytest.fixture(params=["float32", "int16"])
def gappy(request: pytest.FixtureRequest, make_tif: MakeRaster) -> tuple[Path, NDArray[Any]]:
    """Four bands, the last without data in the 60 columns on the left."""
    pixels = np.random.default_rng(0).integers(100, 3000, (100, 200, 4)).astype(request.param)
    pixels[:, :60, 3] = -9999
    return make_tif(pixels, nodata=-9999), pixels


def test_no_stretch_to_the_nodata_of_one_band(tmp_path: Path, gappy: tuple[Path, NDArray[Any]]) -> None:
    path, pixels = gappy
    stretch = open_scene(path, [tmp_path], choice=Choice(bands=(4, 2, 1))).stretch
    assert stretch is not None
    assert stretch[0] == pytest.approx(np.percentile(pixels[:, 60:, 3], (2, 98)), rel=1e-4)


def test_nothing_is_computed_from_the_nodata_of_one_band(tmp_path: Path, gappy: tuple[Path, NDArray[Any]]) -> None:
    path, pixels = gappy
    scene = open_scene(path, [tmp_path], choice=Choice(expressions=(NDVI,)))
    values = pixels.astype(float)
    ndvi = ((values[..., 3] - values[..., 0]) / (values[..., 3] + values[..., 0]))[:, 60:]
    assert scene.stretch is not None
    assert scene.stretch[0] == pytest.approx(np.percentile(ndvi, (2, 98)), rel=1e-4)
    for picture in (
        read_rgb(str(path), WHOLE, scene.render, [tmp_path]),
        quicklook(str(path), scene.render, [tmp_path], 200),
    ):
        assert not picture[:, :60].any()
        assert picture[:, 60:].all()


def test_an_alpha_of_floats_makes_empty_tiles_with_and_without_overviews(tmp_path: Path, make_tif: MakeRaster) -> None:
    pixels = np.random.default_rng(0).normal(size=(512, 1536, 2)).astype(np.float32)
    pixels[..., 1] = np.arange(1536) >= 1024
    path = make_tif(pixels, alpha="YES", tiled=True)
    counts = []
    for levels in ([], [2, 4, 8]):
        with rasterio.open(path, "r+") as dataset:
            dataset.build_overviews(levels, Resampling.nearest)
        kept, empty = tiles(open_scene(path, [tmp_path]), 512, 0)
        counts.append(([tile.window for tile in kept], empty))
    assert counts == [([(1024, 0, 512, 512)], 2)] * 2


def test_reflectance_of_another_scale_is_refused(tmp_path: Path, make_tif: MakeRaster) -> None:
    pixels = np.random.default_rng(0).integers(7000, 20_000, (64, 64, 1)).astype(np.uint16)
    for name, scale in (("sentinel.tif", 1e-4), ("landsat.tif", 2.75e-5)):
        with rasterio.open(make_tif(pixels, name), "r+") as dataset:
            dataset.scales, dataset.offsets = [scale], [-0.1]
    choice = Choice(bands=(1,), mode="reflectance")
    assert open_scene(tmp_path / "sentinel.tif", [tmp_path], choice=choice).render.offset == -1000
    with pytest.raises(InvalidInput, match=r"landsat\.tif: the bands have the scale 2\.75e-05"):
        open_scene(tmp_path / "landsat.tif", [tmp_path], choice=choice)


def test_reflectance_already_is_refused(tmp_path: Path, make_tif: MakeRaster) -> None:
    share = np.random.default_rng(0).uniform(0, 0.5, (64, 64, 1)).astype(np.float32)
    choice = Choice(bands=(1,), mode="reflectance")
    with pytest.raises(InvalidInput, match=r"a\.tif: values up to 0\.\d+ are reflectance already"):
        open_scene(make_tif(share, "a.tif"), [tmp_path], choice=choice)
    assert open_scene(make_tif(share * 10_000, "b.tif"), [tmp_path], choice=choice).stretch == ((0.0, 0.3),)


def test_a_crs_that_is_no_map_is_refused(tmp_path: Path, make_tif: MakeRaster) -> None:
    path = make_tif(np.ones((10, 10, 1), dtype=np.uint8), crs="EPSG:4978")
    with pytest.raises(InvalidRaster, match="no map: it counts from the Earth's centre"):
        open_scene(path, [tmp_path])
