"""A folder that appears when it is complete, and not before."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from groundlook.core.errors import InvalidInput

LISTING = "SHA256SUMS"
"""Lists every other file of a dataset; also tells that a folder is one of ours, which may be replaced."""


@contextmanager
def complete_or_nothing(folder: Path, overwrite: bool) -> Iterator[Path]:
    """A new folder beside `folder`, which takes its place at the end of the block; on any error it is removed and
    `folder` is as it was. Raises InvalidInput: something is in the way (with `overwrite`: something that is not a
    dataset of ours), the parent is missing, the disk is full."""
    target = Path(os.path.realpath(folder))
    _check(target, folder, overwrite)
    draft = target.parent / f".{target.name[:80]}.{secrets.token_hex(4)}"
    try:
        draft.mkdir()
        yield draft
        _swap(draft, target)
    except OSError as error:
        free = shutil.disk_usage(target.parent).free >> 20
        raise InvalidInput(
            f"{folder} can't be written ({error.strerror or error}); {free} MiB are free there: make room, or write "
            "to another folder"
        ) from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _check(target: Path, folder: Path, overwrite: bool) -> None:
    if not target.parent.is_dir():
        raise InvalidInput(f"{target.parent} is not a folder; make it first")
    if not os.path.lexists(target):
        return
    if not target.is_dir():
        raise InvalidInput(f"{folder} is a file; a dataset is a folder: choose another name")
    if not any(target.iterdir()):
        return
    if not overwrite:
        raise InvalidInput(f"{folder} exists; choose another name, or say that it may be overwritten")
    if not (target / LISTING).is_file():
        raise InvalidInput(f"{folder} is not a dataset that we wrote (no {LISTING}); choose another name or empty it")


def _swap(draft: Path, target: Path) -> None:
    old = draft.with_name(f"{draft.name}.old")
    there = target.exists()
    if there:
        target.rename(old)
    try:
        draft.rename(target)
    except OSError:
        if there:
            with suppress(OSError):
                old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def write_listing(folder: Path) -> int:
    """Write `LISTING`: sha256 and name of each file under `folder`, by name. Returns how many there are."""
    count = 0
    with (folder / LISTING).open("w", encoding="utf-8", newline="\n") as listing:
        for path in _files(folder):
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            listing.write(f"{digest}  {path.relative_to(folder).as_posix()}\n")
            count += 1
    return count


def _files(folder: Path) -> Iterator[Path]:
    for entry in sorted(os.scandir(folder), key=lambda e: e.name):
        if entry.is_dir(follow_symlinks=False):
            yield from _files(Path(entry.path))
        elif entry.name != LISTING:
            yield Path(entry.path)
