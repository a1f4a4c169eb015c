"""Pictures kept on disk and in memory, least recently used out first, both bounded by bytes."""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path

MEMORY_BYTES = 64 * 2**20
_MAGIC = b"GLP1"
_DIGEST = 16
_SUFFIX = ".picture"
_TEMPORARY = ".part"
_STALE_S = 3600.0
_SWEEPS = 16
"""A sweep comes each time that a sixteenth of the limit was written, and leaves two sixteenths free."""

log = logging.getLogger("groundlook.pictures")


class PictureCache:
    """Pictures by key, in files under `folder` (made when needed), with a part of them in memory.

    Several processes may share a folder, and anybody may delete from it at any time. A file appears by one rename, so
    a reader sees all of it or none; and as a rename can outlive a power cut that its content does not, every file
    starts with a digest of key and content: one that was cut short, changed or renamed is a miss, and is removed.
    Nothing is indexed, so nothing has to be rebuilt at a start: the last use of a file is its modification time, and
    a sweep, in a thread of its own, looks through the folder once in every `limit_bytes / 16` written. The folder
    therefore stays under `limit_bytes` while at most two processes write at a time. A folder that can't be written
    costs the cache, not the picture. `limit_bytes` 0: memory only.
    """

    def __init__(self, folder: Path, limit_bytes: int, memory_bytes: int = MEMORY_BYTES) -> None:
        self._folder, self._limit, self._memory_limit = folder, limit_bytes, memory_bytes
        self._memory: OrderedDict[str, bytes] = OrderedDict()
        self._held = 0
        self._used: dict[str, float] = {}
        self._flights: dict[str, Future[bytes]] = {}
        self._lock = threading.Lock()
        self._unswept = limit_bytes  # what an earlier run left is looked through at the first put
        self._sweeper: threading.Thread | None = None
        self._complained = False

    def held(self, key: str) -> bytes | None:
        """The picture if it is in memory. Never waits for a disk."""
        name = _name(key)
        with self._lock:
            data = self._memory.get(name)
            if data is not None:
                self._memory.move_to_end(name)
                if self._limit:
                    self._used[name] = time.time()
        return data

    def get(self, key: str) -> bytes | None:
        """The picture, None where there is none."""
        data = self.held(key)
        if data is not None or not self._limit:
            return data
        name = _name(key)
        path = self._path(name)
        try:
            content = path.read_bytes()
        except OSError:
            return None
        data = content[len(_MAGIC) + _DIGEST :]
        if content[: len(_MAGIC) + _DIGEST] != _head(name, data):
            with suppress(OSError):
                path.unlink()
            return None
        with suppress(OSError):
            os.utime(path)
        self._remember(name, data)
        return data

    def put(self, key: str, data: bytes) -> None:
        """Keep a picture. One that is kept already is written again, which does no harm."""
        name = _name(key)
        self._remember(name, data)
        if len(data) > self._limit // 2:
            return
        try:
            self._write(self._path(name), _head(name, data) + data)
        except OSError as error:
            if not self._complained:
                self._complained = True
                log.warning("pictures can't be kept in %s: %s", self._folder, error.strerror)
            return
        self._count(len(data))

    def get_or_make(self, key: str, make: Callable[[], bytes]) -> bytes:
        """The picture; made and kept where there is none. Whoever asks for a picture that is being made gets that
        one, or the error that making it raised; errors are not kept."""
        name = _name(key)
        with self._lock:
            flight = self._flights.get(name)
            mine: Future[bytes] = Future()
            if flight is None:
                self._flights[name] = mine
        if flight is not None:
            return flight.result()
        try:
            data = self.get(key)
            if data is None:
                data = make()
                self.put(key, data)
            mine.set_result(data)
        except BaseException as error:
            mine.set_exception(error)
            raise
        finally:
            with self._lock:
                del self._flights[name]
        return data

    def settle(self) -> None:
        """Wait for a sweep under way."""
        sweeper = self._sweeper
        if sweeper is not None:
            sweeper.join()

    def _remember(self, name: str, data: bytes) -> None:
        if len(data) > self._memory_limit // 2:
            return
        with self._lock:
            self._held += len(data) - len(self._memory.pop(name, b""))
            self._memory[name] = data
            while self._held > self._memory_limit:
                self._held -= len(self._memory.popitem(last=False)[1])

    def _path(self, name: str) -> Path:
        return self._folder / name[:2] / (name + _SUFFIX)

    def _write(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.{secrets.token_hex(6)}{_TEMPORARY}")
        try:
            part.write_bytes(content)
            os.replace(part, path)
        except OSError:
            part.unlink(missing_ok=True)
            raise

    def _count(self, written: int) -> None:
        with self._lock:
            self._unswept += written
            if self._sweeper is None and self._unswept >= self._limit // _SWEEPS:
                self._sweeper = threading.Thread(target=self._sweeps, name="picture-sweep", daemon=True)
                self._sweeper.start()

    def _sweeps(self) -> None:
        """As often as is due: more may have been written while one went on."""
        while True:
            with self._lock:
                if self._unswept < self._limit // _SWEEPS:
                    self._sweeper = None
                    return
                self._unswept = 0
                used, self._used = self._used, {}
            self._sweep(used)

    def _sweep(self, used: dict[str, float]) -> None:
        """Delete the files longest unused until there is room. `used`: uses that only memory saw."""
        for name, when in used.items():
            with suppress(OSError):
                os.utime(self._path(name), (when, when))
        files = sorted(self._files())
        total = sum(size for _, size, _ in files)
        room = self._limit - 2 * (self._limit // _SWEEPS)
        if total <= room:
            return
        for _, size, path in files:
            with suppress(OSError):
                os.unlink(path)
            total -= size
            if total <= room:
                return

    def _files(self) -> list[tuple[float, int, str]]:
        """(last use, bytes, path) of every picture. What a crash left half written is removed."""
        found: list[tuple[float, int, str]] = []
        now = time.time()
        for folder in _entries(self._folder):
            for entry in _entries(folder.path):
                with suppress(OSError):
                    info = entry.stat(follow_symlinks=False)
                    if entry.name.endswith(_SUFFIX):
                        found.append((info.st_mtime, info.st_size, entry.path))
                    elif entry.name.endswith(_TEMPORARY) and now - info.st_mtime > _STALE_S:
                        os.unlink(entry.path)
        return found


def _entries(folder: str | Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except OSError:
        return []


def _name(key: str) -> str:
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()[:40]


def _head(name: str, data: bytes) -> bytes:
    return _MAGIC + hashlib.blake2b(data, digest_size=_DIGEST, key=name.encode()).digest()
