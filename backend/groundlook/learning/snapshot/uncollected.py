"""Uncollected: Python's collector of cycles, told to wait."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """For building many values that hold no cycles. The collector would walk all of them again and again: of reading a
    snapshot of 20,000 tiles that was two thirds of the time. It is one for all threads; it goes on whatever happens."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()
