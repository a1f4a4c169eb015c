"""Memory that ran out: how it shows, and how much a training may take."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_SIGNS = (
    "out of memory",  # CUDA
    "can't allocate memory",  # torch on a CPU
    "cannot allocate memory",  # the system
    "alloc_failed",  # cuBLAS
    "bad alloc",  # C++
    "bad_alloc",
    "could not create a primitive",  # oneDNN, which gives no reason
    "could not create a memory",
)


def ran_out(error: BaseException) -> bool:
    """Whether an error says that memory ran out, of the machine or of its GPU."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, (RuntimeError, OSError)) and any(sign in str(error).lower() for sign in _SIGNS)


@contextlib.contextmanager
def watched(spec: Mapping[str, Any]) -> Iterator[None]:
    """In a training process: where memory runs out leave the file `spec["short"]` for the parent, and end."""
    try:
        yield
    except (MemoryError, RuntimeError, OSError) as error:
        if not ran_out(error):
            raise
        Path(spec["short"]).touch()
        sys.exit(f"out of memory with {spec['micro']} pictures at a time ({error})")


def limit(more: int | None) -> None:
    """Let this process take `more` bytes of data beyond what it has now, None for no limit. Where the system knows no
    such limit, nothing changes."""
    if more is None:
        return
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5])
    except (ImportError, OSError):
        return
    most = pages * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
