"""Replays: pairs, budgets, resuming, processes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from groundlook.core.errors import InvalidInput
from groundlook.core.pool import Pool, Ranking
from groundlook.core.ports import Strategy
from groundlook.evaluation.replay import Replay, Run, Setup, replay
from groundlook.evaluation.replay.baselines import ForegroundRandom
from groundlook.evaluation.replay.many import FULL
from groundlook.evaluation.replay.run import costs
from tests.evaluation.blobs import Anyhow, Blobs, Broken, LeastSure

BOTH: Mapping[str, Strategy] = {"random": Anyhow(), "least-sure": LeastSure()}


def same(a: Replay, b: Replay) -> bool:
    """All but the time that ranking took."""

    def timeless(found: Replay) -> str:
        runs = [replace(r, took=np.zeros(len(r.took))) for r in found.runs]
        return json.dumps(replace(found, runs=tuple(runs)).body())

    return timeless(a) == timeless(b)


def test_a_run_buys_its_budget_in_every_round() -> None:
    study, setup = Blobs(boxes=True), Setup(batch=10, rounds=6)
    for run in replay(study, BOTH, range(3), setup).runs:
        ends = 10 * np.arange(1, 7)
        assert (run.labels >= ends).all()
        assert (run.labels < ends + 4).all(), "no more than the last task of a batch is over, and it does not add up"
        assert len(np.unique(run.rows)) == len(run.rows) == run.tasks[-1]
        assert run.labels[-1] == costs(study)[run.rows].sum()
        assert run.seconds[-1] == study.seconds[run.rows].sum()
        assert np.isfinite(run.quality).all()


def test_an_empty_task_costs_one_label() -> None:
    assert costs(Blobs(boxes=True)).min() == 1


def test_a_run_ends_with_the_pool() -> None:
    run = replay(Blobs(count=25), {"random": Anyhow()}, [0], Setup(10, 9)).runs[0]
    assert run.labels.tolist() == [10, 20, 25]


def test_strategies_of_a_seed_are_pairs() -> None:
    found = replay(Blobs(), BOTH, range(4), Setup(batch=5, rounds=3, start=7))
    for ours, theirs in zip(found.of("random"), found.of("least-sure"), strict=True):
        assert ours.seed == theirs.seed
        assert ours.rows[:7].tolist() == theirs.rows[:7].tolist()
        assert ours.labels[0] == 7
        assert ours.quality[0] == theirs.quality[0], "the same start and the same seed of the model"
    starts = {tuple(r.rows[:7]) for r in found.of("random")}
    assert len(starts) == 4, "seeds differ"


def test_the_same_seed_gives_the_same_run_alone_or_among_others_in_processes_or_not() -> None:
    setup = Setup(6, 3)
    found = replay(Blobs(), BOTH, range(2), setup)
    assert same(found, replay(Blobs(), BOTH, range(2), setup, jobs=2))
    alone = replay(Blobs(), {"least-sure": LeastSure()}, [1], setup)
    assert same(replace(found, runs=found.of("least-sure")[1:], full=found.full[1:]), alone)


def test_all_labels_are_learned_from_once_per_seed() -> None:
    found = replay(Blobs(), BOTH, range(2), Setup(6, 2))
    assert [r.tasks.tolist() for r in found.full] == [[90], [90]]
    assert found.full[0].quality[0] > 0.8


class Interrupting:
    """Ctrl-C in the second run."""

    name = "random"

    def __init__(self) -> None:
        self.runs = 0

    def rank(self, pool: Pool, count: int, rng: np.random.Generator) -> Ranking:
        self.runs += len(pool.labelled) == 0
        if self.runs == 2:
            raise KeyboardInterrupt
        return Anyhow().rank(pool, count, rng)


def test_an_interrupted_replay_goes_on_where_it_was(tmp_path: Path) -> None:
    setup = Setup(6, 3)
    with pytest.raises(KeyboardInterrupt):
        replay(Blobs(), {"random": Interrupting()}, range(3), setup, tmp_path)
    kept = sorted(p.name for p in (tmp_path / "runs").iterdir())
    assert kept == [f"{FULL}-0.json", "random-0.json"]
    first = (tmp_path / "runs" / "random-0.json").stat().st_mtime_ns
    told: list[float] = []
    found = replay(
        Blobs(), {"random": Anyhow()}, range(3), setup, tmp_path, progress=lambda share, _: told.append(share)
    )
    assert (tmp_path / "runs" / "random-0.json").stat().st_mtime_ns == first, "not done again"
    assert told == [3 / 6, 4 / 6, 5 / 6, 1.0]
    assert same(found, replay(Blobs(), {"random": Anyhow()}, range(3), setup))


@pytest.mark.parametrize("other", [Setup(7, 3), Setup(6, 4), Setup(6, 3, start=2)])
def test_runs_of_another_setup_are_refused(tmp_path: Path, other: Setup) -> None:
    replay(Blobs(), {"random": Anyhow()}, [0], Setup(6, 3), tmp_path)
    with pytest.raises(InvalidInput, match=r"another replay .*--out"):
        replay(Blobs(), {"random": Anyhow()}, [0], other, tmp_path)


def test_runs_of_another_study_are_refused(tmp_path: Path) -> None:
    replay(Blobs(), {"random": Anyhow()}, [0], Setup(6, 3), tmp_path)
    with pytest.raises(InvalidInput, match="digest"):
        replay(Blobs(boxes=True), {"random": Anyhow()}, [0], Setup(6, 3), tmp_path)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_strategy_that_cannot_rank_is_left_out_and_says_why(jobs: int) -> None:
    found = replay(Blobs(), {**BOTH, "broken": Broken()}, range(2), Setup(6, 2), jobs=jobs)
    assert found.strategies == ("random", "least-sure")
    assert "89 rows of a pool of 90" in found.left_out["broken"]
    with pytest.raises(InvalidInput, match="no strategy could rank"):
        replay(Blobs(), {"broken": Broken()}, [0], Setup(6, 2))


def test_foreground_random_buys_what_holds_something_first() -> None:
    study = Blobs(boxes=True)
    run = replay(study, {"f": ForegroundRandom(study.foreground)}, [3], Setup(20, 9)).runs[0]
    held = study.foreground[run.rows]
    assert held[: int(study.foreground.sum())].all()


def test_a_run_survives_json() -> None:
    run = replay(Blobs(), {"random": Anyhow()}, [2], Setup(6, 3)).runs[0]
    run = replace(run, held_out=np.array([np.nan, 0.25, 1.0]))
    again = Run.of(json.loads(json.dumps(run.body())))
    for name in ("labels", "seconds", "tasks", "quality", "held_out", "took", "rows"):
        assert np.array_equal(getattr(run, name), getattr(again, name), equal_nan=name == "held_out"), name
        assert getattr(run, name).dtype == getattr(again, name).dtype, name
