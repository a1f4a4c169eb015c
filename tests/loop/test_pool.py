"""What is known of the open tasks, where it is kept, and what it costs to know it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from groundlook.core.types import ModelVersion, Prediction
from groundlook.loop.known import listed
from groundlook.loop.parts import LoopSettings
from groundlook.loop.pool import open_tasks, positions, rounds, task_rows
from groundlook.loop.publish import publish
from groundlook.loop.refresh import refresh, seen_key
from groundlook.loop.sync import sync
from groundlook.strategies.catalog import strategy_of

from .house import CHOICES, House, Plain, metres, pool, quiet, sync_truth, trained, window

# what it costs


def test_a_new_tile_costs_one_embedding_and_a_new_model_rescoring_only() -> None:
    house = trained(30)
    assert house.calls["embedded"] == house.calls["predicted"] == 30
    house.add(3)
    refresh(house.loop, 7, quiet)
    assert house.calls["embedded"] == house.calls["predicted"] == 33
    house.promote("bb")
    refresh(house.loop, 7, quiet)
    assert (house.calls["embedded"], house.calls["predicted"]) == (33, 66)
    refresh(house.loop, 7, quiet)
    assert (house.calls["embedded"], house.calls["predicted"]) == (33, 66)


def test_another_embedder_is_asked_for_every_tile_once() -> None:
    house = trained(30)
    other = house.made(strategies=lambda name: Plain())
    other.embedder.name = "test-2"  # type: ignore[misc]
    sync(other, 7, quiet)
    assert house.submitted.count("refresh") == 1
    refresh(other, 7, quiet)
    assert house.calls["embedded"] == 60
    assert house.store.value(7, seen_key(other, house.cards[-1].version)) == 30


def test_an_annotation_needs_no_list_of_all_tasks() -> None:
    house = trained(30)
    house.answer(3)
    publish(house.loop, house.project)
    house.answer(4)
    publish(house.loop, house.project)  # now it is known that Label Studio calls labelled what was answered
    before = house.calls["listed"]
    for task in (5, 6):
        house.answer(task)
        publish(house.loop, house.project)
        assert task not in {t.task_id for t in window(house).tasks}
    assert house.calls["listed"] == before
    house.answer(7, told=False)  # an event that was lost
    publish(house.loop, house.project)
    assert house.calls["listed"] == before + 1
    assert 7 not in {t.task_id for t in window(house).tasks}


def test_where_a_task_needs_two_opinions_label_studio_is_asked() -> None:
    house = trained(30)
    house.answer(3)
    house.tasks[3] = replace(house.tasks[3], labelled=False)
    for _ in range(2):
        before = house.calls["listed"]
        publish(house.loop, house.project)
        assert house.calls["listed"] == before + 1


def test_an_annotation_that_is_taken_back_opens_its_task() -> None:
    house = trained(30)
    for task in (3, 4):
        house.answer(task)
        publish(house.loop, house.project)
    house.people.pop()
    house.store.drop_served(7, [2])
    house.tasks[4] = replace(house.tasks[4], labelled=False)
    publish(house.loop, house.project)
    assert 4 in pool(house).ids
    assert 3 not in pool(house).ids


# what is in the pool


def test_the_pool_of_boxes_has_counts_empties_ground_and_done() -> None:
    house = trained(60)
    house.answer(2, ["House", "House", "Tree"])
    house.answer(7)
    house.answer(9, skipped=True)
    house.people.pop()
    house.store.drop_served(7, [3])
    sync_truth(house)
    found = pool(house)
    assert found.kind == "detection"
    assert found.proba is None
    assert len(found) == 58
    assert found.embedding.dtype == np.float16
    assert found.labelled.shape == (2, 6)
    row = found.ids.tolist().index(31)
    assert found.counts is not None
    assert found.empty is not None
    assert np.allclose(found.counts[row], [0, 0.31])
    assert found.empty[row] == pytest.approx(0.69, abs=1e-3)
    assert found.empty[found.ids.tolist().index(35)] == pytest.approx(0.9, abs=1e-3)
    assert found.have is not None
    assert found.have.tolist() == [2, 1]
    assert set(found.terms) == {"empty", "entropy", "margin"}
    assert np.isnan(found.terms["entropy"][found.ids.tolist().index(35)])


def test_seconds_are_learned_from_how_long_people_took() -> None:
    house = trained(100)
    for task in range(51, 91):
        objects = task % 4
        house.answer(task, ["House"] * objects, lead=2.0 + 10.0 * objects)
    sync_truth(house)
    found = pool(house)
    assert found.seconds is not None
    assert found.counts is not None
    slope, start = np.polyfit(found.counts.sum(axis=1), found.seconds, 1)
    assert 7 < slope < 10.5  # drawn towards what is usual: 4 s a region, 5 s a task
    assert 2 < start < 5
    publish(house.made(strategies=strategy_of), house.project, "value-per-second")
    assert not window(house).fallback


def test_the_pool_of_classes_has_probabilities_and_the_classes_so_far() -> None:
    def says(version: ModelVersion, task: int) -> Prediction:
        row = np.full((1, 3), 0.1, np.float32)
        row[0, task % 3] = 0.8
        return Prediction(version, (), row, 0.8, kind="classification")

    house = trained(30, config=CHOICES, says=says)
    house.answer(3, ["water"])
    house.answer(4)
    sync_truth(house)
    found = pool(house)
    assert found.kind == "classification"
    assert found.counts is None
    assert found.proba is not None
    assert found.classes is not None
    assert np.allclose(found.proba.sum(axis=1), 1)
    assert (found.proba.argmax(axis=1) == found.ids % 3).all()
    assert found.classes.tolist() == [2, -1]
    assert found.have is not None
    assert found.have.tolist() == [0, 0, 1]


def test_a_model_that_has_not_learned_leaves_everything_unknown() -> None:
    house = House(settings=LoopSettings(window=20, random_share=0.0))
    house.add(10)
    refresh(house.loop, 7, quiet)
    rows = task_rows(house.loop, house.project)
    found = open_tasks(house.loop, house.project, ModelVersion("untrained", "000000000000"), rows).pool
    assert np.isnan(found.score).all()
    assert found.proba is found.counts is found.have is found.empty is None
    assert sorted(t.task_id for t in window(house).tasks) == list(range(1, 11))
    assert not window(house).fallback


def test_ground_is_metres_apart_and_codes() -> None:
    house = House()
    house.add(60)
    rows = listed(list(house.tasks.values()), (), metres)
    ground = rows.ground
    assert np.allclose(ground.reach, 50, rtol=0.02)
    across = np.linalg.norm(ground.xy[1] - ground.xy[0])
    down = np.linalg.norm(ground.xy[10] - ground.xy[0])
    assert across == pytest.approx(100, rel=0.02)
    assert down == pytest.approx(100, rel=0.02)
    assert ground.scene.tolist() == [i // 25 for i in range(1, 61)]
    assert ground.season.tolist() == [0] * 60
    assert ground.day[0] == (np.datetime64("2024-01-03") - np.datetime64("1970-01-01")).astype(int)
    assert len(set(ground.block.tolist())) < 6
    assert (ground.sensor == -1).all()
    bare = listed([replace(t, tile=None) for t in house.tasks.values()], (), metres).ground
    assert np.isnan(bare.xy).all()
    assert (bare.scene == -1).all()
    assert (bare.block == -1).all()


def test_rounds_say_which_strategy_chose_how_many_labels_and_what_came_of_it() -> None:
    house = trained(40)
    house.answer(3)
    house.answer(4)
    house.promote("bb", 0.6)
    assert [(r.strategy, r.labels, r.quality) for r in rounds(house.loop, house.project)] == [
        ("", 0, 0.5),
        ("plain", 2, 0.6),
    ]
    assert pool(house).rounds == rounds(house.loop, house.project)


def test_positions_are_found_in_any_order() -> None:
    kept = np.array([5, 2, 9, 4])
    assert positions(kept, np.array([2, 3, 4, 9, 10])).tolist() == [1, -1, 3, 2, -1]
    assert positions(np.sort(kept), np.array([1, 2, 9])).tolist() == [-1, 0, 3]
    assert positions(np.zeros(0, np.int64), np.array([1])).tolist() == [-1]
