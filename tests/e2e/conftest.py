"""A real Label Studio for every end-to-end test of a run: one server, its own data folder, stopped by its pid."""

from __future__ import annotations

import os
from collections.abc import Iterator

import psutil
import pytest

from groundlook.demo.studio import Studio


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """Shared: make a project of your own, leave those of others alone. It may be restarted, and keeps its port."""
    with Studio(tmp_path_factory.mktemp("label-studio") / "data") as server:
        yield server
        pid = server.pid
    assert pid is None or not psutil.pid_exists(pid)
    assert not [c for c in psutil.Process(os.getpid()).children(recursive=True) if c.pid == pid]
