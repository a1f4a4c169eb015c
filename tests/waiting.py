"""Waiting for something to become true: never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 60.0
"""Only a test that fails waits for so long; a shared machine may stall for half of it."""


def until(holds: Callable[[], bool], seconds: float = PATIENCE_S, every: float = 0.02) -> None:
    """Return as soon as it holds, which is looked at `every` so many seconds. Fails where it does not in time."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"it did not happen within {seconds:.0f} s"
        time.sleep(every)
