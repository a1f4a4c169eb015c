"""GDAL behind a guard: known drivers, no stray network, no stray output, every failure one InvalidRaster."""

from __future__ import annotations

import hashlib
import os
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.errors
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.windows import Window

from groundlook.core.errors import GroundlookError, InvalidRaster, NotAllowed
from groundlook.core.geo import WindowPx
from groundlook_adapters.rasters.reading import remote, vrt
from groundlook_adapters.rasters.reading.files import DRIVERS, driver_of, driver_of_head, etag, resolve, stamp
from groundlook_adapters.rasters.reading.pool import Held, Key, Pool
from groundlook_adapters.rasters.reading.ranges import OneFile, Ranges
from groundlook_adapters.rasters.reading.warp import needs_warp, warped

_GDAL = {
    "GDAL_CACHEMAX": 256 * 2**20,
    "GDAL_ERROR_ON_LIBJPEG_WARNING": "TRUE",  # a truncated JPEG is an error, not half a grey picture
    "GDAL_VRT_ENABLE_PYTHON": "NO",
}
_LOCAL = {
    # A folder of 100,000 tiles is not listed for each of them; .msk, .ovr, .aux.xml and world files are looked for
    # by name all the same. EMPTY_DIR would not see them.
    "GDAL_DISABLE_READDIR_ON_OPEN": "TRUE",
    "CPL_VSIL_CURL_ALLOWED_FILENAME": "/none",  # a local file can name URLs, as overviews for example
}
_SIDECARS = (".msk", ".ovr", ".aux.xml")
_WORLD = (".tfw", ".tifw", ".pgw", ".pngw", ".jgw", ".jpgw", ".j2w", ".wld")

MAX_WINDOW_BYTES = 2**30
"""What one read may take, all bands together; also the most pixels of a one-byte band."""

MAX_BLOCK_BYTES = 2**28
"""The least that GDAL reads of a file is one block."""

_ERRORS = (rasterio.errors.RasterioError, CPLE_BaseError)
_idle = Pool()
_seen = remote.Memory()


@dataclass(frozen=True, slots=True)
class Place:
    """A raster that may be read. `name`: its real path or its URL. `key`: what changes when it must be opened anew.
    `etag`: "" for a file in a bucket, whose content says it once it is open. `served`: of one behind http(s)."""

    name: str
    gdal: str
    drivers: tuple[str, ...]
    options: tuple[tuple[str, Any], ...]
    key: Key
    etag: str
    within: tuple[Path, ...]
    shows: tuple[Path, ...] = ()
    served: tuple[remote.Remote, remote.Look] | None = None


def place_of(source: str | os.PathLike[str], roots: Sequence[Path] | None, hosts: Sequence[str] = ()) -> Place:
    """Look at a path or URL before GDAL does. `roots` None: the path was allowed before, by `files.resolve`; what it
    refers to must then lie in its own folder. Raises NotAllowed, InvalidRaster."""
    text = os.fspath(source)
    if remote.is_remote(text):
        found: Place = _seen.get((text, tuple(hosts)), lambda: _remote(text, hosts))
        return found
    path = Path(text) if roots is None else resolve(source, roots)
    within = (path.parent,) if roots is None else tuple(roots)
    driver = driver_of(path)
    key: Key = (str(path), stamp(path), tuple(map(_stamp_of, _beside(path))))
    mark = etag(path)
    shown: tuple[Path, ...] = ()
    if driver == "VRT":
        shown = _seen.get((key, within), lambda: vrt.sources(path, within))
        mark = hashlib.sha256("|".join([mark, *map(etag, shown)]).encode()).hexdigest()[:32]
        key = (*key, mark, *(s for file in shown for s in map(_stamp_of, (str(file), *_beside(file)))))
    return Place(str(path), str(path), (driver,), tuple(_LOCAL.items()), key, mark, within, shown)


def _remote(text: str, hosts: Sequence[str]) -> Place:
    found = remote.allowed(text, hosts)
    if found.scheme not in ("http", "https"):
        options = tuple(found.options().items())
        return Place(found.url, found.gdal, DRIVERS, options, (found.url, time.monotonic()), "", ())
    looked = remote.look(found)
    driver = driver_of_head(looked.head, found.url)
    if driver not in DRIVERS:
        raise NotAllowed(f"{found.url} is a {driver}, which names further files; give those themselves")
    options, key = tuple(found.options().items()), (found.url, looked.etag)
    return Place(found.url, found.gdal, (driver,), options, key, looked.etag, (), served=(found, looked))


def _beside(path: Path) -> list[str]:
    """What GDAL reads with a file where it exists."""
    return [str(path) + s for s in _SIDECARS] + [str(path.with_suffix(s)) for s in _WORLD]


def _stamp_of(path: str) -> tuple[int, int, int] | None:
    try:
        info = os.stat(path)
    except OSError:
        return None
    return info.st_ino, info.st_size, info.st_mtime_ns


@contextmanager
def opened(
    source: str | os.PathLike[str],
    roots: Sequence[Path] | None = None,
    hosts: Sequence[str] = (),
    *,
    etag: str | None = None,
) -> Iterator[Any]:
    """The rasterio dataset of a path or URL, for this thread alone until the block ends, then kept open for the next.
    One that control points or RPCs place comes warped (see `warp`). GDAL's errors inside the block, too, become
    InvalidRaster: one line that names the file and what to do.

    `roots`, `hosts`: what may be read; `roots` None for a path that `files.resolve` allowed already, whose VRT then
    may show files of its own folder only. `etag`: InvalidRaster where the file's is another one now.
    """
    with opened_place(place_of(source, roots, hosts), etag) as (_, dataset):
        yield dataset


@contextmanager
def opened_place(place: Place, etag: str | None = None) -> Iterator[tuple[str, Any]]:
    """`opened`, with the raster's etag."""
    if place.etag:
        check_etag(place, place.etag, etag)
    # Plain images have no georeference, which is no news here. `catch_warnings` would change the filters of every
    # thread and put back a stale list; a filter that stays is safe.
    warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
    with rasterio.Env(**_GDAL, **dict(place.options)):
        held = None
        try:
            held = _idle.take(place.key) or _open(place)
            _check_files(place, held)
            mark = place.etag or _fingerprint(place, held)
            check_etag(place, mark, etag)
            yield mark, held.dataset
            held.check()
        except GroundlookError:
            _back(place, held)
            raise
        except _ERRORS as error:
            _close(held)
            _check(held)
            raise InvalidRaster(_broken(place, error)) from None
        except BaseException:
            _close(held)
            raise
        else:
            _back(place, held)


def check_etag(place: Place, now: str, expected: str | None) -> None:
    """Raises InvalidRaster naming both where a raster is not the one that was ingested."""
    if expected and expected != now:
        raise InvalidRaster(
            f"{place.name} was replaced: it has the etag {now}, the tile was made of {expected}; ingest it again"
        )


def close_idle() -> None:
    """Close what is kept open, so that files can be moved on systems that lock open ones."""
    _idle.clear()


def _back(place: Place, held: Held | None) -> None:
    if held is not None and held.ranges is not None and held.ranges.failure is not None:
        held.close()  # GDAL keeps blocks of what it could not read
    elif held is not None:
        _idle.give(place.key, held)


def _close(held: Held | None) -> None:
    if held is not None:
        held.close()


def _check(held: Held | None) -> None:
    if held is not None:
        held.check()


def _open(place: Place) -> Held:
    for file in place.shows:
        _check_source(place, file)
    ranges = None if place.served is None else Ranges(*place.served)
    try:
        dataset = _first(place, ranges)
    except BaseException:
        if ranges is not None:
            ranges.close()
            if ranges.failure is not None:
                raise ranges.failure from None
        raise
    held = Held(dataset, ranges=ranges)
    try:
        _check_overviews(place, dataset)
        held = replace(held, files=tuple(file for file in dataset.files if file != dataset.name))
        _check_files(place, held)
        _check_blocks(place, dataset)
        if needs_warp(dataset):
            held = replace(held, dataset=warped(dataset), under=(dataset,))
    except BaseException:
        held.close()
        raise
    return held


def _first(place: Place, ranges: Ranges | None) -> Any:
    """Opened by the only driver that fits it; in a bucket each is tried, as GDAL alone can read its first bytes."""
    if ranges is not None and place.served is not None:
        one = OneFile(place.gdal, ranges, place.served[1].size)
        return rasterio.open(place.gdal, driver=place.drivers[0], opener=one)
    for driver in place.drivers[:-1]:
        try:
            return rasterio.open(place.gdal, driver=driver)
        except _ERRORS as error:
            if "not recognized" not in _reason(error):
                raise
    return rasterio.open(place.gdal, driver=place.drivers[-1])


def _check_files(place: Place, held: Held) -> None:
    """A raster can name others as its overviews, mask or second half, and sidecars can be links."""
    for file in held.files:
        if file == place.gdal:
            continue
        if not place.within or remote.is_remote(file):
            raise NotAllowed(
                f"{place.name} refers to {file[:200]!r}, which may not be read; copy it with gdal_translate"
            )
        try:
            resolve(file, place.within)
        except GroundlookError as error:
            raise NotAllowed(f"{place.name} refers to a file that may not be read: {error}") from None


def _check_overviews(place: Place, dataset: Any) -> None:
    """Before anything asks for overviews, as GDAL would then open whatever file or URL the metadata name."""
    named = dataset.tags(ns="OVERVIEWS").get("OVERVIEW_FILE", "")
    if not named:
        return
    if not place.within or remote.is_remote(named):
        raise NotAllowed(f"{place.name} names overviews at {named[:200]!r}, which may not be read with it")
    try:
        resolve(Path(place.name).parent / named.removeprefix(":::BASE:::"), place.within)
    except GroundlookError as error:
        raise NotAllowed(f"{place.name} refers to a file that may not be read: {error}") from None


def _check_source(place: Place, file: Path) -> None:
    """One of the files that a VRT shows, as strictly as if it were opened by itself."""
    with rasterio.open(str(file), driver=driver_of(file)) as dataset:
        inner = replace(place, name=str(file), gdal=str(file))
        _check_overviews(inner, dataset)
        _check_files(inner, Held(dataset, tuple(dataset.files)))
        _check_blocks(inner, dataset)


def _check_blocks(place: Place, dataset: Any) -> None:
    together = dataset.count if str(dataset.profile.get("interleave", "")).lower() == "pixel" else 1
    for (height, width), dtype in zip(dataset.block_shapes, dataset.dtypes, strict=True):
        size = height * width * _itemsize(dtype) * together
        if size > MAX_BLOCK_BYTES:
            raise InvalidRaster(
                f"{place.name} is stored in blocks of {width} × {height} px ({size >> 20} MiB), more than "
                f"{MAX_BLOCK_BYTES >> 20}; make a COG of it: gdal_translate -of COG IN OUT"
            )


def _fingerprint(place: Place, held: Held) -> str:
    """Of a file in a bucket, where nobody tells us its ETag: what its header says, and its first and last block."""

    def make() -> str:
        dataset = held.dataset
        header = [dataset.profile, dataset.tags(), dataset.overviews(1) if dataset.count else ()]
        digest = hashlib.sha256(repr(header).encode())
        for band in {1, dataset.count}:
            height, width = dataset.block_shapes[band - 1]
            last = (dataset.width - 1) // width, (dataset.height - 1) // height
            for i, j in ((0, 0), last):
                for item in ("OFFSET", "SIZE"):
                    digest.update(repr(dataset.get_tag_item(f"BLOCK_{item}_{i}_{j}", "TIFF", bidx=band)).encode())
                box = Window(i * width, j * height, width, height).intersection(
                    Window(0, 0, dataset.width, dataset.height)
                )
                digest.update(dataset.read(band, window=box).tobytes())
        return f"b-{digest.hexdigest()[:24]}"

    found: str = _seen.get((place.key, "fingerprint"), make)
    return found


def _broken(place: Place, error: Exception) -> str:
    reason = _reason(error)
    if remote.is_remote(place.name):
        return f"{place.name} can't be read ({reason}); check the address and whether the file is whole"
    return f"{place.name} is truncated or damaged ({reason}); copy or download it again"


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


def read_bands(
    dataset: Any, bands: Sequence[int], window: Window | None = None, shape: tuple[int, int] | None = None
) -> NDArray[Any]:
    """`bands` of an open raster, (B, H, W), decimated to `shape` (H, W) if given; where they differ in type, in one
    that holds them all."""
    if len({dataset.dtypes[band - 1] for band in bands}) > 1:
        return np.stack([dataset.read(band, window=window, out_shape=shape) for band in bands])
    whole = None if shape is None else (len(bands), *shape)
    pixels: NDArray[Any] = dataset.read(indexes=list(bands), window=window, out_shape=whole)
    return pixels


def _itemsize(dtype: str) -> int:
    return {"8": 1, "16": 2, "32": 4, "64": 8, "128": 16}.get(dtype.lstrip("abcdefghijklmnopqrstuvwxyz_"), 8)
