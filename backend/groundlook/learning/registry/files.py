"""Folders that appear whole or not at all, whoever is killed and whatever runs out."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

from groundlook.core.errors import Busy

STALE_S = 3600.0
"""So long after it was begun, a folder that never appeared was left by somebody who was killed."""
_THERE = (errno.EEXIST, errno.ENOTEMPTY)
_FULL = (errno.ENOSPC, errno.EDQUOT)


def file_sha256(path: Path) -> str:
    """Hex sha256 of a file's content."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def appear(folder: Path, fill: Callable[[Path], None]) -> bool:
    """Make `folder` out of what `fill` writes into the empty one that it is given; False where there is one already.

    Written beside it, brought to the disk, then renamed: it is there whole, after a loss of power too, or not at all.
    POSIX refuses to rename a folder over one that holds something, so of several who make the same one exactly one is
    told True: on one machine or on many, also where a network file system has no locks. Raises Busy where the disk is
    full; what was begun is taken away."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    begun = folder.with_name(f".{folder.name}.{secrets.token_hex(6)}")
    try:
        begun.mkdir()
        _sweep(begun)
        fill(begun)
        for file in (*begun.iterdir(), begun):
            _flush(file)
        return _renamed(begun, folder)
    except OSError as error:
        if error.errno in _FULL:
            raise Busy(f"no space is left for {folder}: nothing was kept; make room and try again") from None
        raise
    finally:
        shutil.rmtree(begun, ignore_errors=True)


def renewed(path: Path, text: str) -> None:
    """Write `text` over `path`: whoever reads finds the old file or the new one, whole. Raises Busy where the disk is
    full; then the old one stays."""
    begun = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        begun.write_text(text, encoding="utf-8")
        _flush(begun)
        begun.replace(path)
        _flush(path.parent)
    except OSError as error:
        if error.errno in _FULL:
            raise Busy(f"no space is left for {path}: it stays as it was; make room and try again") from None
        raise
    finally:
        begun.unlink(missing_ok=True)


def _renamed(begun: Path, folder: Path) -> bool:
    try:
        begun.rename(folder)
    except OSError as error:
        if error.errno in _THERE:
            return False
        raise
    _flush(folder.parent)
    return True


def _flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sweep(begun: Path) -> None:
    """Take away what others began beside it and will never finish; by the clock of the file system alone."""
    now = begun.stat().st_mtime
    for other in begun.parent.glob(".*.*"):
        try:
            if now - other.stat().st_mtime > STALE_S:
                shutil.rmtree(other, ignore_errors=True)
        except FileNotFoundError:  # it has appeared, or somebody else swept
            continue
