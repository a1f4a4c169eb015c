"""Where an open raster has data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags

from groundlook.core.geo import WindowPx
from groundlook_adapters.rasters.reading.opened import checked

Mask = NDArray[np.bool_]


def valid_pixels(dataset: Any, window: WindowPx) -> Mask:
    """(H, W), True where an open raster has data: not nodata in every band, not masked, not transparent, not NaN."""
    place = checked(dataset, window, 1)
    return _valid(
        dataset,
        lambda: dataset.dataset_mask(window=place),
        lambda band: dataset.read(band, window=place),
        lambda band: dataset.read_masks(band, window=place),
        range(1, dataset.count + 1),
    )


def valid_decimated(dataset: Any, shape: tuple[int, int], bands: Sequence[int]) -> Mask:
    """`valid_pixels` of the whole raster, decimated to `shape` (H, W); whether floats are numbers is looked up in
    `bands` only."""
    return _valid(
        dataset,
        lambda: dataset.dataset_mask(out_shape=shape),
        lambda band: dataset.read(band, out_shape=shape),
        lambda band: dataset.read_masks(band, out_shape=shape),
        bands,
    )


def _valid(
    dataset: Any,
    whole: Callable[[], NDArray[Any]],
    read: Callable[[int], NDArray[Any]],
    mask_of: Callable[[int], NDArray[Any]],
    bands: Sequence[int],
) -> Mask:
    alpha = _wide_alpha(dataset)
    mask: Mask = (read(alpha) if alpha else whole()) != 0
    looked = [b for b in bands if dataset.colorinterp[b - 1] != ColorInterp.alpha]
    if not looked or not all(np.issubdtype(np.dtype(dataset.dtypes[b - 1]), np.floating) for b in looked):
        return mask
    # GDAL's masks know a declared nodata value only: NaN beside it, or without one, is no data either.
    finite = np.zeros_like(mask)
    for band in looked:
        here = np.isfinite(read(band))
        if MaskFlags.nodata in dataset.mask_flag_enums[band - 1]:
            here &= mask_of(band) != 0
        finite |= here
        if finite[mask].all():
            break
    result: Mask = mask & finite
    return result


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
