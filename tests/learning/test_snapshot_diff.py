"""Snapshots as files, and what changed between two."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundlook.core.errors import InvalidInput, NotFound
from groundlook.core.geo import GeoRef, TileRef
from groundlook.core.geometry import Box
from groundlook.core.types import Annotation, Control, LabelConfig, Project, Region, Snapshot, Task
from groundlook.learning.snapshot import find_snapshot, list_snapshots, load_snapshot, make_snapshot, save_snapshot
from groundlook.learning.snapshot.diff import ClassDiff, Diff, diff
from groundlook.learning.snapshot.resolve import Rule

LABELS = ("A", "B")
CONFIG = LabelConfig("l", "RectangleLabels", "i", "i", LABELS, (Control("l", "RectangleLabels", LABELS),))
PROJECT = Project(1, "http://127.0.0.1", "t", CONFIG)
TILE = TileRef("/a.tif", "e1", (0, 0, 64, 64), GeoRef("EPSG:32631", (0.2, 0, 5e5, 0, -0.2, 5e6)), "s", None, "{}")


def shot(*said: Annotation, splits: dict[int, str] | None = None) -> Snapshot:
    tasks = [Task(i, f"u{i}", split=(splits or {}).get(i, "train")) for i in range(9)]  # type: ignore[arg-type]
    return make_snapshot(PROJECT, tasks, said)


def region(x: float, label: str = "A", uid: str = "") -> Region:
    return Region(Box(x, 0, 5, 5), label, uid=uid)


def said(task: int, *regions: Region, number: int = 0) -> Annotation:
    return Annotation(number or task, task, regions, "ann", 1.0)


regions = st.lists(
    st.builds(region, st.integers(0, 3).map(float), st.sampled_from(LABELS), st.sampled_from(["", "u", "v", "w"])),
    max_size=5,
)
annotations = st.lists(
    st.builds(
        lambda number, task, found, who, when, skip, truth: Annotation(
            number, task, tuple(found), who, float(when), 0.0, skip, truth
        ),
        st.integers(1, 10**6),
        st.integers(0, 8),
        regions,
        st.sampled_from(["p", "q", "r"]),
        st.integers(0, 5),
        st.booleans(),
        st.sampled_from([False, False, False, True]),
    ),
    max_size=12,
    unique_by=lambda a: a.id,
)
rules = st.sampled_from([Rule(), Rule("majority"), Rule("consensus"), Rule("annotator", "p")])
snapshots = st.builds(
    lambda said, splits: shot(*said, splits=splits),
    annotations,
    st.dictionaries(st.integers(0, 8), st.sampled_from(["train", "val", "margin"])),
)


@given(annotations, rules, st.randoms(use_true_random=False))
def test_equal_input_in_any_order_gives_an_equal_id(found: list[Annotation], rule: Rule, random: object) -> None:
    tasks = [Task(i, f"u{i}") for i in range(9)]
    one = make_snapshot(PROJECT, tasks, found, rule)
    mixed, others = list(found), list(tasks)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    random.shuffle(others)  # type: ignore[attr-defined]
    assert make_snapshot(PROJECT, others, mixed, rule) == one


@given(snapshots)
def test_nothing_happened_between_a_snapshot_and_itself(one: Snapshot) -> None:
    assert diff(one, one).empty


@given(snapshots, snapshots)
def test_the_other_way_round_added_is_removed(one: Snapshot, other: Snapshot) -> None:
    there, back = diff(one, other), diff(other, one)
    assert back == Diff(
        there.removed,
        there.added,
        there.changed,
        tuple((task, after, before) for task, before, after in there.moved),
        {label: ClassDiff(c.removed, c.added, c.changed) for label, c in there.classes.items()},
        tuple(sorted((after, before, count) for before, after, count in there.relabelled)),
    )
    counts = [sum(r.label == "A" for e in s.examples for r in e.regions) for s in (one, other)]
    a = there.classes.get("A", ClassDiff())
    gained = sum(n for _, after, n in there.relabelled if after == "A")
    lost = sum(n for before, _, n in there.relabelled if before == "A")
    assert counts[1] - counts[0] == a.added - a.removed + gained - lost


def test_every_kind_of_change_is_told_apart() -> None:
    one = shot(said(1, region(0, uid="x"), region(1, uid="y")), said(2), said(3, region(5)), splits={2: "train"})
    two = shot(said(1, region(9, uid="x"), region(1, "B", "y")), said(2), said(4, region(5, "B")), splits={2: "val"})
    found = diff(one, two)
    assert (found.added, found.removed, found.changed) == ((4,), (3,), (1,))
    assert found.moved == ((2, "train", "val"),)
    assert found.classes == {"A": ClassDiff(removed=1, changed=1), "B": ClassDiff(added=1)}
    assert found.relabelled == (("A", "B", 1),)


def test_the_same_said_again_is_no_change() -> None:
    one, two = shot(said(1, region(0, uid="x"))), shot(said(1, region(0, uid="z"), number=77))
    assert one.id != two.id
    assert diff(one, two).empty


def test_everything_of_a_task_comes_back_from_the_file(tmp_path: Path) -> None:
    task = Task(3, "u", TILE, "val", True, {"b": "u2"}, "alps", "S2")
    truth = replace(said(3, region(0, uid="x"), number=8), ground_truth=True)
    one = make_snapshot(PROJECT, [task], [truth])
    assert load_snapshot(save_snapshot(one, tmp_path)) == one
    (example,) = one.examples
    assert (example.task.site, example.task.sensor, example.ground_truth) == ("alps", "S2", True)


def test_a_file_of_the_first_format_is_read(tmp_path: Path) -> None:
    example = {
        "task": 1,
        "image": "u1",
        "split": "val",
        "tile": None,
        "annotations": [5],
        "regions": [{"label": "A", "score": None, "uid": "x", "origin": "manual", "box": [1, 2, 3, 4, 0]}],
    }
    text = json.dumps({"project": 1, "labels": ["A"], "examples": [example]}, sort_keys=True, separators=(",", ":"))
    path = tmp_path / f"{hashlib.sha256(text.encode()).hexdigest()}.json"
    path.write_text(text)
    (found,) = load_snapshot(path).examples
    assert (found.task, found.annotation_ids) == (Task(1, "u1", None, "val", labelled=True), (5,))
    assert found.regions == (Region(Box(1, 2, 3, 4, 0), "A", uid="x"),)


def test_the_beginning_of_an_id_is_enough(tmp_path: Path) -> None:
    paths = [save_snapshot(shot(said(i)), tmp_path / "1") for i in range(1, 9)]
    assert set(list_snapshots(tmp_path / "1")) == set(paths)
    assert find_snapshot(tmp_path, paths[0].stem[:20]) == paths[0]
    letters = [p.stem[0] for p in paths]
    twice = next(c for c in letters if letters.count(c) > 1)
    with pytest.raises(InvalidInput, match="snapshots begin with"):
        find_snapshot(tmp_path, twice)
    for start in ("nothing", ""):
        with pytest.raises(NotFound, match="snapshot list"):
            find_snapshot(tmp_path, start)


def test_a_damaged_file_is_mended_by_taking_the_snapshot_again(tmp_path: Path) -> None:
    one = shot(said(1))
    path = save_snapshot(one, tmp_path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match="was changed"):
        load_snapshot(path)
    assert load_snapshot(save_snapshot(one, tmp_path)) == one


def test_the_file_is_one_json_object_with_sorted_keys(tmp_path: Path) -> None:
    """As it always was: the id is the hash of these very bytes."""
    for one in (shot(said(1, region(0, uid="ü")), said(2)), shot()):
        text = save_snapshot(one, tmp_path).read_text()
        assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))
        assert list(json.loads(text)) == ["examples", "format", "labels", "project"]
        assert hashlib.sha256(text.encode()).hexdigest() == one.id


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        save_snapshot(shot(said(1)), tmp_path)
    assert list(tmp_path.iterdir()) == []
