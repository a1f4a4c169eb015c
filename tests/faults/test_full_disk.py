"""A disk that fills up while a round of learning runs on it: nothing is lost, and there being room again, it goes on."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.table import row
from tests.faults.test_killed_rounds import PATIENCE_S, prepared, state
from tests.learning.test_registry_faults import fill

STAYS_S = 4.0
"""How long the disk stays full: several tries of every job."""
SIZE = 8 << 20
DRAWN = {"queue", "window"}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of some megabytes, which holds the home of the round in `tmp_path`."""
    home = tmp_path / "home"
    home.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(home)], check=False).returncode:
        pytest.skip("only root can mount a small disk")
    try:
        yield home
    finally:
        subprocess.run(["umount", "--lazy", str(home)], check=True)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], int]:
    """What is left, and how many bytes a round takes at its most."""
    folder = tmp_path_factory.mktemp("whole")
    prepared(folder).close()
    before = most = size_of(folder / "home")
    with (folder / "log").open("wb") as log:
        worker = started(folder, log)
        while worker.poll() is None:
            most = max(most, size_of(folder / "home"))
            time.sleep(0.05)
        assert worker.returncode == 0
    return state(folder), most - before


def started(folder: Path, log: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "tests.faults.round_worker", str(folder)], stderr=log)


def size_of(folder: Path) -> int:
    """On its disk; what goes while we look is left out."""
    found = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            found += path.stat().st_blocks * 512
    return found


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.85, 0.95])
def test_a_disk_that_fills_up_stops_nothing_for_good(
    share: float, disk: Path, undisturbed: tuple[dict[str, Any], int], tmp_path: Path, record_property: Any
) -> None:
    """With room for `share` of what a round takes. Tries change the order of its jobs, so that the windows made on the
    way, by whose count the next is drawn, may be others; all that is learned and said is the same."""
    expected, size = undisturbed
    prepared(tmp_path).close()
    (disk / "room").write_bytes(bytes(int(share * size)))
    fill(disk)
    (disk / "room").unlink()
    log = tmp_path / "log"
    with log.open("wb") as errors:
        worker = started(tmp_path, errors)
        try:
            until(lambda: is_full(log))
            time.sleep(STAYS_S)
            assert worker.poll() is None
            assert not (tmp_path / "done").exists()
            hit = (tmp_path / "phase").read_text() if (tmp_path / "phase").exists() else "start"
            (disk / "rest").unlink()
            freed = time.monotonic()
            assert worker.wait(PATIENCE_S) == 0
        finally:
            worker.kill()
            worker.wait()
    record_property("fault", row(f"disk full for {STAYS_S:.0f} s", hit, time.monotonic() - freed))
    left = state(tmp_path)
    for name in expected.keys() - DRAWN:
        assert left[name] == expected[name], name
    assert sorted(t for t, _, _ in left["queue"]) == sorted(t for t, *_ in left["window"])
    assert len(left["queue"]) == len(expected["queue"])
    assert not [p.name for p in disk.rglob("*") if ".tmp" in p.name]


def is_full(log: Path) -> bool:
    text = log.read_text(errors="replace")
    return any(word in text for word in ("no space is left", "see that its disk has room", "disk is full", "Errno 28"))


def until(holds: Any) -> None:
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)
