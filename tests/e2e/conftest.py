"""A real Label Studio for every end-to-end test of a run: one server, its own data folder, stopped by its pid. And a
browser for a file of tests."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import psutil
import pytest
from playwright.sync_api import Page, sync_playwright

from groundlook.demo.studio import Studio


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """Shared: make a project of your own, leave those of others alone. It may be restarted, and keeps its port."""
    with Studio(tmp_path_factory.mktemp("label-studio") / "data") as server:
        yield server
        pid = server.pid
    assert pid is None or not psutil.pid_exists(pid)
    assert not [c for c in psutil.Process(os.getpid()).children(recursive=True) if c.pid == pid]


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    program = next((p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None)
    if program is None:
        assert os.environ.get("CI") != "true", "CI must have Chromium; .ci/run installs it"
        pytest.skip("no Chromium on this machine: install Debian's package chromium")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=[*flags, "--disable-sync"])
        yield browser.new_page(viewport={"width": 1400, "height": 900})
        browser.close()
