"""Rasters kept open between reads: opening one again costs more than reading a window of it."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from groundlook_adapters.rasters.reading.ranges import Ranges

IDLE = 16
"""Rasters kept open while nobody reads them."""

Key = tuple[Hashable, ...]
"""(name, …): whatever changes when the raster has to be opened anew."""


@dataclass(frozen=True, slots=True)
class Held:
    """An open dataset, with what lies under it (a warped one stands on the file's), and the paths it reads. `ranges`:
    what reads it from a URL."""

    dataset: Any
    files: tuple[str, ...] = ()
    under: tuple[Any, ...] = ()
    ranges: Ranges | None = None

    def check(self) -> None:
        """Raises what GDAL could not say of a read that failed; what it read since is not to be used."""
        if self.ranges is not None and self.ranges.failure is not None:
            raise self.ranges.failure

    def close(self) -> None:
        """Close the dataset, then what lies under it; one that fails to close is not worth an error."""
        for dataset in (self.dataset, *self.under):
            with contextlib.suppress(Exception):
                dataset.close()


class Pool:
    """At most `most` idle datasets, the least recently used closed first. A dataset that was taken belongs to one
    thread until it is given back. Thread-safe; a forked child starts with none, as it would share file offsets."""

    def __init__(self, most: int = IDLE) -> None:
        self._most = most
        self._idle: list[tuple[Key, Held]] = []
        self._lock = threading.Lock()
        self._owner = os.getpid()

    def take(self, key: Key) -> Held | None:
        """An idle dataset of `key`. Others of the same name are closed: their file was replaced."""
        with self._lock:
            self._own()
            found = next((i for i in reversed(range(len(self._idle))) if self._idle[i][0] == key), None)
            held = None if found is None else self._idle.pop(found)[1]
            stale = [row for row in self._idle if row[0][0] == key[0] and row[0] != key]
            self._idle = [row for row in self._idle if row not in stale] if stale else self._idle
        for _, old in stale:
            old.close()
        return held

    def give(self, key: Key, held: Held) -> None:
        """Back into the pool."""
        with self._lock:
            self._own()
            self._idle.append((key, held))
            over = [self._idle.pop(0) for _ in range(len(self._idle) - self._most)]
        for _, old in over:
            old.close()

    def clear(self) -> None:
        """Close every idle dataset."""
        with self._lock:
            self._own()
            idle, self._idle = self._idle, []
        for _, held in idle:
            held.close()

    def __len__(self) -> int:
        with self._lock:
            return len(self._idle)

    def _own(self) -> None:
        if self._owner != os.getpid():
            self._idle, self._owner = [], os.getpid()
