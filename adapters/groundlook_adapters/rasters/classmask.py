"""Labels as a raster: one Cloud Optimized GeoTIFF of class numbers per scene, on the scene's own grid."""

from __future__ import annotations

import colorsys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.errors
import rasterio.features
import rasterio.shutil
import shapely
from numpy.typing import NDArray
from rasterio.windows import Window

from groundlook.core.errors import InvalidInput
from groundlook.core.geo import GeoRef, WindowPx
from groundlook.core.mask import Mask
from groundlook.core.tiling import grid
from groundlook_adapters.rasters.crs import parse_crs

EMPTY, UNREVIEWED = 0, 255
"""Reviewed and nothing there; nobody looked (the raster's nodata value)."""

_MOST = UNREVIEWED - 1
_BLOCK = 512
_CACHE = 2**27
_PART = 2048
"""Pixels a side that are burnt at once: memory does not depend on the size of a tile."""

Burnt = Sequence[tuple[Any, int]]
"""(what, class 1…254): a shapely geometry in pixels of the window, or a core Mask of the window's size."""


class ClassMask:
    """The class mask of one scene. Written as a tiled GeoTIFF beside `path` that takes disk only where something was
    reviewed, then copied to a COG. Not thread-safe."""

    def __init__(self, path: Path, size: tuple[int, int], georef: GeoRef | None, labels: Sequence[str]) -> None:
        """`size`: (width, height) of the scene; `georef`: of its whole grid, None for a plain image. Raises
        InvalidInput: a size that no raster has; InvalidRaster: a CRS that can't be read."""
        check_labels(labels)
        if min(size) < 1 or max(size) > 2**31 - 1:
            raise InvalidInput(f"a scene of {size[0]} × {size[1]} px can't have a mask")
        self._path, self._draft = path, path.with_name(f".{path.stem}.part.tif")
        with _quiet(), rasterio.open(self._draft, "w", **_profile(size, georef)) as dataset:
            dataset.write_colormap(1, colours(len(labels)))
            dataset.update_tags(1, **_names(labels))
            dataset.set_band_description(1, "class")

    def burn(self, window: WindowPx, things: Burnt) -> None:
        """Mark a window of the scene as reviewed and draw `things` on it, later ones on top. Pixels count whose
        centre is inside. Where windows overlap, a thing is never erased by another window's empty ground.
        `window` lies inside the scene."""
        column, row, width, height = window
        # Opened anew each time: exports of many scenes, and those that break off, leave no file open.
        with _quiet(), rasterio.open(self._draft, "r+") as dataset:
            for x, y, w, h in grid(width, height, _PART, 0):
                drawn = _draw(things, (x, y, w, h))
                place = Window(column + x, row + y, w, h)
                before = dataset.read(1, window=place)
                after = np.where(drawn != EMPTY, drawn, np.where(before == UNREVIEWED, EMPTY, before))
                dataset.write(after.astype(np.uint8), 1, window=place)

    def finish(self) -> None:
        """Write the COG at `path`; the working file is removed."""
        options = {"compress": "DEFLATE", "blocksize": _BLOCK, "overview_resampling": "nearest", "sparse_ok": True}
        with _quiet():
            rasterio.shutil.copy(self._draft, self._path, driver="COG", bigtiff="IF_SAFER", **options)
        self._draft.unlink()


def _profile(size: tuple[int, int], georef: GeoRef | None) -> dict[str, Any]:
    placed = {} if georef is None else {"crs": parse_crs(georef.crs), "transform": rasterio.Affine(*georef.transform)}
    return {
        "driver": "GTiff",
        "width": size[0],
        "height": size[1],
        "count": 1,
        "dtype": "uint8",
        "nodata": UNREVIEWED,
        "tiled": True,
        "blockxsize": _BLOCK,
        "blockysize": _BLOCK,
        "compress": "DEFLATE",
        "zlevel": 1,
        "bigtiff": "IF_SAFER",
        "sparse_ok": True,
        **placed,
    }


def check_labels(labels: Sequence[str]) -> None:
    """Raises InvalidInput for more classes than a uint8 holds beside EMPTY and UNREVIEWED."""
    if len(labels) > _MOST:
        raise InvalidInput(f"{len(labels)} labels: a class mask holds {_MOST} at most; export fewer, or as COCO")


def colours(count: int) -> dict[int, tuple[int, int, int, int]]:
    """A colour (red, green, blue, alpha) for EMPTY, each of `count` classes and UNREVIEWED; neighbours differ."""
    table = {EMPTY: (0, 0, 0, 255), UNREVIEWED: (0, 0, 0, 0)}
    for i in range(count):
        hue, value = (i * 0.618034) % 1, 1.0 - 0.25 * (i // 8 % 3)
        red, green, blue = (round(255 * c) for c in colorsys.hsv_to_rgb(hue, 0.75, value))
        table[i + 1] = (red, green, blue, 255)
    return table


def _names(labels: Sequence[str]) -> dict[str, str]:
    """Band metadata: CLASS_0 = "reviewed, empty", CLASS_1 = the first label, …"""
    names = {EMPTY: "reviewed, empty", **{i + 1: label for i, label in enumerate(labels)}, UNREVIEWED: "not reviewed"}
    return {f"CLASS_{value}": _printable(name) for value, name in names.items()}


def _printable(text: str) -> str:
    """GDAL keeps metadata as XML and C strings: neither holds control characters."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def _draw(things: Burnt, part: WindowPx) -> NDArray[np.uint8]:
    """(H, W) of `part`, a piece of the window: the class of each pixel, EMPTY where there is none."""
    x, y, width, height = part
    drawn = np.full((height, width), EMPTY, dtype=np.uint8)
    for masks, group in groupby(things, key=lambda thing: isinstance(thing[0], Mask)):
        if masks:
            for mask, number in group:
                _stamp(drawn, mask, number, (x, y))
        else:
            pieces = [(piece, number) for thing, number in group if (piece := _crossing(thing, part)) is not None]
            if pieces:
                rasterio.features.rasterize(pieces, out=drawn)
    return drawn


def _stamp(drawn: NDArray[np.uint8], mask: Mask, number: int, at: tuple[int, int]) -> None:
    """Put the part of a mask that starts at pixel `at` (x, y) on `drawn`; only the rows that it has are filled."""
    if len(mask.runs) == 0:
        return
    (x, y), (height, width) = at, drawn.shape
    corners = mask.corners()
    low, high = max(int(corners[0, 1]), y), min(int(corners[2, 1]), y + height)
    if low < high:
        rows = _rows(mask, low, high - low)
        drawn[low - y : high - y][rows[:, x : x + width]] = number


def _rows(mask: Mask, start: int, count: int) -> NDArray[np.bool_]:
    """Rows of a mask as pixels (count, W), without filling the others."""
    low, high = start * mask.width, (start + count) * mask.width
    runs = mask.runs[(mask.runs[:, 1] > low) & (mask.runs[:, 0] < high)]
    return Mask(mask.width, count, np.clip(runs, low, high) - low).pixels()


def _crossing(geometry: Any, part: WindowPx) -> Any | None:
    """A geometry in pixels of `part`, or None where it is outside."""
    x, y, width, height = part
    x0, y0, x1, y1 = geometry.bounds
    if x1 < x or y1 < y or x0 > x + width or y0 > y + height:
        return None
    return geometry if (x, y) == (0, 0) else shapely.transform(geometry, lambda points: points - (x, y))


@contextmanager
def _quiet() -> Iterator[None]:
    """Little memory (GDAL would take a twentieth of the machine's for blocks), and no warning: a mask of an image
    that is on no map is no accident."""
    with warnings.catch_warnings(), rasterio.Env(GDAL_CACHEMAX=_CACHE):
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        yield
