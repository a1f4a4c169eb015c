"""From features and scores to the queue: what is kept, what it costs, and what happens when a strategy fails."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from groundlook.core.errors import InvalidConfig, InvalidInput
from groundlook.core.pool import Pool, Ranking, ranking
from groundlook.loop.audit import audit
from groundlook.loop.parts import LoopSettings
from groundlook.loop.publish import plan, publish
from groundlook.loop.refresh import refresh
from groundlook.strategies.catalog import DEFAULTS, strategy_of
from groundlook.strategies.rules import Rules
from tests.bench.rerank import rerank

from .house import CONFIG, House, Plain, pool, quiet, sync_truth, trained, unsure, window


@dataclass
class Raises:
    error: Exception
    name: str = "raises"

    def rank(self, pool: Pool, count: int, rng: np.random.Generator) -> Ranking:
        raise self.error


@dataclass
class Twice:
    """Names the first row twice and leaves out the last."""

    name: str = "twice"

    def rank(self, pool: Pool, count: int, rng: np.random.Generator) -> Ranking:
        rows = np.arange(len(pool))
        rows[-1] = 0
        return Ranking(rows, count, self.name)


# the order


def test_the_queue_is_the_strategys_order_with_reasons() -> None:
    house = trained(60)
    made = window(house)
    assert (made.strategy, made.fallback) == ("plain", "")
    chosen = [t for t in made.tasks if t.stream == "chosen"]
    assert [t.task_id for t in chosen] == [
        59,
        58,
        57,
        56,
        54,
        53,
        52,
        51,
        49,
        48,
        47,
        46,
        44,
        43,
        42,
        41,
        39,
        38,
        37,
        36,
    ]
    assert chosen[0].reason == "plain: unsure 0.59"
    assert chosen[0].score == pytest.approx(0.59)
    assert [t.rank for t in made.tasks] == list(range(20))
    assert [r.stream for r in audit(house.loop, 7)] == ["chosen"] * 20
    again = house.made(strategies=lambda name: Plain())  # another process
    first, second = (plan(loop, house.project, keep=False) for loop in (house.loop, again))
    assert first == second


def test_held_out_and_random_tasks_keep_their_places() -> None:
    house = House(settings=LoopSettings(window=40, held_out_every=4, random_share=0.3), says=unsure)
    house.loop = house.made(strategies=lambda name: Plain())
    house.add(150)
    house.add(60, "val")
    house.add(5, "margin")
    house.promote("aa")
    refresh(house.loop, 7, quiet)
    streams = [t.stream for t in window(house).tasks]
    assert len(streams) == 40
    assert streams.count("held out") == 10 or streams.count("random")
    assert {t.task_id for t in window(house).tasks if t.stream == "held out"} <= set(range(151, 211))
    assert {t.task_id for t in window(house).tasks if t.stream != "held out"} <= set(range(1, 151))
    assert 0 < streams.count("random") < 25
    assert len({t.task_id for t in window(house).tasks}) == 40


def test_what_is_left_over_comes_last_and_says_why() -> None:
    house = House(settings=LoopSettings(window=40, random_share=0.0), says=unsure, broken={2, 3})
    house.loop = house.made(strategies=lambda name: Plain())
    house.add(8)
    house.add(2, "margin")
    house.promote("aa")
    refresh(house.loop, 7, quiet)
    last = window(house).tasks[-4:]
    assert {t.task_id for t in last} == {2, 3, 9, 10}
    assert {t.stream for t in last} == {"left over"}
    assert ["straddles" in t.reason or "can't be read" in t.reason for t in last] == [True] * 4
    assert [t.rank for t in window(house).tasks] == list(range(10))


def test_empties_are_capped() -> None:
    for most, there in ((0.1, 2), (1.0, 20)):
        house = trained(100, rules=Rules(most, None))
        house.loop = replace(house.loop, strategies=lambda name: _Empties())  # type: ignore[type-var]
        publish(house.loop, house.project)
        found = pool(house)
        assert found.empty is not None
        chosen = np.isin(found.ids, [t.task_id for t in window(house).tasks])
        assert (found.empty[chosen] > 0.5).sum() == there


@dataclass
class _Empties:
    name: str = "empties"

    def rank(self, pool: Pool, count: int, rng: np.random.Generator) -> Ranking:
        return ranking(pool, np.argsort(-np.nan_to_num(pool.empty), kind="stable")[:count], self.name)  # type: ignore


def test_the_strategy_is_the_asked_the_projects_the_services_or_the_usual() -> None:
    house = trained(20)
    names: list[str] = []

    def named(name: str) -> Plain:
        names.append(name)
        return Plain()

    service = replace(house.settings, strategy="margin")
    publish(house.made(strategies=named), house.project)
    publish(house.made(strategies=named, settings=service), house.project)
    house.store.put_project(replace(house.project, settings={"strategy": "entropy"}))
    publish(house.made(strategies=named, settings=service), house.project)
    publish(house.made(strategies=named, settings=service), house.project, "random")
    assert names == [DEFAULTS["detection"], "margin", "entropy", "random"]


@pytest.mark.parametrize("name", ["uherding", "margin", "random", "k-center", "typiclust"])
def test_real_strategies_rank_the_real_pool(name: str) -> None:
    house = trained(60)
    house.answer(3)
    house.loop = house.made(strategies=strategy_of)
    publish(house.loop, house.project, name)
    assert window(house).fallback == ""
    assert window(house).strategy == name
    assert all(t.reason.startswith(name) for t in window(house).tasks)


# when it fails


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (
            Raises(InvalidInput("it needs probabilities; train first")),
            "InvalidInput: it needs probabilities; train first",
        ),
        (Raises(ZeroDivisionError("secret")), "ZeroDivisionError, see the log"),
        (Twice(), "ValueError, see the log"),
    ],
)
def test_a_strategy_that_fails_leaves_the_last_good_order(
    broken: Any, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    house = trained(60)
    good = [t.task_id for t in window(house).tasks]
    for task in good[:5]:
        house.answer(task)
    house.add(1)
    refresh(house.loop, 7, quiet)
    full = [int(i) for i in house.loop.known.order[7]]
    house.loop = replace(house.loop, strategies=lambda name: broken)  # type: ignore[type-var]
    with caplog.at_level(logging.ERROR):
        publish(house.loop, house.project)
    made = window(house)
    assert made.fallback == said
    assert [t.task_id for t in made.tasks] == full[:20]
    assert not {t.task_id for t in made.tasks} & set(good[:5])
    assert all(t.reason == "last good order" for t in made.tasks)
    assert caplog.records[-1].exc_info
    assert house.store.current_window(7) == replace(made, published=house.now)


def test_after_a_restart_the_last_good_order_is_the_last_good_window() -> None:
    house = trained(60)
    good = [t.task_id for t in window(house).tasks]
    for task in good[:5]:
        house.answer(task)
    house.loop = house.made(strategies=lambda name: Raises(RuntimeError()))
    for _ in range(2):  # the second time, the last window is a fallback itself
        publish(house.loop, house.project)
        tasks = [t.task_id for t in window(house).tasks]
        assert tasks[:15] == good[5:]
        assert tasks[15:] == [i for i in range(1, 61) if i not in good][:5]
    assert [t.reason for t in window(house).tasks[15:]] == ["by id, after the last good order"] * 5


def test_an_unknown_strategy_in_the_settings_does_not_stop_the_queue() -> None:
    house = trained(20)
    house.loop = house.made(settings=replace(house.settings, strategy="best"))
    publish(house.loop, house.project)
    assert window(house).fallback.startswith("InvalidConfig: there is no strategy 'best'")
    assert len(window(house).tasks) == 20
    with pytest.raises(InvalidConfig):
        house.loop.strategies("best")


def test_missing_features_of_some_tasks_are_told_and_made_again() -> None:
    house = trained(30)
    kept = dict(house.features._kept[7, "test-1"][1])
    for task in (28, 29):
        del house.features._kept[7, "test-1"][1][task]
    publish(house.loop, house.project, length=40)
    assert not window(house).fallback
    assert [(t.task_id, t.stream) for t in window(house).tasks[-2:]] == [(28, "left over"), (29, "left over")]
    assert "features are missing" in window(house).tasks[-1].reason
    assert house.submitted[-3:] == ["refresh", "prewarm", "clean"]
    refresh(house.loop, 7, quiet)
    assert {t.task_id for t in window(house).tasks if t.stream == "chosen"} >= {28, 29}
    assert house.features._kept[7, "test-1"][1].keys() == kept.keys()
    assert house.store.value(7, "tasks without features") == 0


def test_missing_features_of_most_tasks_leave_the_last_good_order() -> None:
    house = trained(30)
    good = [t.task_id for t in window(house).tasks]
    house.features._kept.clear()
    publish(house.loop, house.project)
    assert window(house).fallback == "MissingFeatures: 30 of 30 open tasks have no features yet"
    assert [t.task_id for t in window(house).tasks] == good


def test_a_project_of_one_task_or_none() -> None:
    house = trained(1)
    assert [t.task_id for t in window(house).tasks] == [1]
    house.answer(1)
    assert publish(house.loop, house.project) == "no open task to publish"
    assert plan(house.loop, house.project) is None


def test_classes_that_the_config_lost_are_no_features_any_more() -> None:
    house = trained(20)
    house.answer(3, ["House"])
    sync_truth(house)
    config = replace(CONFIG, labels=("House", "Tree", "Car"), controls=())
    house.store.put_project(replace(house.project, config=config))
    found = pool(house)
    assert found.counts is found.have is None


def test_the_bench_of_a_rerank_runs() -> None:
    assert 0 < rerank(300, width=8, turns=1) < 10
