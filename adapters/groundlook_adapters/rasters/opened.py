"""GDAL behind a guard: four drivers, no network, no stray output, every failure one InvalidRaster."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rasterio
import rasterio.errors
from rasterio._err import CPLE_BaseError
from rasterio.windows import Window

from groundlook.core.errors import InvalidRaster
from groundlook.core.geo import WindowPx
from groundlook_adapters.rasters.files import driver_of

_GDAL = {
    "GDAL_CACHEMAX": 256 * 2**20,
    "GDAL_DISABLE_READDIR_ON_OPEN": "TRUE",  # a folder of 100,000 tiles is not listed for each of them
    "GDAL_ERROR_ON_LIBJPEG_WARNING": "TRUE",  # a truncated JPEG is an error, not half a grey picture
}

MAX_WINDOW_BYTES = 2**30
"""What one read may take, all bands together; also the most pixels of a one-byte band."""


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The rasterio dataset of a path that `files.resolve` allowed. GDAL's errors inside the block, too, become
    InvalidRaster: one line that names the file and what to do."""
    driver = driver_of(path)
    # Plain images have no georeference, which is no news here. `catch_warnings` would change the filters of every
    # thread and put back a stale list; a filter that stays is safe.
    warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
    with rasterio.Env(**_GDAL):
        try:
            with rasterio.open(path, driver=driver) as dataset:
                yield dataset
        except (rasterio.errors.RasterioError, CPLE_BaseError) as error:
            raise InvalidRaster(
                f"{path} is truncated or damaged ({_reason(error)}); copy or download it again"
            ) from None


def _reason(error: Exception) -> str:
    # rasterio says "Read failed. See previous exception for details."
    cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
    return " ".join(str(getattr(cause, "errmsg", cause)).split())[:200]


def checked(dataset: Any, window: WindowPx, bands: int) -> Window:
    """`window` for rasterio, after making sure that it lies inside the raster and that `bands` bands of it fit in
    memory. Raises InvalidRaster naming both sizes."""
    column, row, width, height = window
    inside = column >= 0 and row >= 0 and width >= 1 and height >= 1
    if not inside or column + width > dataset.width or row + height > dataset.height:
        raise InvalidRaster(
            f"window {width} × {height} px at ({column}, {row}) is not inside {dataset.name}, "
            f"which has {dataset.width} × {dataset.height} px; was the file replaced? Ingest it again"
        )
    size = width * height * bands * max(_itemsize(name) for name in dataset.dtypes)
    if size > MAX_WINDOW_BYTES:
        raise InvalidRaster(
            f"window {width} × {height} px with {bands} bands takes {size >> 20} MiB, "
            f"more than {MAX_WINDOW_BYTES >> 20}; use smaller tiles"
        )
    return Window(column, row, width, height)


def _itemsize(dtype: str) -> int:
    return {"8": 1, "16": 2, "32": 4, "64": 8, "128": 16}.get(dtype.lstrip("abcdefghijklmnopqrstuvwxyz_"), 8)
