"""Where an open raster has data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.windows import Window

from groundlook.core.geo import WindowPx
from groundlook_adapters.rasters.reading.opened import checked

Mask = NDArray[np.bool_]


def valid_pixels(dataset: Any, window: WindowPx) -> Mask:
    """(H, W), True where an open raster has data: not nodata in every band, not masked, not transparent, not NaN."""
    return _valid(dataset, range(1, dataset.count + 1), window=checked(dataset, window, 1))


def valid_decimated(
    dataset: Any, shape: tuple[int, int], bands: Sequence[int] | None = None, window: WindowPx | None = None
) -> Mask:
    """`valid_pixels` of a window (None: the whole raster), decimated to `shape` (H, W). `bands`: where floats are
    looked at for being numbers, None for all."""
    place: dict[str, Any] = {"out_shape": shape}
    if window is not None:
        place["window"] = Window(*window)
    return _valid(dataset, range(1, dataset.count + 1) if bands is None else bands, **place)


def _valid(dataset: Any, bands: Sequence[int], **place: Any) -> Mask:
    alpha = _wide_alpha(dataset)
    mask: Mask = (dataset.read(alpha, **place) if alpha else dataset.dataset_mask(**place)) != 0
    looked = [b for b in bands if dataset.colorinterp[b - 1] != ColorInterp.alpha]
    if not looked or not all(np.issubdtype(np.dtype(dataset.dtypes[b - 1]), np.floating) for b in looked):
        return mask
    # GDAL's masks know a declared nodata value only: NaN beside it, or without one, is no data either.
    finite = np.zeros_like(mask)
    for band in looked:
        here = np.isfinite(dataset.read(band, **place))
        if has_nodata(dataset, [band]):
            here &= dataset.read_masks(band, **place) != 0
        finite |= here
        if finite[mask].all():
            break
    result: Mask = mask & finite
    return result


def has_nodata(dataset: Any, bands: Sequence[int]) -> bool:
    """Whether one of `bands` declares a nodata value."""
    return any(MaskFlags.nodata in dataset.mask_flag_enums[band - 1] for band in bands)


def in_every(dataset: Any, bands: Sequence[int], **place: Any) -> Mask:
    """(H, W), True where none of `bands` has its nodata value: `valid_pixels` is content with one band that has data,
    what is computed from several is not. `place`: `window` or `out_shape`, as rasterio takes them."""
    masks = [dataset.read_masks(band, **place) != 0 for band in bands if has_nodata(dataset, [band])]
    return np.asarray(np.logical_and.reduce(masks), dtype=bool)


def all_valid(dataset: Any) -> bool:
    """Whether an open raster can't have pixels without data, so that nobody needs to look."""
    if _wide_alpha(dataset):
        return False
    floating = any(np.issubdtype(np.dtype(name), np.floating) for name in dataset.dtypes)
    return not floating and all(MaskFlags.all_valid in flags for flags in dataset.mask_flag_enums)


def _wide_alpha(dataset: Any) -> int | None:
    """The band of an alpha that GDAL takes for no mask, as it is neither uint8 nor uint16."""
    names = zip(dataset.colorinterp, dataset.dtypes, strict=True)
    found = (b for b, (c, t) in enumerate(names, 1) if c == ColorInterp.alpha and t not in ("uint8", "uint16"))
    return next(found, None)


def by_value(dataset: Any) -> bool:
    """Whether a nodata value is declared."""
    return any(MaskFlags.nodata in flags for flags in dataset.mask_flag_enums)
