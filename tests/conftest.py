"""Fixtures that every part of the suite shares."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.faults.table import pytest_configure, pytest_runtest_setup, pytest_terminal_summary  # noqa: F401 hooks
from tests.redis_server import Server, serving

# A shared machine can stall for longer than any deadline per example.
settings.register_profile("groundlook", deadline=None, derandomize=True)
settings.load_profile("groundlook")

REPO = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The real imagery and weights: `GROUNDLOOK_DATA`, or `../shared/data` beside the checkout."""
    beside = REPO.parent / "shared" / "data"
    found = Path(os.environ.get("GROUNDLOOK_DATA", beside))
    if found.is_dir():
        return found
    if os.environ.get("CI") == "true" and beside.parent.is_dir():
        pytest.fail(f"{found} is missing, and CI must not skip it")
    pytest.skip(f"real data is not at {found}; set GROUNDLOOK_DATA to run this")


@pytest.fixture(scope="module")
def _redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis(_redis: Server) -> Server:
    """One for each file of tests, empty for each test: see `Server.fresh`."""
    _redis.fresh()
    return _redis
