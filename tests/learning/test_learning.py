"""Snapshots and the registry."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from groundlook.core.errors import InvalidWeights, NotFound
from groundlook.core.geo import GeoRef, TileRef
from groundlook.core.geometry import Box, Polygon
from groundlook.core.types import Annotation, Control, LabelConfig, ModelCard, ModelVersion, Project, Region, Task
from groundlook.learning.registry import FileRegistry, file_sha256, version_of
from groundlook.learning.snapshot import load_snapshot, make_snapshot, save_snapshot

CONFIG = LabelConfig(
    "label", "RectangleLabels", "image", "image", ("A", "B"), (Control("label", "RectangleLabels", ("A", "B")),)
)
PROJECT = Project(1, "http://127.0.0.1", "t", CONFIG)
TILE = TileRef("/data/a.tif", "e1", (0, 0, 64, 64), GeoRef("EPSG:32631", (0.2, 0, 5e5, 0, -0.2, 5e6)), "s", None, "{}")
TASKS = [Task(1, "u1", TILE, "train"), Task(2, "u2", None, "val"), Task(3, "u3", TILE, "margin"), Task(4, "u4", TILE)]


def said(number: int, task: int, label: str = "A", created: float = 1.0, **more: object) -> Annotation:
    shapes = (Region(Box(1, 2, 3, 4, 30), label), Region(Polygon(((0, 0), (5, 0), (5, 5))), label))
    return replace(Annotation(number, task, shapes, "ann", created), **more)  # type: ignore[arg-type]


def test_equal_input_gives_an_equal_id() -> None:
    one = make_snapshot(PROJECT, TASKS, [said(1, 1), said(2, 2)])
    two = make_snapshot(PROJECT, list(reversed(TASKS)), [said(2, 2), said(1, 1)])
    assert one == two
    assert len(one.id) == 64


def test_any_change_gives_another_id() -> None:
    base = make_snapshot(PROJECT, TASKS, [said(1, 1)])
    others = [
        make_snapshot(PROJECT, TASKS, [said(1, 1, "B")]),
        make_snapshot(PROJECT, TASKS, [said(1, 1), said(2, 2)]),
        make_snapshot(PROJECT, [replace(TASKS[0], split="val"), *TASKS[1:]], [said(1, 1)]),
        make_snapshot(PROJECT, [replace(TASKS[0], tile=replace(TILE, etag="e2"))], [said(1, 1)]),
    ]
    assert len({base.id, *(o.id for o in others)}) == 5


def test_the_newest_answer_stands_and_skips_say_nothing() -> None:
    shot = make_snapshot(PROJECT, TASKS, [said(5, 1, "B", 9.0), said(4, 1, "A", 2.0), said(6, 4, skipped=True)])
    (example,) = shot.examples
    assert (example.task.id, example.annotation_ids, example.regions[0].label) == (1, (5,), "B")


def test_looked_at_and_empty_is_data() -> None:
    shot = make_snapshot(PROJECT, TASKS, [said(1, 1, regions=())])
    assert [(e.task.id, e.regions) for e in shot.examples] == [(1, ())]


def test_folds_don_t_mix() -> None:
    shot = make_snapshot(PROJECT, TASKS, [said(1, 1), said(2, 2), said(3, 3)])
    assert [e.task.id for e in shot.part("train")] == [1]
    assert [e.task.id for e in shot.part("val")] == [2]


def test_a_saved_snapshot_comes_back_and_a_changed_one_is_found(tmp_path: Path) -> None:
    shot = make_snapshot(PROJECT, TASKS, [said(1, 1), said(2, 2)])
    path = save_snapshot(shot, tmp_path)
    back = load_snapshot(path)
    assert (back.id, back.labels) == (shot.id, shot.labels)
    assert [e.regions for e in back.examples] == [e.regions for e in shot.examples]
    assert [e.task.tile for e in back.examples] == [e.task.tile for e in shot.examples]
    path.write_text(path.read_text().replace('"A"', '"B"'))
    with pytest.raises(ValueError, match="was changed"):
        load_snapshot(path)


def card(digest: str, sha: str, created: float = 1.0) -> ModelCard:
    return ModelCard(ModelVersion("yolo", digest), "yolo", "yolov5n.yaml", ("A",), sha, created=created)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"weights")
    return path


def test_the_registry_keeps_and_serves(tmp_path: Path, weights: Path) -> None:
    registry = FileRegistry(tmp_path / "models")
    one, two = card("aa", file_sha256(weights), 1.0), card("bb", file_sha256(weights), 2.0)
    assert registry.serving(1) is None
    registry.save(1, two, weights)
    registry.save(1, one, weights)
    registry.save(1, one, weights)
    assert registry.cards(1) == [one, two]
    assert registry.cards(2) == []
    registry.promote(1, one.version, None)
    registry.promote(1, two.version, one.version)
    assert FileRegistry(tmp_path / "models").serving(1) == two
    assert registry.weights(1, one).read_bytes() == b"weights"


def test_changed_and_missing_weights_are_refused(tmp_path: Path, weights: Path) -> None:
    registry = FileRegistry(tmp_path / "models")
    kept = card("aa", file_sha256(weights))
    registry.save(1, kept, weights)
    path = registry.weights(1, kept)
    path.write_bytes(b"other")
    with pytest.raises(InvalidWeights, match="were changed"):
        registry.weights(1, kept)
    path.unlink()
    with pytest.raises(InvalidWeights, match="are gone"):
        registry.weights(1, kept)
    with pytest.raises(NotFound, match="yolo@zz is not in the registry"):
        registry.promote(1, ModelVersion("yolo", "zz"), None)


def test_a_half_written_version_is_never_seen(tmp_path: Path, weights: Path) -> None:
    registry = FileRegistry(tmp_path / "models")
    torn = tmp_path / "models" / "1" / ".yolo@aa.123"
    torn.mkdir(parents=True)
    (torn / "card.json").write_text(json.dumps({"version": "yolo@aa"}))
    assert registry.cards(1) == []


def test_a_version_is_the_hash_of_what_made_it() -> None:
    assert version_of("yolo", ["s", "c", "w"]) == version_of("yolo", ["s", "c", "w"])
    assert len({version_of("yolo", parts) for parts in (["s", "c"], ["s", "d"], ["t", "c"])}) == 3
    assert ModelVersion.parse(str(version_of("yolo", ["s"]))) == version_of("yolo", ["s"])
