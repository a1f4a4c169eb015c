"""kill -9 anywhere in a whole round of learning: what is left in the end is what an undisturbed round leaves."""

from __future__ import annotations

import json
import random
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from groundlook.core.types import Annotation, Project
from groundlook.learning.registry import FileRegistry
from groundlook.loop.said import counts_name
from groundlook.loop.snapshot import snapshots_of
from groundlook_adapters.store.features import FeatureFiles
from tests.faults.round_worker import Site
from tests.loop.house import CONFIG, House
from tests.loop.learner import site_of, tile_of, truth
from tests.waiting import until

KILLS = 20
SHOWN = 4
"""Of them in every run; all with -m slow."""
MOST_WAIT_S = 0.15
PATIENCE_S = 120.0


def prepared(folder: Path) -> Site:
    """75 tasks of three sites, of which people have labelled 60: enough for one training."""
    site = Site(folder)
    house = House()
    house.add(75)
    tasks = [
        replace(t, split="val" if t.id % 5 == 0 else "train", site=f"site {site_of(t.id)}", tile=tile_of(t.id))
        for t in house.tasks.values()
    ]
    site.studio.add(tasks)
    for task in range(1, 61):
        site.studio.say(Annotation(task, task, tuple(truth(task)), "ann", 1000.0 + task, 0.5))
    site.store.put_project(Project(7, "http://127.0.0.1:1", "t", CONFIG))
    return site


def start(folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "tests.faults.round_worker", str(folder)])


def finish(folder: Path) -> None:
    worker = start(folder)
    assert worker.wait(PATIENCE_S) == 0
    assert (folder / "done").exists()


def state(folder: Path) -> dict[str, Any]:
    """Everything that is left, but for the number of the window, job ids, and times."""
    site = Site(folder)
    try:
        registry = FileRegistry(folder / "home" / "models")
        cards = registry.cards(7)
        serving = registry.serving(7)
        assert serving is not None
        window = site.store.current_window(7)
        assert window is not None
        features = FeatureFiles(folder / "home" / "features")
        project = site.store.project(7)
        ids = list(range(1, 76))
        said = site.store.predictions(7, serving.version, ids)
        return {
            "serving": str(serving.version),
            "cards": [
                (str(c.version), c.verdict, c.parent, c.snapshot, dict(c.metrics), registry.weights(7, c).read_text())
                for c in cards
            ],
            "served": sorted(map(str, registry.served(7))),
            "snapshots": sorted(p.name for p in snapshots_of(folder / "home", 7).glob("*.json")),
            "queue is of": site.studio.model_version.rpartition("+w")[0],
            "queue is the window": site.studio.model_version == window.version,
            "queue": site.studio.served(),
            "window": [(t.task_id, t.rank, t.score, t.reason, t.stream) for t in window.tasks],
            "predictions": {t: (p.regions, str(p.version), p.knows) for t, p in said.items()},
            "scores": site.store.scores(7, serving.version),
            "features": _features(features, "test-1") | _features(features, counts_name(project, serving.version)),
            "answers": [(a.id, a.task_id) for a in site.store.served(7)],
            "learned": site.store.value(7, "learned"),
            "jobs": sorted({(j.kind, j.state) for j in site.jobs.jobs(7)}),
        }
    finally:
        site.close()


def _features(kept: FeatureFiles, name: str) -> dict[str, Any]:
    ids, rows = kept.get(7, name)
    order = np.argsort(ids)
    return {name: (ids[order].tolist(), np.asarray(rows)[order].tolist())}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], list[str]]:
    """What is left, and what was done on the way."""
    folder = tmp_path_factory.mktemp("whole")
    prepared(folder).close()
    finish(folder)
    return state(folder), (folder / "phases").read_text().splitlines()


def point(phases: list[str], chance: random.Random) -> int:
    """A step to be killed after: each kind of step is as likely as the others, however often it comes."""
    kinds = [re.sub(r"[0-9]+", "n", phase) for phase in phases]
    kind = chance.choice(sorted(set(kinds)))
    return chance.choice([i for i, k in enumerate(kinds) if k == kind])


def test_an_undisturbed_round_promotes_a_model_and_makes_its_queue(
    undisturbed: tuple[dict[str, Any], list[str]],
) -> None:
    left, _ = undisturbed
    assert [c[1] for c in left["cards"]] == ["promoted"]
    assert left["queue is of"] == left["serving"]
    assert left["queue is the window"]
    assert len(left["queue"]) == 12
    assert len(left["predictions"]) == 15


@pytest.mark.parametrize(
    "seed", [pytest.param(seed, marks=[] if seed < SHOWN else [pytest.mark.slow]) for seed in range(KILLS)]
)
def test_killed_anywhere_it_ends_as_if_nothing_had_happened(
    seed: int, undisturbed: tuple[dict[str, Any], list[str]], tmp_path: Path, record_property: Any
) -> None:
    expected, phases = undisturbed
    chance = random.Random(seed)
    step, wait = point(phases, chance), chance.uniform(0, MOST_WAIT_S)
    prepared(tmp_path).close()
    worker = start(tmp_path)
    done = tmp_path / "phases"
    until(
        lambda: worker.poll() is not None or (done.exists() and done.read_text().count("\n") > step), PATIENCE_S, 0.002
    )
    time.sleep(wait)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    hit = done.read_text().splitlines()[-1]
    print(f"seed {seed}: killed {wait * 1000:.0f} ms after step {step} of {len(phases)}, in {hit!r}")
    record_property("fault", json.dumps({"what": "worker killed", "during": hit, "lost": "nothing"}))
    (tmp_path / "done").unlink(missing_ok=True)
    finish(tmp_path)
    left = state(tmp_path)
    assert left.keys() == expected.keys()
    for name, value in expected.items():
        assert left[name] == value, name
