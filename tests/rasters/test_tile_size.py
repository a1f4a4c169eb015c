"""Tile and overlap from the size of what is labelled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput, InvalidRaster
from groundlook_adapters.rasters.reading.read import open_scene
from groundlook_adapters.rasters.tiling.tile_size import tile_size

MakeRaster = Callable[..., Path]


@pytest.mark.parametrize(
    ("metres", "gsd", "expected"),
    [
        (3.2, 0.1, (256, 32)),
        (3.3, 0.1, (512, 64)),
        (10, 0.3, (512, 64)),
        (20, 0.3, (768, 96)),
        (0.2, 0.1, (256, 32)),
        (90, 0.3, (2048, 320)),
        (12, 10, (256, 32)),
    ],
)
def test_tile_size_from_the_object(
    tmp_path: Path, make_tif: MakeRaster, metres: float, gsd: float, expected: tuple[int, int]
) -> None:
    path = make_tif(np.ones((500, 400, 1), dtype=np.uint8), transform=(gsd, 0, 500_000, 0, -gsd, 4_000_000))
    scene = open_scene(path, [tmp_path])
    side, overlap = tile_size(scene, metres)
    assert (side, overlap) == expected
    assert overlap * gsd >= metres * 0.999  # an object is whole in some tile


def test_tile_size_is_on_the_ground(tmp_path: Path, make_tif: MakeRaster) -> None:
    """Web mercator at 60° north: a pixel of 1 map metre is half a metre."""
    pixels = np.ones((50, 50, 1), dtype=np.uint8)
    mercator = make_tif(pixels, "m.tif", crs="EPSG:3857", transform=(1, 0, 0, 0, -1, 8_399_737.9))
    assert tile_size(open_scene(mercator, [tmp_path]), 32) == (512, 64)
    degrees = make_tif(pixels, "d.tif", crs="EPSG:4326", transform=(1e-5, 0, 10, 0, -1e-5, 0.002))
    assert tile_size(open_scene(degrees, [tmp_path]), 32) == (256, 32)


def test_tile_size_needs_a_ground_size(tmp_path: Path, make_tif: MakeRaster, rgb: NDArray[np.uint8]) -> None:
    cv2.imwrite(str(tmp_path / "plain.png"), rgb)
    with pytest.raises(InvalidRaster, match=r"plain\.png.*--tile and --overlap"):
        tile_size(open_scene(tmp_path / "plain.png", [tmp_path]), 10)
    scene = open_scene(make_tif(rgb), [tmp_path])
    with pytest.raises(InvalidInput, match="300 m are 3000 px"):
        tile_size(scene, 300)
    for metres in (0, -1, float("nan"), float("inf")):
        with pytest.raises(InvalidInput, match="positive"):
            tile_size(scene, metres)
