"""A lock among all threads and processes of a machine: a locked file, which the kernel lets go of however its holder
ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOCK_SUFFIX = ".lock"


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold `path` while the block lasts; waits for as long as somebody else does. The file is there only meanwhile
    (its folder is made when needed). Where no file can be locked, the block runs all the same."""
    handle = _take(path)
    try:
        yield
    finally:
        if handle is not None:
            with suppress(OSError):
                os.unlink(path)  # before it is let go of: whoever waited for this file sees that it is no longer there
            os.close(handle)


def _take(path: Path) -> int | None:
    while True:
        try:
            handle = _open(path)
        except OSError:
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if _is(handle, path):
                return handle
        except OSError:  # a file system without locks
            os.close(handle)
            return None
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT
    try:
        return os.open(path, flags, 0o600)
    except FileNotFoundError:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(path, flags, 0o600)


def _is(handle: int, path: Path) -> bool:
    """Whether the open file still has its name: the last holder may have deleted it."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False
