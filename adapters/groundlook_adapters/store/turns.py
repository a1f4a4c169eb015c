"""Whose turn it is: what somebody waits for goes before bulk work, in all processes that share a folder."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LINGER_S = 1.0
"""So long after somebody asked, bulk work doesn't start: who clicks once clicks again."""
PATIENCE_S = 10.0
"""A busy team asks all the time: so long after it began to wait, bulk work starts between two asks."""
_TOUCH_S = 0.2
_POLL_S = 0.05
_TRIES = 20


class Turns:
    """`marker`: a file that all of them share, made when needed. Its modification time is when somebody asked last;
    whoever makes something that is waited for has it locked, and the kernel unlocks it however that process ends.
    Where no such file can be made, this object alone counts. Thread-safe."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker
        self._asked = -LINGER_S
        self._busy = 0
        self._lock = threading.Lock()

    def asked(self) -> None:
        """Somebody asked just now. Costs nothing worth mentioning."""
        now = time.monotonic()
        if now - self._asked < _TOUCH_S:
            return
        self._asked = now
        with suppress(OSError):
            handle = self._open()
            try:
                os.utime(handle)
            finally:
                os.close(handle)

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Somebody waits while the block lasts. Never waits itself."""
        self.asked()
        with self._lock:
            self._busy += 1
        handle = self._hold()
        try:
            yield
        finally:
            if handle is not None:
                os.close(handle)
            with self._lock:
                self._busy -= 1
            self._asked = -LINGER_S
            self.asked()

    def wait(self) -> None:
        """Wait until nobody waits for anything. Hold nothing meanwhile that somebody could wait for."""
        end = time.monotonic() + PATIENCE_S
        while self._making() or (self._lingers() and time.monotonic() < end):
            time.sleep(_POLL_S)

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CREAT
        try:
            return os.open(self._marker, flags, 0o600)
        except FileNotFoundError:
            self._marker.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            return os.open(self._marker, flags, 0o600)

    def _hold(self) -> int | None:
        """The marker with a shared lock on it. Bulk work that looks has it exclusively for a moment."""
        with suppress(OSError):
            handle = self._open()
            for _ in range(_TRIES):
                with suppress(OSError):
                    fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    return handle
                time.sleep(0.001)
            os.close(handle)
        return None

    def _making(self) -> bool:
        if self._busy:
            return True
        try:
            handle = os.open(self._marker, os.O_RDWR)
        except OSError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        finally:
            os.close(handle)
        return False

    def _lingers(self) -> bool:
        if time.monotonic() - self._asked < LINGER_S:
            return True
        try:
            return 0 <= time.time() - self._marker.stat().st_mtime < LINGER_S
        except OSError:
            return False
