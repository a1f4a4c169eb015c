"""Rasters made for one test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

NORTH_UP = (0.1, 0.0, 500_000.0, 0.0, -0.1, 4_000_000.0)

MakeRaster = Callable[..., Path]


@pytest.fixture
def make_tif(tmp_path: Path) -> MakeRaster:
    """`make_tif(pixels (H, W, B), name=…, crs=…, transform=…, **rasterio options)` → its path."""

    def make(
        pixels: NDArray[Any],
        name: str = "scene.tif",
        crs: Any = "EPSG:32611",
        transform: tuple[float, ...] | None = NORTH_UP,
        tags: dict[str, str] | None = None,
        **options: Any,
    ) -> Path:
        height, width, count = pixels.shape
        if transform is not None:
            options["transform"] = rasterio.Affine(*transform)
        path = tmp_path / name
        with rasterio.open(
            path, "w", driver="GTiff", width=width, height=height, count=count, dtype=pixels.dtype, crs=crs, **options
        ) as dataset:
            dataset.write(pixels.transpose(2, 0, 1))
            dataset.update_tags(**(tags or {}))
        return path

    return make


@pytest.fixture
def rgb() -> NDArray[np.uint8]:
    """(300, 400, 3), noise."""
    return np.random.default_rng(0).integers(1, 255, (300, 400, 3), dtype=np.uint8)
