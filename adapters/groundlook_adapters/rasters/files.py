"""Which files may be read, what they are, and whether they changed."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from groundlook.core.errors import InvalidRaster, NotAllowed

SUFFIXES = frozenset({".tif", ".tiff", ".png", ".jpg", ".jpeg", ".webp"})
"""What a folder is searched for. What a file is, its first bytes say: OpenAerialMap serves JPEGs named .png."""

_HEAD = 65536
_FORMATS = "GeoTIFF, PNG, JPEG or WebP"


def resolve(path: str | os.PathLike[str], roots: Sequence[Path]) -> Path:
    """The real path, symlinks followed, which must lie in one of `roots`. It need not exist, so that whoever asks
    for a path outside learns nothing about it. Raises NotAllowed, InvalidRaster (a path that no system has)."""
    try:
        real = Path(os.path.realpath(path))
    except (ValueError, OSError) as error:
        raise InvalidRaster(f"{os.fspath(path)!r} is not a path: {error}") from None
    if any(real.is_relative_to(os.path.realpath(root)) for root in roots):
        return real
    allowed = ", ".join(str(root) for root in roots) or "none"
    raise NotAllowed(
        f"{os.fspath(path)} is outside the folders that may be read ({allowed}); "
        "add its folder to GROUNDLOOK_ROOTS, or move the file"
    )


def etag(path: Path) -> str:
    """A short text that changes when the file does: size, modification time, first and last 64 KiB. Reading all of
    a scene of many gigabytes at every check would cost more than the check is worth."""
    try:
        with path.open("rb") as file:
            info = os.fstat(file.fileno())
            digest = hashlib.sha256(file.read(_HEAD))
            file.seek(max(0, info.st_size - _HEAD))
            digest.update(file.read(_HEAD))
    except OSError as error:
        raise InvalidRaster(f"{path}: {error.strerror}") from None
    return f"{info.st_size:x}-{info.st_mtime_ns:x}-{digest.hexdigest()[:16]}"


def driver_of(path: Path) -> str:
    """The GDAL driver for what the file's first bytes say it is. Only these four are ever used: a VRT or another
    container could make us read files that nobody allowed. Raises InvalidRaster."""
    head = _head(path)
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "GTiff"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    raise InvalidRaster(f"{path} is not a {_FORMATS} file; convert it with gdal_translate")


def _head(path: Path) -> bytes:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise InvalidRaster(f"{path} is a folder; name a raster file in it")
        if not stat.S_ISREG(mode):  # opening a pipe would wait for ever
            raise InvalidRaster(f"{path} is not a regular file")
        with path.open("rb") as file:
            head = file.read(12)
    except FileNotFoundError:
        raise InvalidRaster(f"{path} does not exist; check the path") from None
    except OSError as error:
        raise InvalidRaster(f"{path} can't be read: {error.strerror}") from None
    if not head:
        raise InvalidRaster(f"{path} is empty (0 bytes); copy or download it again")
    return head
