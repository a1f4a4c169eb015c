"""`groundlook replay` on a folder of generated images."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from groundlook.core.errors import GroundlookError
from groundlook.service.cli import app
from groundlook.service.wiring.replay import guess
from tests.models.test_classification_study import images


def replay(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["replay", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture
def data(tmp_path: Path) -> Path:
    images(tmp_path / "set", 20)
    return tmp_path / "set"


def test_a_replay_writes_its_report_and_goes_on_from_what_it_has(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/groundlook", "replay", "--data", "some set"])
    out = tmp_path / "out"
    common = ("--data", str(data), "--seeds", "2", "--batch", "4", "--rounds", "3", "--out", str(out))
    text = replay(*common, "--strategies", "margin", "--targets", ".6")
    assert "margin" in text
    assert "random" in text
    first = json.loads((out / "replay.json").read_text())
    assert {r["strategy"] for r in first["replay"]["runs"]} == {"random", "margin"}
    before = {p.name: p.stat().st_mtime_ns for p in (out / "runs").iterdir()}
    said = json.loads(replay(*common, "--strategies", "margin,uherding", "--targets", "90%,.99", "--json"))
    after = {p.name: p.stat().st_mtime_ns for p in (out / "runs").iterdir()}
    assert {n: after[n] for n in before} == before, "kept runs are not done again"
    assert {line["strategy"] for line in said["summary"]["lines"]} == {"random", "margin", "uherding"}
    assert said["summary"]["targets"] == [pytest.approx(0.9 * said["summary"]["full"]), 0.99]
    assert said["command"] == "groundlook replay --data 'some set'", "the words typed, not where the program lies"
    assert all(Path(p).stat().st_size > 1000 for p in said["files"].values())
    assert said["setup"] == {"batch": 4, "rounds": 3, "start": 0}


def test_peers_are_offered_where_they_are_installed(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("skactiveml")
    arguments = ("--seeds", "1", "--batch", "4", "--rounds", "1", "--strategies", "margin,skactiveml-coreset")
    body = json.loads(replay("--data", str(data), *arguments, "--out", str(tmp_path / "o"), "--json"))
    assert {line["strategy"] for line in body["summary"]["lines"]} == {"random", "margin", "skactiveml-coreset"}
    assert np.isfinite([line["area"] for line in body["summary"]["lines"]]).all()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--data", "nowhere"), "nowhere is no folder"),
        (("--data", "{data}", "--task", "sorting"), "no task 'sorting'"),
        (("--data", "{data}", "--strategies", "best"), "no strategy 'best'"),
        (("--data", "{data}", "--targets", "high"), "target 'high'"),
        (("--data", "{data}", "--subject", "entropy", "--strategies", "margin"), "strategy 'entropy' was not among"),
        (("--data", "{data}", "--embedder", "magic"), "embedder 'magic'"),
    ],
)
def test_what_is_wrong_is_said_at_once(data: Path, tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    """Before hours of replaying, not after."""
    given = [a.format(data=data) for a in arguments]
    done = CliRunner().invoke(app, ["replay", *given, "--out", str(tmp_path / "out")])
    assert isinstance(done.exception, GroundlookError)
    assert said in str(done.exception)
    assert not list((tmp_path / "out").glob("runs/*"))


def test_the_task_is_guessed_from_the_folder(tmp_path: Path) -> None:
    for file, task in (
        ("a/labels.geojson", "detection"),
        ("b/one.xml", "detection"),
        ("c/sea/1.png", "classification"),
    ):
        path = tmp_path / task[:3] / file
        path.parent.mkdir(parents=True)
        path.touch()
    assert guess(tmp_path / "det" / "a") == guess(tmp_path / "det") == guess(tmp_path / "det" / "b") == "detection"
    assert guess(tmp_path / "cla" / "c") == "classification"


def test_ctrl_c_ends_at_once_and_keeps_what_is_done(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    asked = ["--data", str(data), "--seeds", "60", "--batch", "2", "--rounds", "8", "--strategies", "margin"]
    command = [sys.executable, "-m", "groundlook", "replay", *asked, "--jobs", "2", "--out", str(out)]
    child = subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        while child.poll() is None and not list(out.glob("runs/*.json")):
            time.sleep(0.05)
        os.killpg(child.pid, signal.SIGINT)  # as a terminal does: the parent and its workers
        said, error = child.communicate(timeout=60)
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    assert child.returncode == 130, error
    assert (said, error) == ("", "")
    kept = list(out.glob("runs/*"))
    assert 0 < len(kept) < 180
    assert all(json.loads(p.read_text())["run"]["quality"] for p in kept), "whole files only"
