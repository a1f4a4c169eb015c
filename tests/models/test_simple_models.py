"""The models that need no weights: untrained, thumbnail, and what they share."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from groundlook.core.errors import InvalidInput
from groundlook.core.geo import Tile
from groundlook.models.pixels import as_rgb
from groundlook.models.thumbnail import DIMENSIONS, Thumbnail
from groundlook.models.untrained import Untrained


def _tile(seed: int, height: int = 70, width: int = 90, bands: int = 3) -> Tile:
    rng = np.random.default_rng(seed)
    return Tile(rng.integers(0, 256, (height, width, bands), dtype=np.uint8))


def test_untrained_says_that_it_does_not_know() -> None:
    model = Untrained()
    first, second = model.predict([_tile(0), _tile(1)])
    assert not first.knows
    assert first.regions == ()
    assert first.version == second.version == model.version
    assert str(model.version).startswith("untrained@")
    assert model.predict([]) == []


def test_thumbnail_rows_are_unit_finite_and_the_same_again() -> None:
    tiles = [_tile(i, 32 + i, 64 - i) for i in range(5)]
    rows = Thumbnail().embed(tiles)
    assert rows.shape == (5, DIMENSIONS)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(rows, Thumbnail().embed(tiles))
    np.testing.assert_array_equal(rows[2:3], Thumbnail().embed(tiles[2:3]))
    assert Thumbnail().embed([]).shape == (0, DIMENSIONS)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 500, 3), (700, 2, 3), (33, 65, 3)])
@pytest.mark.parametrize("value", [0, 128, 255])
def test_thumbnail_takes_any_size_and_flat_tiles(shape: tuple[int, int, int], value: int) -> None:
    row = Thumbnail().embed([Tile(np.full(shape, value, np.uint8))])
    assert np.isfinite(row).all()


def test_thumbnail_puts_alike_nearer() -> None:
    rng = np.random.default_rng(0)
    noise = [rng.normal(0, 6, (128, 128, 3)) for _ in range(4)]
    stripes = np.where(np.arange(128)[:, None, None] // 8 % 2, 60.0, 20.0) * np.ones((128, 128, 3))
    green = np.array([40.0, 120.0, 40.0]) * np.ones((128, 128, 3))
    pictures = [green + noise[0], green + noise[1], stripes + noise[2], stripes + noise[3]]
    rows = Thumbnail().embed([Tile(np.clip(p, 0, 255).astype(np.uint8)) for p in pictures])
    near = rows @ rows.T
    assert min(near[0, 1], near[2, 3]) > 0.95
    assert near[:2, 2:].max() < 0.8


def test_bands_become_rgb() -> None:
    assert as_rgb(_tile(0, bands=4)).shape == (70, 90, 3)
    grey = as_rgb(_tile(0, bands=1))
    np.testing.assert_array_equal(grey[..., 0], grey[..., 2])


@pytest.mark.parametrize("pixels", [np.zeros((4, 4, 3), np.uint16), np.zeros((4, 4), np.uint8), np.zeros((0, 4, 3))])
def test_pixels_that_are_not_a_picture_are_refused(pixels: np.ndarray) -> None:
    with pytest.raises(InvalidInput):
        as_rgb(Tile(pixels))


def test_importing_the_models_imports_no_torch_and_reads_no_environment() -> None:
    code = (
        "import os, sys, cv2; before = dict(os.environ)  # cv2 sets LD_LIBRARY_PATH\n"
        "import groundlook.models.yolo.predict, groundlook.models.yolo.train, groundlook.models.weights.fetch\n"
        "import groundlook.models.yolo.train_child, groundlook.models.thumbnail, groundlook.evaluation.metrics\n"
        "assert not {'torch', 'ultralytics', 'torchvision'} & set(sys.modules); assert before == dict(os.environ)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
