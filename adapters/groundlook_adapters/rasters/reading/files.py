"""Which files may be read, what they are, and whether they changed."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from groundlook.core.errors import InvalidRaster, NotAllowed

SUFFIXES = frozenset(
    {".tif", ".tiff", ".png", ".jpg", ".jpeg", ".webp", ".jp2", ".j2k", ".img", ".ntf", ".nitf", ".vrt"}
)
"""What a folder is searched for. What a file is, its first bytes say: OpenAerialMap serves JPEGs named .png."""

DRIVERS = ("GTiff", "JP2OpenJPEG", "PNG", "JPEG", "WEBP", "HFA", "NITF")
"""The GDAL drivers of plain raster files. A VRT is opened only after `vrt.sources` has looked at it."""

HEAD = 1024
"""Bytes at a file's start that tell what it is."""

_END, _PROBES, _PROBE = 65536, 14, 4096
_CACHED = 4096
_FORMATS = "GeoTIFF, JPEG 2000, PNG, JPEG, WebP, ERDAS Imagine, NITF or VRT"

_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"II*\0", "GTiff"),
    (b"MM\0*", "GTiff"),
    (b"II+\0", "GTiff"),
    (b"MM\0+", "GTiff"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JP2OpenJPEG"),
    (b"\xff\x4f\xff\x51", "JP2OpenJPEG"),
    (b"EHFA_HEADER_TAG", "HFA"),
    (b"NITF0", "NITF"),
    (b"NSIF0", "NITF"),
)
_VRT = re.compile(rb"\s*(?:<\?xml[^>]*\?>\s*)?<VRTDataset[\s>]")

Stamp = tuple[int, int, int, int]
"""(device, inode, size, modification time in ns): a file that keeps all four is taken for unchanged."""


def resolve(path: str | os.PathLike[str], roots: Sequence[Path]) -> Path:
    """The real path, symlinks followed, which must lie in one of `roots`. It need not exist, so that whoever asks
    for a path outside learns nothing about it. Raises NotAllowed, InvalidRaster (a path that no system has)."""
    text = os.fspath(path)
    if text.startswith("/vsi"):
        raise NotAllowed(f"{text[:200]}: GDAL's virtual paths are not taken; give the file's own path or URL")
    try:
        real = Path(os.path.realpath(path))
    except (ValueError, OSError) as error:
        raise InvalidRaster(f"{text!r} is not a path: {error}") from None
    if not _is_text(f"{text}{real}"):
        raise InvalidRaster(f"{text!r} has a name that is not UTF-8, which no task can hold; rename it")
    if any(real.is_relative_to(os.path.realpath(root)) for root in roots):
        return real
    allowed = ", ".join(str(root) for root in roots) or "none"
    raise NotAllowed(
        f"{text} is outside the folders that may be read ({allowed}); "
        "add its folder to GROUNDLOOK_ROOTS, or move the file"
    )


def _is_text(name: str) -> bool:
    """Whether a name is Unicode: Python keeps bytes that are not as halves of surrogate pairs."""
    return not any("\ud800" <= c <= "\udfff" for c in name)


def stamp(path: str | os.PathLike[str]) -> Stamp:
    """Of a regular file. Raises InvalidRaster saying what it is instead; opening a pipe would wait for ever."""
    try:
        info = os.stat(path)
    except FileNotFoundError:
        raise InvalidRaster(f"{os.fspath(path)} does not exist; check the path") from None
    except OSError as error:
        raise InvalidRaster(f"{os.fspath(path)} can't be read: {error.strerror}") from None
    if stat.S_ISDIR(info.st_mode):
        raise InvalidRaster(f"{os.fspath(path)} is a folder; name a raster file in it")
    if not stat.S_ISREG(info.st_mode):
        raise InvalidRaster(f"{os.fspath(path)} is not a regular file; copy its content to one")
    return info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns


def etag(path: Path) -> str:
    """A short text that changes when the content does: the size, and sha256 over the first and last 64 KiB and 14
    pieces of 4 KiB evenly spaced between. A copy of the file has the same one. Reading all of a scene of many
    gigabytes at every check would cost more than the check is worth. It is remembered until the file's `stamp`
    changes. Raises InvalidRaster."""
    now = stamp(path)
    known = _KNOWN.get(str(path), now)
    if known is None:
        known = content_tag(path)
        _KNOWN.put(str(path), now, known)
    return known


def content_tag(path: Path) -> str:
    """`etag`, always read from the file."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            digest = hashlib.sha256(file.read(_END))
            between = max(0, size - 2 * _END)
            for i in range(_PROBES if between else 0):
                file.seek(_END + max(0, between - _PROBE) * i // (_PROBES - 1))
                digest.update(file.read(_PROBE))
            file.seek(max(_END, size - _END))
            digest.update(file.read(_END))
    except OSError as error:
        raise InvalidRaster(f"{path} can't be read: {error.strerror}") from None
    return f"{size:x}-{digest.hexdigest()[:24]}"


class _Known:
    """Etags by path, the least recently used forgotten first. Thread-safe."""

    def __init__(self, most: int) -> None:
        self._most, self._rows, self._lock = most, OrderedDict[str, tuple[Stamp, str]](), threading.Lock()

    def get(self, path: str, now: Stamp) -> str | None:
        with self._lock:
            row = self._rows.get(path)
            if row is None or row[0] != now:
                return None
            self._rows.move_to_end(path)
            return row[1]

    def put(self, path: str, now: Stamp, tag: str) -> None:
        with self._lock:
            self._rows[path] = (now, tag)
            self._rows.move_to_end(path)
            while len(self._rows) > self._most:
                self._rows.popitem(last=False)


_KNOWN = _Known(_CACHED)


def driver_of(path: Path) -> str:
    """The GDAL driver for what the file's first bytes say it is. Raises InvalidRaster."""
    if stamp(path)[2] == 0:
        raise InvalidRaster(f"{path} is empty (0 bytes); copy or download it again")
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        raise InvalidRaster(f"{path} can't be read: {error.strerror}") from None
    return driver_of_head(head, str(path))


def driver_of_head(head: bytes, name: str) -> str:
    """The GDAL driver for a file that starts with `head`. Only those of `DRIVERS` and "VRT" are ever used: another
    container could make us read files that nobody allowed. Raises InvalidRaster."""
    for signature, driver in _SIGNATURES:
        if head.startswith(signature):
            return driver
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if _VRT.match(head.removeprefix(b"\xef\xbb\xbf")):
        return "VRT"
    raise InvalidRaster(f"{name} is not a {_FORMATS} file; convert it with gdal_translate")
