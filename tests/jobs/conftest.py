"""Both engines, for a test of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from groundlook_adapters.jobs.engine import Engine
from tests.jobs.houses import engine
from tests.redis_server import Server


@pytest.fixture(params=["embedded", "redis"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """What `houses.engine` opens: a file, or a Redis."""
    if request.param == "embedded":
        return str(tmp_path / "jobs.db")
    server: Server = request.getfixturevalue("redis")
    return server.url


@pytest.fixture
def make(where: str) -> Iterator[Callable[[], Engine]]:
    """Opens the same queue, as often as it is called."""
    opened: list[Engine] = []

    def one() -> Engine:
        opened.append(engine(where))
        return opened[-1]

    yield one
    for jobs in opened:
        jobs.close()


@pytest.fixture
def jobs(make: Callable[[], Engine]) -> Engine:
    return make()
