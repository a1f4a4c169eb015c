"""A raster behind http(s), read by us piece by piece: GDAL's own /vsicurl/ follows a redirect wherever it leads."""

from __future__ import annotations

import io
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import Any

import httpx
from rasterio.abc import MultiByteRangeResourceContainer

from groundlook.core.errors import GroundlookError, InvalidRaster
from groundlook_adapters.rasters.reading.remote import Look, Remote, check_answer, client, mark_of, unreachable

BLOCK = 16384
_KEPT = 2**24 // BLOCK
_AHEAD = 2**20 // BLOCK
_PARALLEL, _TRIES, _PAUSE_S = 4, 3, 0.5


class Ranges(io.RawIOBase):
    """The file of a `Look`, by ranged GETs. No redirect is followed, and an answer with another mark than the look's is
    refused, so that no picture is made of two versions of a file. 16 MB of it are kept.

    GDAL can't be told why a read failed: then it gets zeros, and `failure` is what whoever reads must raise.
    """

    def __init__(self, remote: Remote, look: Look) -> None:
        super().__init__()
        self.failure: GroundlookError | None = None
        self._remote, self._look, self._at = remote, look, 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._next, self._run = -1, 0
        self._http = client()
        self._lock = threading.Lock()

    def close(self) -> None:
        """Drop the connections."""
        self._http.close()
        super().close()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._look.size}[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes from here on; fewer at the end."""
        left = max(self._look.size - self._at, 0)
        found = self._cached(self._at, left if size < 0 else min(size, left))
        self._at += len(found)
        return found

    def get_byte_ranges(self, offsets: Sequence[int], sizes: Sequence[int]) -> list[bytes]:
        """Several pieces at once, for a window that crosses rows of blocks."""
        with ThreadPoolExecutor(_PARALLEL) as pool:
            return list(pool.map(self._fetched, offsets, sizes))

    def _cached(self, start: int, size: int) -> bytes:
        if size <= 0:
            return b""
        with self._lock:
            wanted = range(start // BLOCK, (start + size - 1) // BLOCK + 1)
            missing = [i for i in wanted if i not in self._blocks]
            for _, run in groupby(enumerate(missing), key=lambda pair: pair[1] - pair[0]):
                numbers = [i for _, i in run]
                self._fill(numbers[0], len(numbers))
            parts = [self._blocks.get(i, b"") for i in wanted]
            for i in wanted:
                self._blocks.move_to_end(i)
            while len(self._blocks) > _KEPT:
                self._blocks.popitem(last=False)
        first = start - wanted[0] * BLOCK
        return b"".join(parts)[first : first + size]

    def _fill(self, first: int, count: int) -> None:
        """Blocks `first`…, and more of them where reading goes on where it stopped, as a file's header is read."""
        count = max(count, min(2 * self._run, _AHEAD) if first == self._next else 1)
        data = self._fetched(first * BLOCK, min(count * BLOCK, self._look.size - first * BLOCK))
        for i in range(0, len(data), BLOCK):
            self._blocks[first + i // BLOCK] = data[i : i + BLOCK]
            self._blocks.move_to_end(first + i // BLOCK)
        self._next, self._run = first + count, count

    def _fetched(self, start: int, size: int) -> bytes:
        """Exactly `size` bytes; zeros, and `failure`, where they can't be had."""
        if self.failure is None:
            try:
                return self._asked(start, size)
            except GroundlookError as error:
                self.failure = error
        return bytes(size)

    def _asked(self, start: int, size: int) -> bytes:
        headers = {"Range": f"bytes={start}-{start + size - 1}", "Accept-Encoding": "identity"}
        for again in range(_TRIES):
            try:
                with self._http.stream("GET", self._remote.url, headers=headers) as answer:
                    if answer.status_code >= 500 and again < _TRIES - 1:
                        time.sleep(_PAUSE_S)
                        continue
                    check_answer(self._remote, answer)
                    if mark_of(answer) != self._look.mark:
                        raise InvalidRaster(f"{self._remote.url} was replaced while it was read; ingest it again")
                    return _whole(self._remote, answer, size)
            except httpx.HTTPError as error:
                if again == _TRIES - 1:
                    raise unreachable(self._remote, error) from None
                time.sleep(_PAUSE_S)
        raise AssertionError("unreachable")


def _whole(remote: Remote, answer: httpx.Response, size: int) -> bytes:
    """`size` bytes of an answer, and no more of it whatever it sends."""
    data = bytearray()
    for chunk in answer.iter_raw():
        data += chunk
        if len(data) >= size:
            break
    if len(data) < size:
        raise InvalidRaster(f"{remote.url}: {len(data)} bytes came instead of {size}; is the file whole?")
    return bytes(data[:size])


class OneFile(MultiByteRangeResourceContainer):  # type: ignore[misc]
    """How rasterio opens a `Ranges`: under its own name only. Nothing lies beside it."""

    def __init__(self, name: str, file: Ranges, size: int) -> None:
        self._name, self._file, self._size = name, file, size

    def open(self, path: str, mode: str = "rb", **_: Any) -> Ranges:
        if path != self._name:
            raise FileNotFoundError(path)
        return self._file

    def isfile(self, path: str) -> bool:
        return path == self._name

    def isdir(self, path: str) -> bool:
        return False

    def ls(self, path: str) -> list[str]:
        return []

    def mtime(self, path: str) -> int:
        return 0

    def size(self, path: str) -> int:
        return self._size

    def rm(self, path: str) -> None:
        raise PermissionError(path)
