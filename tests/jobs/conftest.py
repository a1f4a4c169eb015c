"""A Redis for each file of tests, empty for each test; and both engines."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from groundlook_adapters.jobs.engine import Engine
from tests.jobs.houses import Server, engine


@pytest.fixture(scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if shutil.which("redis-server") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("redis-server is missing, and CI must not skip it: apt-get install redis-server")
        pytest.skip("redis-server is not installed; apt-get install redis-server to run this")
    server = Server(tmp_path_factory.mktemp("redis"))
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def redis(_server: Server) -> Server:
    """One that is fast, and forgets when it is killed: see `Server.start` for one that does not."""
    _server.client.flushall()
    _server.client.config_set("appendfsync", "no")
    return _server


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
