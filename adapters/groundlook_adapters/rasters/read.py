"""Scenes: opening a raster, and reading windows of it on its native grid."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rasterio.enums import MaskFlags

from groundlook.core.errors import InvalidRaster
from groundlook.core.geo import Affine, GeoRef, WindowPx
from groundlook_adapters.rasters.crs import crs_text
from groundlook_adapters.rasters.files import etag, resolve
from groundlook_adapters.rasters.opened import checked, opened
from groundlook_adapters.rasters.render import RGB, Render, Stretch, choose_bands, compute_stretch, to_rgb
from groundlook_adapters.rasters.slippy import slippy_georef

_OVERVIEW = 1024
"""Longest side, px, of the overview that the stretch is computed from."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One raster. `id`: 16 hex digits of sha256 over source and etag. `source`: absolute path, symlinks resolved.
    `acquired`: ISO 8601 without zone, from TIFFTAG_DATETIME. `georef` is None for a plain image."""

    id: str
    source: str
    etag: str
    width: int
    height: int
    bands: int
    dtype: str
    georef: GeoRef | None
    acquired: str | None
    render: Render

    @property
    def stretch(self) -> Stretch | None:
        """(low, high) per displayed band; None for uint8."""
        return self.render.stretch


def open_scene(path: str | Path, roots: Sequence[Path], xyz: str | None = None) -> Scene:
    """Look at a raster: size, place, how to show it. Its first and last block are read, so that a truncated file is
    found here and not by an annotator.

    `xyz`: file-name pattern of slippy-map tiles, "OAM-{x}-{y}-{z}.png", which then gives the georeference.
    Raises NotAllowed (outside `roots`), InvalidRaster (can't be read or placed), InvalidInput (a bad pattern).
    """
    real = resolve(path, roots)
    with opened(real) as dataset:
        _probe(dataset)
        mark = etag(real)
        return Scene(
            id=hashlib.sha256(f"{real}|{mark}".encode(errors="surrogateescape")).hexdigest()[:16],
            source=str(real),
            etag=mark,
            width=dataset.width,
            height=dataset.height,
            bands=dataset.count,
            dtype=str(dataset.dtypes[0]),
            georef=_georef(dataset, real, xyz),
            acquired=_acquired(dataset),
            render=_render(dataset),
        )


def read_window(source: str, window: WindowPx, roots: Sequence[Path]) -> NDArray[Any]:
    """All bands of a window at full depth, native grid: (H, W, B) in the raster's dtype. Raises NotAllowed,
    InvalidRaster."""
    with opened(resolve(source, roots)) as dataset:
        return _read(dataset, range(1, dataset.count + 1), window)


def read_rgb(source: str, window: WindowPx, render: Render | str, roots: Sequence[Path]) -> RGB:
    """A window as annotators see it: uint8 (H, W, 3), nodata black. `render`: the scene's, or its text. Raises
    NotAllowed, InvalidRaster, InvalidInput (a render that does not fit)."""
    spec = render if isinstance(render, Render) else Render.parse(render)
    with opened(resolve(source, roots)) as dataset:
        if max(spec.bands) > dataset.count:
            raise InvalidRaster(f"{source} has {dataset.count} bands, the tile shows {spec.bands}; ingest it again")
        bands = _read(dataset, spec.bands, window)
        palette = _palette(dataset, spec)
        shown = bands if palette is None else palette[bands[:, :, 0]]
        return to_rgb(shown, _visible(dataset, window, spec), spec)


def valid_pixels(dataset: Any, window: WindowPx) -> NDArray[np.bool_]:
    """(H, W), True where an open raster has data: not nodata in every band, not masked, not transparent, not NaN."""
    place = checked(dataset, window, 1)
    mask: NDArray[np.bool_] = dataset.dataset_mask(window=place) != 0
    if np.issubdtype(np.dtype(dataset.dtypes[0]), np.floating):
        mask &= np.isfinite(dataset.read(1, window=place))
    return mask


def all_valid(dataset: Any) -> bool:
    """Whether an open raster can't have pixels without data, so that nobody needs to look."""
    floating = np.issubdtype(np.dtype(dataset.dtypes[0]), np.floating)
    return not floating and all(MaskFlags.all_valid in flags for flags in dataset.mask_flag_enums)


def _read(dataset: Any, bands: Sequence[int], window: WindowPx) -> NDArray[Any]:
    place = checked(dataset, window, len(bands))
    pixels: NDArray[Any] = dataset.read(indexes=list(bands), window=place)
    if pixels.dtype == np.uint8 and len(bands) == 3:
        merged: NDArray[Any] = cv2.merge(list(pixels))  # several times faster than a transposed copy
        return merged
    return np.ascontiguousarray(pixels.transpose(1, 2, 0))


def _visible(dataset: Any, window: WindowPx, render: Render) -> NDArray[np.bool_]:
    # uint8 with a nodata value is shown as it is: NEON declares 255, and a sunlit roof is not a hole.
    by_value = any(MaskFlags.nodata in flags for flags in dataset.mask_flag_enums)
    if all_valid(dataset) or (render.stretch is None and by_value):
        return np.ones((window[3], window[2]), dtype=bool)
    return valid_pixels(dataset, window)


def _palette(dataset: Any, render: Render) -> NDArray[np.uint8] | None:
    """(256, 3) for a paletted picture."""
    if dataset.colorinterp[0].name != "palette" or render.bands != (1,) or dataset.dtypes[0] != "uint8":
        return None
    table = np.zeros((256, 3), dtype=np.uint8)
    for value, colour in dataset.colormap(1).items():
        table[value] = colour[:3]
    return table


def _probe(dataset: Any) -> None:
    if dataset.count == 0 or np.issubdtype(np.dtype(dataset.dtypes[0]), np.complexfloating):
        raise InvalidRaster(
            f"{dataset.name} has {dataset.count} bands of {', '.join(set(dataset.dtypes)) or 'nothing'}; "
            "only real numbers can be shown: convert complex SAR to amplitude first"
        )
    _read(dataset, [1], (0, 0, 1, 1))
    _read(dataset, [dataset.count], (dataset.width - 1, dataset.height - 1, 1, 1))


def _georef(dataset: Any, path: Path, xyz: str | None) -> GeoRef | None:
    if xyz is not None:
        return slippy_georef(path, xyz, dataset.width, dataset.height)
    if dataset.crs is None or dataset.transform.is_identity:
        if dataset.driver != "GTiff":
            return None
        raise InvalidRaster(_unplaced(dataset, path))
    transform: Affine = tuple(float(v) for v in tuple(dataset.transform)[:6])  # type: ignore[assignment]
    a, b, _, d, e, _ = transform
    if not all(map(math.isfinite, transform)) or a * e - b * d == 0:
        raise InvalidRaster(f"{path} has the transform {transform}, which can't be inverted; correct it with gdal_edit")
    return GeoRef(crs_text(dataset.crs), transform)


def _unplaced(dataset: Any, path: Path) -> str:
    if dataset.gcps[0] or dataset.rpcs is not None:
        return f"{path} is placed by ground control points or RPCs only; warp it first: gdalwarp IN OUT"
    if dataset.crs is None:
        return f"{path} has no CRS; give it the one it was made in: gdal_edit.py -a_srs EPSG:… {path.name}"
    return f"{path} has a CRS but no transform; set it with gdal_edit.py -a_ullr … {path.name}"


def _acquired(dataset: Any) -> str | None:
    match = re.match(r"(\d{4}):(\d\d):(\d\d) (\d\d):(\d\d):(\d\d)", dataset.tags().get("TIFFTAG_DATETIME", ""))
    return "{}-{}-{}T{}:{}:{}".format(*match.groups()) if match else None


def _render(dataset: Any) -> Render:
    bands = choose_bands(dataset.count, [c.name for c in dataset.colorinterp])
    if all(dataset.dtypes[b - 1] == "uint8" for b in bands):
        return Render(bands)
    scale = max(1.0, max(dataset.width, dataset.height) / _OVERVIEW)
    shape = (max(1, int(dataset.height / scale)), max(1, int(dataset.width / scale)))
    pixels = dataset.read(indexes=list(bands), out_shape=(len(bands), *shape)).transpose(1, 2, 0)
    return Render(bands, compute_stretch(pixels, dataset.dataset_mask(out_shape=shape) != 0))
