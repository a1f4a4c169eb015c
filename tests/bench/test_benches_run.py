"""Every bench runs and prints its line. What it measured is no test: machines are shared."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from groundlook.core.errors import NotFound
from groundlook.service import bench
from groundlook.service.bench import Goal, Result, Turns, in_turns, percentile
from tests.bench import bench_train

KEYS = {"case", "ours", "peer", "peer_name", "unit", "ratio", "goal", "holds", "best", "repeats"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Benches of our own."""
    monkeypatch.setattr(bench, "bench_folder", lambda: tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.timeout(1800)  # bench models exports and tries runtimes, for minutes on a busy machine
@pytest.mark.parametrize("name", bench.names())
def test_it_prints_one_line(name: str) -> None:
    command = [sys.executable, "-m", "groundlook", "bench", name, "--quick", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1700)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.strip().splitlines()
    body = json.loads(line)
    assert set(body) == {"bench", "results"}
    assert body["bench"] == name
    assert body["results"]
    for row in body["results"]:
        assert set(row) == KEYS
        assert math.isfinite(row["ours"])
        assert all(row[k] is None or math.isfinite(row[k]) for k in ("peer", "ratio", "best"))
        assert isinstance(row["holds"], bool)
        assert row["repeats"] > 0


def test_goals_and_ratios() -> None:
    held = Result("a", 2.0, "ms", Goal("ours", "<", 3.0), 5, 8.0, "them")
    assert held.body()["ratio"] == 0.25
    assert held.body()["goal"] == "ours < 3"
    assert held.holds
    assert not Result("a", 3.0, "ms", Goal("ours", "<", 3.0), 5).holds
    assert Result("a", 9.0, "/s", Goal("ratio", ">", 2.0), 5, 4.0, "them").holds
    assert not Result("a", 9.0, "/s", Goal("ratio", ">", 2.0), 5).holds  # no peer, no ratio


def test_turns_alternate() -> None:
    seen: list[str] = []
    turns = in_turns(lambda i: seen.append(f"o{i}"), lambda i: seen.append(f"p{i}"), 3, warm=1)
    assert seen == ["o0", "p0", "o0", "p0", "p1", "o1", "o2", "p2"]
    assert len(turns.ours) == len(turns.peer) == 3
    assert Turns((3.0, 2.0), (1.0, 5.0)).differences == [2.0, -3.0]


def test_percentile() -> None:
    values = [float(v) for v in range(1, 101)]
    assert percentile(values, 0.95) == 95.0
    assert percentile(values, 0.5) == 50.0
    assert percentile([7.0], 0.95) == 7.0
    assert percentile([1.0, 2.0], 1.0) == 2.0


def test_a_case_that_crashes_keeps_those_before_it(folder: Path) -> None:
    (folder / "bench_half.py").write_text(
        "import os\n"
        "from groundlook.service.bench import Goal, Result\n"
        "def run(quick):\n"
        "    yield Result('threads', float(os.environ['OMP_NUM_THREADS']), 'n', Goal('ours', '<', 9), 1)\n"
        "    raise SystemExit(7)\n"
    )
    told: list[object] = []
    script = (
        "import sys; from groundlook.service import bench; from pathlib import Path;"
        f"bench.bench_folder = lambda: Path({str(folder)!r}); bench._child('half', True)"
    )
    child = [sys.executable, "-c", script]
    results, ended = bench.collect(child, 3, told.append)
    assert [r["ours"] for r in results] == [3.0]
    assert told == results
    assert ended == "it ended with code 7 after 1 cases"


def test_the_process_that_trains_is_found_among_others() -> None:
    wait = [sys.executable, "-c", "import time; time.sleep(60)"]
    with subprocess.Popen(wait) as other, subprocess.Popen([*wait, bench_train.CHILD]) as trainer:
        try:
            assert bench_train.trainer().pid == trainer.pid
        finally:
            trainer.kill()
            trainer.wait()
        try:
            with pytest.raises(RuntimeError, match="no process of ours trains"):
                bench_train.trainer()
        finally:
            other.kill()


def test_an_unknown_bench_and_no_checkout(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotFound, match="no bench 'other'; there are: none"):
        bench.run_bench("other", True, 1, lambda row: None)
    monkeypatch.undo()
    monkeypatch.setattr("groundlook.__file__", str(folder / "site-packages" / "groundlook" / "__init__.py"))
    with pytest.raises(NotFound, match="clone it"):
        bench.names()
