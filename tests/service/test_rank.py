"""Ranking as the service has it: real tiles, a strategy that fails, and who gets to hear of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from groundlook.core.errors import InvalidInput
from groundlook.core.pool import Pool, Ranking
from groundlook.core.types import Prediction, Project, ProjectState, Task, Window
from groundlook.loop.publish import publish
from groundlook.loop.refresh import refresh
from groundlook.service.cli import app
from groundlook.service.settings import read_settings
from groundlook.service.wiring import decode_task, wire

from .conftest import CONFIG, House


@dataclass
class Studio:
    """Label Studio as far as a ranking sees it."""

    found: list[Task]
    windows: list[Window] = field(default_factory=list)

    def tasks(self, project: Project) -> list[Task]:
        return self.found

    def state(self, project: Project) -> ProjectState:
        return ProjectState(len(self.found), 0, "", CONFIG)

    def publish(self, project: Project, window: Window, predictions: Mapping[int, Prediction]) -> None:
        assert predictions.keys() == {t.task_id for t in window.tasks}
        self.windows.append(window)


@dataclass
class Picky:
    name: str = "margin"

    def rank(self, pool: Pool, count: int, rng: np.random.Generator) -> Ranking:
        raise InvalidInput("it needs class probabilities: train first")


@pytest.fixture
def ranked(house: House) -> tuple[House, Studio]:
    """Sixteen tiles of a real raster, looked at and published."""
    tasks = [decode_task(body, house.project) for body in house.tile_tasks(16)]
    studio = Studio(tasks)
    loop = replace(house.wired.loop, labels=studio, queue=studio)  # type: ignore[type-var]
    house.wired = replace(house.wired, loop=loop)
    refresh(loop, 7, lambda done, text: None)
    return house, studio


async def _metrics(house: House) -> list[str]:
    async with house.client() as client:
        text = (await client.get("/metrics")).text
    return [line for line in text.splitlines() if line.startswith("groundlook_rank")]


@pytest.mark.anyio
async def test_a_fallback_is_told_by_metrics_queue_and_window(
    ranked: tuple[House, Studio], monkeypatch: pytest.MonkeyPatch
) -> None:
    house, studio = ranked
    assert not studio.windows[-1].fallback
    assert await _metrics(house) == [
        'groundlook_rank_fallback{project="7"} 0.0',
        'groundlook_rank_bare{project="7"} 0.0',
    ]
    before = [t.task_id for t in studio.windows[-1].tasks if t.stream == "chosen"]
    broken = replace(house.wired.loop, strategies=lambda name: Picky())  # type: ignore[type-var]
    house.wired.store.put_project(replace(house.project, settings={"strategy": "margin"}))
    for _ in range(2):
        publish(broken, house.wired.store.project(7))
    made = studio.windows[-1]
    assert made.fallback == "InvalidInput: it needs class probabilities: train first"
    now = [t.task_id for t in made.tasks if t.reason == "last good order"]
    assert now == [t for t in before if t in now]
    assert await _metrics(house) == [
        'groundlook_rank_fallbacks_total{reason="InvalidInput",strategy="margin"} 2.0',
        'groundlook_rank_fallback{project="7"} 1.0',
        'groundlook_rank_bare{project="7"} 0.0',
    ]
    monkeypatch.setenv("GROUNDLOOK_HOME", str(house.wired.settings.home))
    shown = CliRunner().invoke(app, ["queue", "--project", "7"]).output
    assert "by margin; served against planned" in shown
    assert "this is the last good order: margin failed (InvalidInput: it needs class probabilities" in shown
    body = json.loads(CliRunner().invoke(app, ["queue", "--project", "7", "--json"]).output)
    assert (body["strategy"], body["fallback"][:12]) == ("margin", "InvalidInput")
    publish(house.wired.loop, house.wired.store.project(7), "random")
    assert 'groundlook_rank_fallback{project="7"} 0.0' in await _metrics(house)
    assert 'groundlook_rank_fallbacks_total{reason="InvalidInput",strategy="margin"} 2.0' in await _metrics(house)


def test_every_reason_names_the_strategy_and_the_tiles_have_ground(ranked: tuple[House, Studio]) -> None:
    house, studio = ranked
    for task in studio.windows[-1].tasks:
        assert task.reason.startswith((studio.windows[-1].strategy, "held out", "random"))
    ground = house.wired.loop.known.rows[7].ground
    assert np.isfinite(ground.xy).all()
    assert np.allclose(ground.reach, 16, rtol=0.01)  # 64 px of 0.5 m


def test_strategies_are_listed_with_what_they_do() -> None:
    rows = json.loads(CliRunner().invoke(app, ["strategies", "--json"]).output)
    names = {row["name"] for row in rows}
    assert {"random", "margin", "uherding", "k-center"} <= names
    assert all(row["about"] for row in rows)
    usual = [row for row in rows if "detection" in row["usual"]]
    assert len(usual) == 1
    shown = CliRunner().invoke(app, ["strategies"]).output
    assert [line.split()[0] for line in shown.splitlines() if line[0] != " "] == [row["name"] for row in rows]


def test_rank_refuses_an_unknown_strategy_and_says_which_there_are(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROUNDLOOK_HOME", str(house.wired.settings.home))
    done = CliRunner().invoke(app, ["rank", "--project", "7", "--strategy", "best", "--dry-run"])
    assert "there is no strategy 'best'; there are: " in str(done.exception)


def test_the_embedder_is_a_setting(house: House, data_dir: Any, tmp_path: Any) -> None:
    weights = data_dir / "weights" / "yolox_nano.onnx"
    if not weights.is_file():
        pytest.skip(f"{weights} is missing")
    environ = {"GROUNDLOOK_HOME": str(tmp_path / "other"), "GROUNDLOOK_EMBEDDER": f"onnx:{weights}"}
    with wire(read_settings(environ)) as wired:
        assert wired.loop.embedder.name == "onnx-yolox_nano-d39bee73564e"
    with pytest.raises(InvalidInput, match="GROUNDLOOK_ALIKE='high'"):
        read_settings({**environ, "GROUNDLOOK_ALIKE": "high"})
