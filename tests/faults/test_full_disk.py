"""A disk that fills up while a round of learning runs on it: nothing is lost, and there being room again, it goes on."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.table import row
from tests.faults.test_killed_rounds import PATIENCE_S, prepared, state
from tests.learning.test_registry_faults import fill

STAYS_S = 4.0
"""How long the disk stays full: several tries of every job."""
SAME = ("serving", "cards", "served", "snapshots", "queue is of", "queue is the window", "answers", "learned", "jobs")
FULL = ("no space is left", "see that its disk has room", "No space left on device")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of some megabytes, which holds the home of the round in `tmp_path`."""
    home = tmp_path / "home"
    home.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(home)], check=False).returncode:
        pytest.skip("only root can mount a small disk")
    try:
        yield home
    finally:
        subprocess.run(["umount", "--lazy", str(home)], check=True)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("whole")
    prepared(folder).close()
    with (folder / "log").open("wb") as log:
        assert started(folder, log).wait(PATIENCE_S) == 0
    return state(folder)


def started(folder: Path, log: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "tests.faults.round_worker", str(folder)], stderr=log)


@pytest.mark.parametrize("during", ["sync: begins", "refresh: 32 of", "learn: example 5", "learn: exam:"])
def test_a_disk_that_fills_up_stops_nothing_for_good(
    during: str, disk: Path, undisturbed: dict[str, Any], tmp_path: Path, record_property: Any
) -> None:
    """All that is learned and said is the same. Tries may change the order of the jobs: a refresh after the training
    lets the new version look at more, and the next window is drawn by the count of those before."""
    prepared(tmp_path).close()
    phases, log = tmp_path / "phases", tmp_path / "log"
    with log.open("wb") as errors:
        worker = started(tmp_path, errors)
        try:
            until(lambda: phases.exists() and f"\n{during}" in "\n" + phases.read_text())
            fill(disk)
            until(lambda: any(word in log.read_text() for word in FULL))
            time.sleep(STAYS_S)
            assert worker.poll() is None
            assert not (tmp_path / "done").exists()
            (disk / "rest").unlink()
            freed = time.monotonic()
            assert worker.wait(PATIENCE_S) == 0
        finally:
            worker.kill()
            worker.wait()
    record_property("fault", row(f"disk full for {STAYS_S:.0f} s", during, time.monotonic() - freed))
    left = state(tmp_path)
    for name in SAME:
        assert left[name] == undisturbed[name], name
    for name in ("predictions", "scores"):
        assert {task: left[name].get(task) for task in undisturbed[name]} == undisturbed[name], name
    assert left["features"]["test-1"] == undisturbed["features"]["test-1"]
    assert sorted(t for t, *_ in left["queue"]) == sorted(t for t, *_ in left["window"])
    assert len(left["queue"]) == len(undisturbed["queue"])
    assert not [path for path in disk.rglob(".*") if path.is_file()], "nothing half written stays"


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)
