"""Memory that ran out: how it shows, and how much a training may take."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_SIGNS = ("out of memory", "can't allocate memory", "cannot allocate memory", "alloc_failed", "bad alloc", "bad_alloc")
"""CUDA's, torch's own on a CPU, the system's, cuBLAS's, and C++'s."""


def ran_out(error: BaseException) -> bool:
    """Whether an error says that memory ran out, of the machine or of its GPU."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, (RuntimeError, OSError)) and any(sign in str(error).lower() for sign in _SIGNS)


@contextlib.contextmanager
def watched(spec: Mapping[str, Any]) -> Iterator[None]:
    """In a training process: hold it to `spec["memory"]`, and where memory runs out leave the file `spec["short"]` for
    the parent, and end."""
    limit(spec["memory"])
    try:
        yield
    except (MemoryError, RuntimeError, OSError) as error:
        if not ran_out(error):
            raise
        Path(spec["short"]).touch()
        sys.exit(f"out of memory with {spec['micro']} pictures at a time ({error})")


def limit(most: int | None) -> None:
    """Let this process take `most` bytes of data, None for no limit. Where the system knows no such limit, nothing
    changes."""
    if most is None:
        return
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
