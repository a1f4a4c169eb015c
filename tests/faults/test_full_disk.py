"""A disk that fills up while a round of learning runs: nothing is lost, and there being room again, it goes on."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from groundlook.core.errors import Busy
from groundlook.core.types import Annotation
from groundlook_adapters.store.sqlite import SqliteStore
from tests.faults.table import row
from tests.faults.test_killed_rounds import PATIENCE_S, prepared, state
from tests.learning.test_registry_faults import fill
from tests.waiting import until

STAYS_S = 3.0
"""How long the disk stays full: several tries of every job."""
SAME = ("serving", "cards", "served", "snapshots", "queue is of", "queue is the window", "answers", "learned", "jobs")
OTHERS = ("sync: begins", "refresh: 32 of", "learn: exam:")
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


@pytest.mark.parametrize(
    "during", ["learn: example 5", *(pytest.param(later, marks=pytest.mark.slow) for later in OTHERS)]
)
def test_a_disk_that_fills_up_is_a_fault_that_stops_nothing_for_good(
    during: str, disk: Path, undisturbed: dict[str, Any], tmp_path: Path, record_property: Any
) -> None:
    """All that is learned and said is the same. Tries may change the order of the jobs: a refresh after the training
    lets the new version look at more, and the next window is drawn by the count of those before."""
    prepared(tmp_path).close()
    phases, log = tmp_path / "phases", tmp_path / "log"
    with log.open("wb") as errors:
        worker = started(tmp_path, errors)
        try:
            until(lambda: phases.exists() and f"\n{during}" in "\n" + phases.read_text(), PATIENCE_S)
            fill(disk)
            until(lambda: any(word in log.read_text() for word in FULL), PATIENCE_S)
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


@pytest.mark.fault("disk full", "the store is written")
def test_the_store_says_what_to_do_and_has_written_all_or_nothing(disk: Path) -> None:
    store = SqliteStore(disk / "store.db")
    store.add_served(7, [answer(n) for n in range(10)])
    fill(disk)
    with pytest.raises(Busy, match=r"store\.db can't be used now .*see that its disk has room"):
        store.add_served(7, [answer(n) for n in range(10, 20_000)])
    (disk / "rest").unlink()
    assert len(store.served(7)) == 10
    store.add_served(7, [answer(n) for n in range(10, 20)])
    assert len(store.served(7)) == 20
    store.close()


def answer(number: int) -> Annotation:
    return Annotation(number, number, (), "ann", 1000.0, 0.5)
