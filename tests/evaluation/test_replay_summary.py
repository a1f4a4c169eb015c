"""What a replay says of curves whose answer is known, and the files that it leaves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from groundlook.core.errors import InvalidInput
from groundlook.evaluation.replay import Replay, Run, Setup
from groundlook.evaluation.replay.report import body, table, write
from groundlook.evaluation.replay.summary import summarise

LABELS = 10.0 * np.arange(1, 11)


def run(strategy: str, seed: int, quality: np.ndarray, labels: np.ndarray = LABELS) -> Run:
    zeros = np.zeros(len(labels))
    return Run(
        strategy, seed, labels, labels * 6, labels.astype(np.int64), quality, zeros, zeros + 0.02, zeros.astype(int)
    )


def lines(twice: float = 2.0, seeds: int = 6) -> Replay:
    """ "quick" needs `twice` fewer labels than "random" for everything, "slow" never gets anywhere."""
    runs = []
    for seed in range(seeds):
        noise = seed / 1000
        runs.append(run("random", seed, LABELS / 125 + noise))
        runs.append(run("quick", seed, np.minimum(twice * LABELS / 125, 1) + noise))
        runs.append(run("slow", seed, LABELS / 500 + noise))
    full = tuple(run("all-labels", s, np.array([0.9]), np.array([500.0])) for s in range(seeds))
    return Replay("lines <1>", "classification", "accuracy", Setup(10, 10), tuple(runs), full, {"odd": "odd: no & no"})


def test_half_the_labels_is_a_ratio_of_a_half() -> None:
    found = summarise(lines(), (".3", ".5", ".7"))
    quick = found.line("quick")
    assert quick.ratio == pytest.approx(0.5, abs=0.01)
    assert quick.bound == ""
    assert quick.targets[1].labels == pytest.approx(31.1, abs=0.2)
    assert quick.targets[1].saved == pytest.approx(6 * 31.1, abs=2), "seconds, of six a label"
    assert quick.against is not None
    assert (quick.against.wins, quick.against.losses) == (6, 0)
    assert found.line("random").ratio == 1.0
    assert found.subject == "quick"
    assert [line.strategy for line in found.lines] == ["quick", "random", "slow"]


def test_losses_are_told() -> None:
    slow = summarise(lines(), (".15",)).line("slow")
    assert slow.against is not None
    assert slow.against.losses == 6
    assert slow.against.gain < 0
    assert slow.ratio is not None
    assert slow.ratio > 2
    assert slow.worse is None, "six seeds are too few for ten rounds: 10 / 2⁶ > .05"
    assert summarise(lines(seeds=9), (".15",)).line("slow").worse == tuple(LABELS)
    assert summarise(lines(seeds=9), (".15",)).line("quick").worse == ()
    assert slow.lowest < -0.4


def test_a_target_that_was_never_reached_is_a_bound() -> None:
    found = summarise(lines(), (".9",))
    quick, slow = found.line("quick"), found.line("slow")
    assert quick.bound == "≤"
    assert quick.targets[0].reached == 6
    assert quick.ratio == pytest.approx(56 / 100, abs=0.01), "random bought 100 and was not there"
    assert slow.targets[0].reached == 0
    assert slow.targets[0].labels == 100
    assert slow.ratio is None, "neither got there: nothing is known"
    assert summarise(lines(), (".15", ".5")).line("slow").bound == "≥"


def test_targets_are_qualities_or_shares_of_all_labels() -> None:
    assert summarise(lines(), ("50%", "0.7")).targets == pytest.approx((0.45, 0.7))
    for wrong in ("many", "120%", "0", "-1"):
        with pytest.raises(InvalidInput, match="target"):
            summarise(lines(), (wrong,))
    with pytest.raises(InvalidInput, match="there are: random, quick, slow"):
        summarise(lines(), (".5",), reference="entropy")


def test_the_files_hold_everything_and_need_nothing(tmp_path: Path) -> None:
    found = lines()
    summary = summarise(found, (".3", "90%"))
    files = write(found, summary, "groundlook replay --data <here>", tmp_path / "out")
    said = json.loads(files["json"].read_text())
    assert said == json.loads(json.dumps(body(found, summary, "groundlook replay --data <here>")))
    assert len(said["replay"]["runs"]) == 18
    with Image.open(files["png"]) as image:
        assert image.size[0] > 1000
        assert len(np.unique(np.asarray(image.convert("L")))) > 20
    page = files["html"].read_text()
    for needed in (
        "<svg",
        "quick",
        "slow",
        "annotation time (min)",
        "groundlook replay --data &lt;here&gt;",
        "no &amp; no",
    ):
        assert needed in page, needed
    assert "lines &lt;1&gt;" in page
    assert "http" not in page.replace("http://www.w3.org", ""), "nothing is fetched"
    assert page == write(found, summary, "groundlook replay --data <here>", tmp_path / "out")["html"].read_text()


def test_the_table_shows_winners_and_losers() -> None:
    found = lines()
    shown = table(found, summarise(found, (".5",)))
    quick, slow = (next(line for line in shown.splitlines() if line.startswith(n)) for n in ("quick", "slow"))
    assert "6-0-0" in quick
    assert "0-0-6" in slow
    assert ">100" in slow
