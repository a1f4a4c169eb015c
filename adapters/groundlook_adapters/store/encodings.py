"""Encodings of pictures: made once, then kept in memory, on disk, and with Redis for other machines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from groundlook_adapters.store.alone import alone
from groundlook_adapters.store.blobs import BlobCache, name_of
from groundlook_adapters.store.flights import Flights
from groundlook_adapters.store.packed import pack, unpack
from groundlook_adapters.store.shared import SharedBlobs
from groundlook_adapters.store.turns import Turns

_WRITERS = 16

Arrays = Mapping[str, NDArray[np.float16]]


class EncodingCache:
    """Implements `core.ports.Encodings`. `folder` is shared by the processes of a machine; `memory_mb`, `disk_mb`: MiB,
    0 for none of it; `redis_url` shares with other machines, "" for none.

    Whatever it comes from, an encoding has the same bits, and its arrays can't be written to. Bulk work leaves memory
    to those who wait for answers.
    """

    def __init__(self, folder: Path, memory_mb: int, disk_mb: int, redis_url: str = "") -> None:
        self._blobs = BlobCache(
            folder, disk_mb * 2**20, memory_mb * 2**20, suffix=".encoding", what="encodings", writers=_WRITERS
        )
        self._flights = Flights()
        self._turns = Turns(folder / "interactive")
        self._shared = SharedBlobs(redis_url) if redis_url else None

    def get(self, key: str, make: Callable[[], Arrays], bulk: bool = False) -> Arrays:
        """See `core.ports.Encodings`. What `make` raises reaches whoever waits in this process; others try
        themselves. Raises InvalidInput for arrays that are not float16."""
        if not bulk:
            self._turns.asked()
        data = self._blobs.get(key, remember=not bulk)
        if data is None:
            if bulk:
                self._turns.wait()  # before anybody can wait for us, or both would wait for ever
            with nullcontext() if bulk else self._turns.busy():
                data = self._flights.once(name_of(key), lambda: self._made(key, make, bulk))
        return unpack(data)

    def has(self, key: str) -> bool:
        """Whether it is kept anywhere; counts as a use of it. One that turns out to be damaged is made again."""
        return self._blobs.has(key) or (self._shared is not None and self._shared.has(name_of(key)))

    def busy(self) -> AbstractContextManager[None]:
        """While the block lasts, bulk work of all processes that share the folder waits before it makes anything."""
        return self._turns.busy()

    def close(self) -> None:
        """Finish what is under way on disk, and let go of Redis."""
        self._blobs.settle()
        if self._shared is not None:
            self._shared.close()

    def _made(self, key: str, make: Callable[[], Arrays], bulk: bool) -> bytes:
        def packed() -> bytes:
            return pack(make())

        with alone(self._blobs.lock_of(key)):
            data = self._blobs.get(key, remember=not bulk)
            if data is None:
                data = packed() if self._shared is None else self._shared.get_or_make(name_of(key), packed)
                self._blobs.put(key, data, remember=not bulk)
        return data
