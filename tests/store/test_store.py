"""What every store must do, run against each: in memory and in a file."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from groundlook.core.errors import NotFound
from groundlook.core.geometry import Box, Ellipse, Point, Polygon, Shape
from groundlook.core.mask import Mask
from groundlook.core.ports import Store
from groundlook.core.types import (
    Annotation,
    Control,
    LabelConfig,
    ModelVersion,
    Original,
    Prediction,
    Project,
    RankedTask,
    Region,
    SceneRow,
    Score,
    Window,
)
from groundlook_adapters.store.sqlite import SqliteStore

V1, V2 = ModelVersion("yolo", "aa"), ModelVersion("yolo", "bb")
CONFIG = LabelConfig(
    "label", "RectangleLabels", "image", "image", ("A",), (Control("label", "RectangleLabels", ("A",)),)
)
PROJECT = Project(7, "http://127.0.0.1:8080", "secret", CONFIG, "Trees", {"arch": "yolov5n.yaml"})


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made = SqliteStore(":memory:" if request.param == "memory" else tmp_path / "store.db")
    yield made
    made.close()


def test_a_project_comes_back_whole(store: Store) -> None:
    store.put_project(PROJECT)
    assert store.project(7) == PROJECT
    assert store.projects() == [PROJECT]
    assert "secret" not in repr(store.project(7))


def test_an_unknown_project_or_scene_says_what_to_run(store: Store) -> None:
    with pytest.raises(NotFound, match="project 8 is not connected; run: groundlook connect"):
        store.project(8)
    with pytest.raises(NotFound, match="scene abc was never ingested here"):
        store.scene("abc")


def test_scenes_come_back_in_the_order_of_their_files(store: Store) -> None:
    rows = [SceneRow(f"id{i}", f"/data/{3 - i}.tif", f"etag{i}", "{}", 100 + i, 50) for i in range(3)]
    for row in rows:
        store.put_scene(row)
    store.put_scene(rows[0])
    assert store.scenes() == rows[::-1]
    assert store.scene("id1") == rows[1]


SHAPES: list[Shape] = [
    Polygon(((0.1, 0.2), (30.0, 1 / 3), (7.0, 8.0))),
    Box(1, 2, 3, 4, 5),
    Ellipse(1, 2, 3, 4, 5),
    Point(0.5, 1 / 7),
    Mask.of(np.eye(8, dtype=bool)),
]


def original(number: int) -> Original:
    shape = SHAPES[number % len(SHAPES)]
    return Original(bytes([number % 256, 0, 255]), "EPSG:4326", shape, f"a.gpkg:houses/{number}")


def test_originals_come_back_by_the_uid_of_their_region(store: Store) -> None:
    rows = {f"u{i}": original(i) for i in range(600)}
    store.put_originals(1, rows)
    assert store.originals(1, [*rows, "unknown"]) == rows
    assert store.originals(2, list(rows)) == {}
    assert store.originals(1, []) == {}
    store.put_originals(1, {"u1": original(2)})
    assert store.originals(1, ["u1"]) == {"u1": original(2)}


def put_loaded(store: Store, file: str, uids: Sequence[str], task: int = 5) -> int:
    store.put_originals(1, {u: original(i) for i, u in enumerate(uids)})
    return store.put_loaded(1, file, ((task, loaded_of(i, u)) for i, u in enumerate(uids)))


def loaded_of(number: int, uid: str) -> Prediction:
    came = original(number)
    return Prediction(V1, (Region(came.shape, "A", None, uid, "prediction", came.source),), size=(64, 32))


def test_loaded_regions_come_back_by_task_with_shape_and_order(store: Store) -> None:
    assert store.loaded(1, [5]) == {}
    uids = [f"u{i}" for i in range(600)]
    assert put_loaded(store, "a.gpkg:houses", uids) == 0
    assert put_loaded(store, "b.gpkg:roads", ["r1"], task=6) == 0
    found = store.loaded(1, [4, 5, 6, 7])
    assert list(found) == [5, 6]
    assert found[5].regions == tuple(loaded_of(i, u).regions[0] for i, u in enumerate(uids))
    assert found[5].size == (64, 32)
    assert found[5].knows
    assert store.loaded(2, [5]) == {}


def test_a_file_takes_the_place_of_what_it_left_before(store: Store) -> None:
    put_loaded(store, "a.gpkg:houses", ["u1", "u2"])
    put_loaded(store, "a.gpkg:sheds", ["s1"])
    assert put_loaded(store, "a.gpkg:houses", ["u2", "u3", "u4"]) == 2
    assert sorted(r.uid for r in store.loaded(1, [5])[5].regions) == ["s1", "u2", "u3", "u4"]
    assert put_loaded(store, "a.gpkg:houses", []) == 3
    assert [r.uid for r in store.loaded(1, [5])[5].regions] == ["s1"]
    assert store.originals(1, ["u1"]) != {}, "what was annotated meanwhile still has its original"


def test_a_load_that_fails_on_the_way_changes_nothing(store: Store) -> None:
    put_loaded(store, "a.gpkg:houses", ["u1", "u2"])

    def rows() -> Iterator[tuple[int, Prediction]]:
        for i in range(300):
            yield 5, loaded_of(i, f"new{i}")
        assert [r.uid for r in store.loaded(1, [5])[5].regions] == ["u1", "u2"], "nobody sees half a load"
        raise RuntimeError("the file is cut off")

    with pytest.raises(RuntimeError, match="cut off"):
        store.put_loaded(1, "a.gpkg:houses", rows())
    assert [r.uid for r in store.loaded(1, [5])[5].regions] == ["u1", "u2"]
    assert put_loaded(store, "a.gpkg:houses", ["u3"]) == 2


def test_scores_keep_unknown_apart_from_zero(store: Store) -> None:
    prediction = Prediction(V1, (), size=(4, 4))
    store.put_predictions(1, V1, {1: (prediction, Score(None)), 2: (prediction, Score(0.0, {"empty": 0.0}))})
    assert store.scores(1, V1) == {1: Score(None, {}), 2: Score(0.0, {"empty": 0.0})}
    assert store.scores(1, V2) == {}
    assert store.scores(2, V1) == {}


def test_predictions_keep_their_regions(store: Store) -> None:
    regions = (Region(Box(1, 2, 3, 4, 5), "A", 0.5, "u", "prediction"), Region(Polygon(((0, 0), (1, 0), (1, 1))), "A"))
    prediction = Prediction(V1, regions, peak=0.4, size=(64, 32))
    store.put_predictions(1, V1, {t: (prediction, Score(0.1)) for t in range(600)})
    found = store.predictions(1, V1, range(700))
    assert len(found) == 600
    back = found[599]
    assert (back.regions, back.peak, back.size, back.knows) == (regions, 0.4, (64, 32), True)


def test_windows_and_numbers(store: Store) -> None:
    assert store.current_window(1) is None
    numbers = [store.next_number(1, "window") for _ in range(3)]
    assert numbers == [1, 2, 3]
    tasks = (RankedTask(5, 0, 0.5, "unsure"), RankedTask(6, 1, None, "held out", "held out"))
    for number in numbers:
        store.add_window(1, Window(number, V1, tasks, 10.0 * number, "margin", "ValueError" if number == 3 else ""))
    assert [w.number for w in store.windows(1)] == numbers
    current = store.current_window(1)
    assert current == Window(3, V1, tasks, 30.0, "margin", "ValueError")
    assert current is not None
    assert (current.version, current.place(5), current.place(6), current.place(99)) == ("yolo@aa+w3", 0.0, 0.5, 1.0)


def test_windows_of_earlier_versions_are_read(tmp_path: Path) -> None:
    made = SqliteStore(tmp_path / "store.db")
    with sqlite3.connect(tmp_path / "store.db") as db:
        db.execute("insert into window values (1, 1, 'yolo@aa', 5.0, '[[5, 0, 0.5, \"unsure\"]]')")
    db.close()
    assert made.windows(1) == [Window(1, V1, (RankedTask(5, 0, 0.5, "unsure"),), 5.0)]
    made.close()


def test_served_is_in_order_of_service_and_counts_once(store: Store) -> None:
    late = Annotation(1, 10, (), "ann", created=100.0, lead_time=50.0)
    early = Annotation(2, 11, (), "bob", created=90.0, lead_time=1.0, skipped=True)
    store.add_served(1, [early, late])
    store.add_served(1, [late])
    assert store.served(1) == [late, early]  # late was served at 50, early at 89
    store.drop_served(1, [1, 999])
    assert store.served(1) == [early]


def test_values_have_defaults(store: Store) -> None:
    assert store.value(1, "learned", -1.0) == -1.0
    store.put_value(1, "learned", 24)
    assert store.value(1, "learned") == 24


def test_numbers_are_never_given_twice_to_threads(store: Store) -> None:
    taken: list[int] = []

    def take() -> None:
        taken.extend(store.next_number(1, "window") for _ in range(25))

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(1, 201))


def test_a_file_is_shared_by_two_processes_worth_of_stores(tmp_path: Path) -> None:
    one, two = SqliteStore(tmp_path / "s.db"), SqliteStore(tmp_path / "s.db")
    one.put_project(PROJECT)
    assert two.project(7) == PROJECT
    assert (tmp_path / "s.db").stat().st_mode & 0o077 == 0, "it holds tokens"
    one.close()
    two.close()
