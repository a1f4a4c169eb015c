"""Pictures of tiles as files, for Label Studio servers that can't reach us: air-gapped, or fed from a bucket."""

from __future__ import annotations

import os
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from groundlook.core.errors import GroundlookError, InvalidInput
from groundlook.core.geo import TileRef
from groundlook_adapters.rasters.pictures.render import FORMATS, RGB, encode

T = TypeVar("T")

LOCAL_FILES = "/data/local-files/?d="
"""How Label Studio names a file under its LOCAL_FILES_DOCUMENT_ROOT."""

_AHEAD = 4
"""Pictures per thread that may wait for their turn: what bounds the memory."""


@dataclass(frozen=True, slots=True)
class Album:
    """Where pictures go. `folder`: made when missing. `prefix`: what a task's image URL has before the file's path in
    `folder`. `fmt`: jpg, png or webp."""

    folder: Path
    prefix: str
    fmt: str = "jpg"

    def path(self, tile: TileRef) -> str:
        """`<scene id>/<column>_<row>_<width>_<height>.<format>`, in `folder`."""
        return f"{tile.scene_id}/{'_'.join(map(str, tile.window))}.{self.fmt}"

    def url(self, tile: TileRef) -> str:
        """What stands in the task."""
        return self.prefix + self.path(tile)


def album(folder: Path, prefix: str | None = None, fmt: str = "jpg") -> Album:
    """An Album whose pictures, by default, Label Studio serves as local files: `folder` then lies directly in the
    server's LOCAL_FILES_DOCUMENT_ROOT. Raises InvalidInput (a format that is none)."""
    if fmt not in FORMATS:
        raise InvalidInput(f"image format {fmt[:20]!r}: use one of {', '.join(FORMATS)}")
    folder = folder.expanduser().absolute()
    return Album(folder, f"{LOCAL_FILES}{quote(folder.name)}/" if prefix is None else prefix, fmt)


def prerender(
    tiles: Iterable[tuple[TileRef, T]], album: Album, read: Callable[[TileRef], RGB], workers: int | None = None
) -> Iterator[tuple[TileRef, T, GroundlookError | None]]:
    """Write the picture of every tile, in threads (GDAL and the encoders work without Python's lock), and give each
    tile back with what came with it, in order, once its file is there; with the error where it could not be read.

    `read`: the tile as annotators see it. A file that is there and whole is left: a scene's id changes with its file
    and its render. Files appear whole or not at all. Raises OSError where the folder can't be written.
    """
    count = workers or _cores()
    waiting: deque[tuple[TileRef, T, Future[None]]] = deque()
    with ThreadPoolExecutor(count, thread_name_prefix="prerender") as pool:
        try:
            for tile, more in tiles:
                waiting.append((tile, more, pool.submit(_write, tile, album, read)))
                if len(waiting) >= _AHEAD * count:
                    yield _result(*waiting.popleft())
            while waiting:
                yield _result(*waiting.popleft())
        finally:
            pool.shutdown(cancel_futures=True)


def _cores() -> int:
    """Those that we may use, where the system says so."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _result(tile: TileRef, more: T, done: Future[None]) -> tuple[TileRef, T, GroundlookError | None]:
    try:
        done.result()
    except GroundlookError as error:
        return tile, more, error
    return tile, more, None


def _write(tile: TileRef, album: Album, read: Callable[[TileRef], RGB]) -> None:
    path = album.folder / album.path(tile)
    if is_whole(path):
        return
    data = encode(read(tile), album.fmt)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        part.write_bytes(data)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def is_whole(path: Path) -> bool:
    """Whether a JPEG, PNG or WebP file is there and was not cut short: its first and last bytes say so."""
    try:
        with path.open("rb") as file:
            head = file.read(12)
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 12))
            tail = file.read()
    except OSError:
        return False
    if head.startswith(b"\xff\xd8\xff"):
        return tail.endswith(b"\xff\xd9")
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return tail[4:8] == b"IEND"
    return head[:4] == b"RIFF" and head[8:] == b"WEBP" and int.from_bytes(head[4:8], "little") + 8 == size
