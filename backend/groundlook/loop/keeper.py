"""Keeper: writes looks down every few seconds, while the model goes on looking.

One write for each piece would take longer than a fast model does: every one waits for the disk.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from groundlook.loop.look import Look, together

KEEP_S = 2.0
"""Seconds between two writes: what is lost where we are killed, and as much again that was being written."""


class Keeper:
    """`write` runs in a thread of its own, one call at a time; what it raises, the next call here raises. Where it is
    slower than the model, the model waits."""

    def __init__(self, write: Callable[[Look], None]) -> None:
        self._write = write
        self._thread = ThreadPoolExecutor(1, "keep")
        self._writing: Future[None] | None = None
        self._waiting: list[Look] = []
        self._since = time.monotonic()

    def add(self, found: Look) -> None:
        """Have it written before long."""
        self._waiting.append(found)
        if time.monotonic() - self._since >= KEEP_S:
            self._hand_over()

    def close(self) -> None:
        """Return when everything is written."""
        with self._thread:
            self._hand_over()
            self._written()

    def _hand_over(self) -> None:
        self._written()
        if self._waiting:
            self._writing = self._thread.submit(self._write, together(self._waiting))
        self._waiting, self._since = [], time.monotonic()

    def _written(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()
