"""Bytes kept on disk and in memory, least recently used out first, both bounded by bytes."""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import threading
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from groundlook_adapters.store.alone import LOCK_SUFFIX, alone
from groundlook_adapters.store.flights import Flights

_MAGIC = b"GLB1"
_HEAD = 36
_TEMPORARY = ".part"
_STALE_S = 3600.0
_FREE = 8
"""A sweep leaves an eighth of the limit free."""

log = logging.getLogger("groundlook.cache")


class BlobCache:
    """Bytes by key, in files under `folder` (made when needed), with a part of them in memory.

    Several processes may share a folder, and anybody may delete from it at any time. A file appears by one rename, so
    a reader sees all of it or none; and as a rename can outlive a power cut that its content does not, every file
    starts with its name, length and checksum: one that was cut short, changed or renamed is a miss, and is removed.
    Nothing is indexed, so nothing has to be rebuilt at a start: the last use of a file is its modification time, and
    a sweep, in a thread of its own, looks through the folder from time to time. The folder stays under `limit_bytes`
    while at most `writers` threads, of all processes, write at a time: a sweep leaves an eighth of it free, and each
    process writes two shares of that before a sweep and two while it goes on, at most; then it waits. What is larger
    than a share is written by one at a time, after a sweep. A folder that can't be written costs the cache, not the
    answer. `limit_bytes` 0: memory only. `suffix` ends the files' names; `what` is kept, for the log.
    """

    def __init__(
        self, folder: Path, limit_bytes: int, memory_bytes: int, *, suffix: str, what: str, writers: int = 2
    ) -> None:
        self._folder, self._limit, self._memory_limit = folder, limit_bytes, memory_bytes
        self._suffix, self._what = suffix, what
        self._room = limit_bytes - limit_bytes // _FREE
        self._share = limit_bytes // (4 * _FREE * writers)
        self._memory: OrderedDict[str, bytes] = OrderedDict()
        self._held = 0
        self._used: dict[str, float] = {}
        self._flights = Flights()
        self._lock = threading.Lock()
        self._unswept = limit_bytes  # what an earlier run left is looked through at the first put
        self._sweeper: threading.Thread | None = None
        self._complained = False

    def held(self, key: str) -> bytes | None:
        """What is in memory. Never waits for a disk."""
        name = name_of(key)
        with self._lock:
            data = self._memory.get(name)
            if data is not None:
                self._memory.move_to_end(name)
                if self._limit:
                    self._used[name] = time.time()
        return data

    def get(self, key: str, remember: bool = True) -> bytes | None:
        """What is kept, None where nothing is. `remember`: in memory, too, from now on."""
        data = self.held(key)
        if data is not None or not self._limit:
            return data
        name = name_of(key)
        path = self._path(name)
        try:
            with open(path, "rb", buffering=0) as file:
                first, data = file.read(_HEAD), file.readall()
        except OSError:
            return None
        if first != head_of(name, data):
            with suppress(OSError):
                path.unlink()
            return None
        with suppress(OSError):
            os.utime(path)
        if remember:
            self._remember(name, data)
        return data

    def has(self, key: str) -> bool:
        """Whether something is kept; counts as a use of it. Its content is not looked at."""
        if self.held(key) is not None:
            return True
        path = self._path(name_of(key))
        try:
            os.utime(path)
        except OSError:
            return bool(self._limit) and path.exists()
        return bool(self._limit)

    def put(self, key: str, data: bytes, remember: bool = True) -> None:
        """Keep `data`. What is kept already is written again, which does no harm."""
        name = name_of(key)
        if remember or not self._limit:
            self._remember(name, data)
        if len(data) > self._limit // 2:
            return
        try:
            self._write(self._path(name), (head_of(name, data), data))
        except OSError as error:
            if not self._complained:
                self._complained = True
                log.warning("%s can't be kept in %s: %s", self._what, self._folder, error.strerror)

    def get_or_make(self, key: str, make: Callable[[], bytes]) -> bytes:
        """What is kept; made and kept where nothing is. Whoever asks for what is being made gets that one, or the
        error that making it raised; errors are not kept."""

        def work() -> bytes:
            data = self.get(key)
            if data is None:
                data = make()
                self.put(key, data)
            return data

        return self._flights.once(name_of(key), work)

    def lock_of(self, key: str) -> Path:
        """The file by which processes agree on who makes what `key` names (see `alone`)."""
        return self._path(name_of(key)).with_suffix(LOCK_SUFFIX)

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
        return self._folder / name[:2] / (name + self._suffix)

    def _write(self, path: Path, content: Sequence[bytes]) -> None:
        size = sum(map(len, content))
        if size <= self._share:
            _replace(path, content)
            self._count(size)
            return
        with alone(self._folder / f"large{LOCK_SUFFIX}"):
            self._sweep(self._take_used(), self._room - size)
            _replace(path, content)

    def _count(self, written: int) -> None:
        with self._lock:
            self._unswept += written
            due, sweeping = self._unswept >= self._share, self._sweeper is not None
            if due and not sweeping:
                self._sweeper = threading.Thread(target=self._sweeps, name=f"sweep-{self._what}", daemon=True)
                self._sweeper.start()
        if due and sweeping:  # a share was written while a sweep went on
            self.settle()

    def _sweeps(self) -> None:
        """As often as is due: more may have been written while one went on."""
        while True:
            with self._lock:
                if self._unswept < self._share:
                    self._sweeper = None
                    return
                self._unswept = 0
            self._sweep(self._take_used(), self._room)

    def _take_used(self) -> dict[str, float]:
        with self._lock:
            used, self._used = self._used, {}
        return used

    def _sweep(self, used: dict[str, float], room: int) -> None:
        """Delete the files longest unused until they take no more than `room`. `used`: uses that only memory saw."""
        for name, when in used.items():
            with suppress(OSError):
                os.utime(self._path(name), (when, when))
        files = sorted(self._files())
        total = sum(size for _, size, _ in files)
        for _, size, path in files:
            if total <= room:
                return
            with suppress(OSError):
                os.unlink(path)
            total -= size

    def _files(self) -> list[tuple[float, int, str]]:
        """(last use, bytes, path) of every file. What a crash left behind is removed."""
        found: list[tuple[float, int, str]] = []
        now = time.time()
        for folder in _entries(self._folder):
            for entry in _entries(folder.path):
                with suppress(OSError):
                    info = entry.stat(follow_symlinks=False)
                    if entry.name.endswith(self._suffix):
                        found.append((info.st_mtime, info.st_size, entry.path))
                    elif entry.name.endswith((_TEMPORARY, LOCK_SUFFIX)) and now - info.st_mtime > _STALE_S:
                        os.unlink(entry.path)
        return found


def _replace(path: Path, content: Sequence[bytes]) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{secrets.token_hex(6)}{_TEMPORARY}")
    try:
        with part.open("wb") as file:
            file.writelines(content)
        os.replace(part, path)
    except OSError:
        with suppress(OSError):
            part.unlink()
        raise


def _entries(folder: str | Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except OSError:
        return []


def name_of(key: str) -> str:
    """40 hex digits that stand for `key` on disk and in Redis."""
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()[:40]


def head_of(name: str, data: bytes) -> bytes:
    """36 bytes before `data` wherever it is kept: magic, name, length, CRC-32. Against accidents, not against people:
    who may write to the folder may write anything. (A cryptographic digest takes 5 times as long, 1.5 ms for 2 MB.)"""
    return _MAGIC + bytes.fromhex(name) + len(data).to_bytes(8, "little") + zlib.crc32(data).to_bytes(4, "little")
