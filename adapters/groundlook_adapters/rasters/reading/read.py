"""Scenes: opening a raster, and reading windows of it on its native grid.

A scene that control points or RPCs place has a grid of its own (see `warp`); every window here refers to that one.
Where its file declares no nodata value, its last band is an alpha band that says what lies inside.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput, InvalidRaster
from groundlook.core.geo import GeoRef, WindowPx
from groundlook_adapters.rasters.pictures.render import (
    RGB,
    Choice,
    Render,
    Stretch,
    needs_no_sample,
    plan,
    stretched,
    to_rgb,
)
from groundlook_adapters.rasters.reading.georef import georef_of
from groundlook_adapters.rasters.reading.masks import all_valid, by_value, has_nodata, in_every, valid_pixels
from groundlook_adapters.rasters.reading.opened import checked, opened, opened_place, place_of, read_bands
from groundlook_adapters.rasters.reading.sample import WHOLE_PIXELS, overview, sample

__all__ = [
    "RGB",
    "Scene",
    "all_valid",
    "open_scene",
    "opened",
    "quicklook",
    "read_rgb",
    "read_window",
    "valid_pixels",
]

_MOST_SIDE = 8192
_AS_IS = Choice()
_MERGED = (np.uint8, np.uint16, np.int16, np.float32)


@dataclass(frozen=True, slots=True)
class Scene:
    """One raster. `id`: 16 hex digits of sha256 over source, etag and render. `source`: absolute path, symlinks
    resolved, or URL. `width`, `height`, `bands`: of the grid that windows refer to. `acquired`: ISO 8601 without zone,
    from TIFFTAG_DATETIME. `georef` is None for a plain image."""

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


def open_scene(
    path: str | Path,
    roots: Sequence[Path],
    xyz: str | None = None,
    *,
    crs: str | None = None,
    choice: Choice = _AS_IS,
    hosts: Sequence[str] = (),
) -> Scene:
    """Look at a raster: size, place, how to show it. Its first and last block are read, so that a truncated file is
    found here and not by an annotator.

    `path`: a file, or an http(s), s3, gs or az URL that `hosts` lists. `xyz`: file-name pattern of slippy-map tiles,
    "OAM-{x}-{y}-{z}.png", which then gives the georeference. `crs`: for a raster that has a transform but no CRS.
    Raises NotAllowed (outside `roots` or `hosts`), InvalidRaster (can't be read or placed), InvalidInput (a bad
    pattern, or a `choice` that the raster can't serve).
    """
    place = place_of(path, roots, hosts)
    with opened_place(place) as (mark, dataset):
        _probe(dataset, place.name)
        georef = georef_of(dataset, place.name, xyz, crs)
        render = _render(dataset, place.name, choice)
        shown = f"{place.name}|{mark}|{render.text()}"  # pictures are cached by id: another render is another scene
        return Scene(
            id=hashlib.sha256(shown.encode(errors="surrogateescape")).hexdigest()[:16],
            source=place.name,
            etag=mark,
            width=dataset.width,
            height=dataset.height,
            bands=dataset.count,
            dtype=str(dataset.dtypes[0]),
            georef=georef,
            acquired=_acquired(_tags(dataset)),
            render=render,
        )


def copyright_of(
    source: str, roots: Sequence[Path], *, etag: str | None = None, hosts: Sequence[str] = ()
) -> str | None:
    """What the file says of its owner (TIFFTAG_COPYRIGHT), 1,000 characters at most. `etag`: the one that the raster
    must still have. Raises NotAllowed, InvalidRaster."""
    with opened(source, roots, hosts, etag=etag) as dataset:
        return _tags(dataset).get("TIFFTAG_COPYRIGHT", "").strip()[:1000] or None


def read_window(
    source: str, window: WindowPx, roots: Sequence[Path], *, etag: str | None = None, hosts: Sequence[str] = ()
) -> NDArray[Any]:
    """All bands of a window at full depth, native grid: (H, W, B) in the raster's dtype, where bands differ in
    theirs in one that holds them all. `etag`: the one that the raster must still have. Raises NotAllowed,
    InvalidRaster."""
    with opened(source, roots, hosts, etag=etag) as dataset:
        return _read(dataset, range(1, dataset.count + 1), window)


def read_rgb(
    source: str,
    window: WindowPx,
    render: Render | str,
    roots: Sequence[Path],
    *,
    etag: str | None = None,
    hosts: Sequence[str] = (),
) -> RGB:
    """A window as annotators see it: uint8 (H, W, 3), nodata black. `render`: the scene's, or its text. `etag`: the
    one that the raster must still have. Raises NotAllowed, InvalidRaster, InvalidInput (a render that does not fit).
    """
    spec = _spec(render)
    with opened(source, roots, hosts, etag=etag) as dataset:
        needs = _needs(dataset, source, spec)
        return _shown(dataset, _read(dataset, needs, window), _visible(dataset, window, spec), spec)


def quicklook(
    source: str,
    render: Render | str,
    roots: Sequence[Path],
    side: int,
    *,
    etag: str | None = None,
    hosts: Sequence[str] = (),
) -> RGB:
    """The whole scene, its longest side at most `side` px: uint8 (h, w, 3), nodata black.

    From overviews where there are some. Without them all of it is decoded, in bounded memory; one of more than 2²⁸
    pixels is then shown coarsely, by one pixel of each of 64 × 64 cells. Raises as `read_rgb` does.
    """
    if not 1 <= side <= _MOST_SIDE:
        raise InvalidInput(f"a quick-look of {side} px: use 1 … {_MOST_SIDE}")
    spec = _spec(render)
    with opened(source, roots, hosts, etag=etag) as dataset:
        pixels, valid = overview(dataset, _needs(dataset, source, spec), side, bool(spec.expressions))
        shown = np.ones_like(valid) if _as_it_is(dataset, spec) else valid
        return _shown(dataset, pixels, shown, spec)


def _spec(render: Render | str) -> Render:
    return render if isinstance(render, Render) else Render.parse(render)


def _needs(dataset: Any, source: str, render: Render) -> tuple[int, ...]:
    needs = render.needs()
    if needs and max(needs) > dataset.count:
        raise InvalidRaster(f"{source} has {dataset.count} bands, the tile shows {needs}; ingest it again")
    return needs


def _read(dataset: Any, bands: Sequence[int], window: WindowPx) -> NDArray[Any]:
    place = checked(dataset, window, len(bands))
    pixels = read_bands(dataset, bands, window=place)
    if pixels.dtype in _MERGED and len(bands) == 3:
        merged: NDArray[Any] = cv2.merge(list(pixels))  # several times faster than a transposed copy
        return merged
    return np.ascontiguousarray(pixels.transpose(1, 2, 0))


def _shown(dataset: Any, bands: NDArray[Any], valid: NDArray[np.bool_], render: Render) -> RGB:
    palette = _palette(dataset, render)
    return to_rgb(bands if palette is None else palette[bands[:, :, 0]], valid, render)


def _visible(dataset: Any, window: WindowPx, render: Render) -> NDArray[np.bool_]:
    if all_valid(dataset) or _as_it_is(dataset, render):
        return np.ones((window[3], window[2]), dtype=bool)
    valid = valid_pixels(dataset, window)
    if render.expressions and has_nodata(dataset, render.needs()):
        valid &= in_every(dataset, render.needs(), window=checked(dataset, window, 1))
    return valid


def _as_it_is(dataset: Any, render: Render) -> bool:
    """uint8 with a nodata value is shown as it is: NEON declares 255, and a sunlit roof is not a hole."""
    return render.stretch is None and by_value(dataset)


def _palette(dataset: Any, render: Render) -> NDArray[np.uint8] | None:
    """(256, 3) for a paletted picture."""
    plain = render.bands == (1,) and render.stretch is None
    if not plain or dataset.colorinterp[0].name != "palette" or dataset.dtypes[0] != "uint8":
        return None
    table = np.zeros((256, 3), dtype=np.uint8)
    for value, colour in dataset.colormap(1).items():
        table[value] = colour[:3]
    return table


def _probe(dataset: Any, name: str) -> None:
    if dataset.count == 0 or any(t.startswith("complex") for t in dataset.dtypes):
        raise InvalidRaster(
            f"{name} has {dataset.count} bands of {', '.join(sorted(set(dataset.dtypes))) or 'nothing'}; "
            "only real numbers can be shown: convert complex SAR to amplitude first"
        )
    _read(dataset, [1], (0, 0, 1, 1))
    _read(dataset, [dataset.count], (dataset.width - 1, dataset.height - 1, 1, 1))


def _tags(dataset: Any) -> dict[str, str]:
    tags: dict[str, str] = getattr(dataset, "src_dataset", dataset).tags()
    return tags


def _acquired(tags: dict[str, str]) -> str | None:
    match = re.match(r"(\d{4}):(\d\d):(\d\d) (\d\d):(\d\d):(\d\d)", tags.get("TIFFTAG_DATETIME", ""))
    return "{}-{}-{}T{}:{}:{}".format(*match.groups()) if match else None


def _render(dataset: Any, name: str, choice: Choice) -> Render:
    interpretation = [colour.name for colour in dataset.colorinterp]
    try:
        render = plan(dataset.count, interpretation, dataset.dtypes, choice, dataset.offsets, dataset.scales)
        whole = dataset.width * dataset.height <= WHOLE_PIXELS  # is read to its last pixel, and broken ones are found
        plain = needs_no_sample(render, [dataset.dtypes[band - 1] for band in render.needs()])
        if plain and not whole and all_valid(dataset):
            return render
        pixels, valid = sample(dataset, render.needs())
        if not valid.any():
            raise InvalidRaster(
                f"{name} has no pixel with data (all nodata, masked or transparent); nothing to label in it"
            )
        return stretched(render, pixels, valid)
    except InvalidRaster:
        raise
    except InvalidInput as error:
        raise InvalidInput(f"{name}: {error}") from None
