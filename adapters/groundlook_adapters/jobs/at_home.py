"""No exchange: workers that share a home find its files there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class AtHome:
    """Implements `core.ports.Exchange` for workers that share this home: nothing is on its way."""

    def offer(self, sha256: str, weights: Path) -> None:
        """See `core.ports.Exchange`."""

    @contextmanager
    def take(self, sha256: str) -> Iterator[Path | None]:
        """See `core.ports.Exchange`."""
        yield None

    def close(self) -> None:
        """Nothing to let go of."""
