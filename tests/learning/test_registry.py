"""The registry: what serves, what served before, and what is kept of each version."""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundlook.core.errors import Conflict, InvalidInput, InvalidWeights, NotFound
from groundlook.core.types import ModelCard, ModelVersion
from groundlook.learning.registry import FileRegistry, file_sha256, find_card, licence_of
from tests.learning.versions import A, B, C, D, registry_of, version


@pytest.fixture
def registry(tmp_path: Path) -> FileRegistry:
    return registry_of(tmp_path, "abcd")


def serving(registry: FileRegistry) -> ModelVersion | None:
    card = registry.serving(1)
    return None if card is None else card.version


def line(registry: FileRegistry, *versions: ModelVersion) -> None:
    for one in versions:
        registry.promote(1, one, serving(registry))


def test_a_rollback_leads_to_the_version_before(registry: FileRegistry) -> None:
    line(registry, A, B, C)
    assert registry.rollback(1).version == B
    assert serving(registry) == B
    assert [registry.withdrawn(1, v) for v in (A, B, C)] == [False, False, True]
    assert registry.rollback(1).version == A
    assert [registry.withdrawn(1, v) for v in (A, B, C)] == [False, True, True]
    with pytest.raises(NotFound, match="no version served project 1 before yolo@a"):
        registry.rollback(1)
    assert serving(registry) == A


def test_the_last_judgement_of_a_version_stands_and_nothing_else_of_it_changes(
    registry: FileRegistry, tmp_path: Path
) -> None:
    other = FileRegistry(tmp_path / "models")  # of another process
    before = other.cards(1)
    again = replace(before[1], verdict="refused", metrics={"quality": 0.25}, judged=2)
    registry.judged(1, replace(again, created=9.0, parent="?"))
    registry.judged(1, again)
    assert other.cards(1) == registry.cards(1) == [before[0], again, *before[2:]]
    assert registry.weights(1, again).read_bytes() == b"weights b"
    assert sorted(p.name for p in (tmp_path / "models" / "1" / str(B)).iterdir()) == [
        "card.json",
        "weights.safetensors",
    ]
    with pytest.raises(NotFound, match="yolo@zz is not in the registry"):
        registry.judged(1, replace(again, version=ModelVersion("yolo", "zz")))


def test_what_is_passed_over_is_withdrawn_too(registry: FileRegistry) -> None:
    line(registry, A, B, C)
    registry.rollback(1, A)
    assert [registry.withdrawn(1, v) for v in (A, B, C)] == [False, True, True]
    line(registry, D)
    assert registry.rollback(1).version == A


def test_a_version_promoted_again_is_no_longer_withdrawn(registry: FileRegistry) -> None:
    line(registry, A, B)
    registry.rollback(1)
    line(registry, B)
    assert not registry.withdrawn(1, B)
    assert serving(registry) == B
    assert registry.rollback(1).version == A


def test_only_what_served_can_be_rolled_back_to(registry: FileRegistry) -> None:
    with pytest.raises(NotFound, match="no version served project 1 before any"):
        registry.rollback(1)
    line(registry, A, B)
    with pytest.raises(NotFound, match=f"{C} did not serve before {B} \\({A} did\\); promote it"):
        registry.rollback(1, C)
    assert registry.rollback(1, B).version == B  # it serves: nothing changes
    assert not registry.withdrawn(1, A)


def test_a_promotion_over_another_version_than_the_compared_one_is_a_conflict(registry: FileRegistry) -> None:
    registry.promote(1, A, None)
    registry.promote(1, B, A)
    with pytest.raises(Conflict, match=f"{B} serves project 1 by now, not {A}: {C} was not promoted"):
        registry.promote(1, C, A)
    with pytest.raises(Conflict, match="not none"):
        registry.promote(1, C, None)
    assert serving(registry) == B
    registry.promote(1, B, A)  # done already, by somebody who was killed before he could say so
    assert serving(registry) == B


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(["promote", "back"]), st.sampled_from(["", *"abcd"])), max_size=12))
def test_any_promotions_and_rollbacks_are_those_of_a_list(tmp_path_factory: pytest.TempPathFactory, steps) -> None:  # type: ignore[no-untyped-def]
    home = tmp_path_factory.mktemp("home")
    registry = registry_of(home, "abcd")
    served: list[str] = []
    gone: set[str] = set()
    for what, name in steps:
        if what == "promote" and name:
            registry.promote(1, version(name), serving(registry))
            served = [s for s in served if s != name] + [name]
            gone -= {name}
        elif what == "back":
            target = name or (served[-2] if len(served) > 1 else "")
            try:
                registry.rollback(1, version(name) if name else None)
            except NotFound:
                assert target not in served
                continue
            end = served.index(target) + 1
            gone |= set(served[end:])
            served = served[:end]
        for look in (registry, FileRegistry(home / "models")):  # another process sees the same
            assert serving(look) == (version(served[-1]) if served else None)
            assert [n for n in "abcd" if look.withdrawn(1, version(n))] == sorted(gone)


def test_projects_have_nothing_to_do_with_each_other(registry: FileRegistry) -> None:
    line(registry, A, B)
    registry.rollback(1)
    assert registry.serving(2) is None
    assert not registry.withdrawn(2, B)
    with pytest.raises(NotFound, match="not in the registry of project 2"):
        registry.promote(2, A, None)


@pytest.mark.fault("corrupt weights", "promotion and rollback")
def test_a_damaged_version_is_never_promoted_nor_rolled_back_to(registry: FileRegistry, tmp_path: Path) -> None:
    for path in (tmp_path / "models" / "1").glob("*/weights.*"):
        os.utime(path, (1e9, 1e9))  # long settled: what they hash to is remembered
    line(registry, A, B)
    for name in "ac":
        path = next((tmp_path / "models" / "1" / str(version(name))).glob("weights.*"))
        seen = path.stat()
        path.write_bytes(b"X" + path.read_bytes()[1:])
        os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))  # bits that fell over: nothing else tells
    with pytest.raises(InvalidWeights, match="were changed"):
        registry.promote(1, C, B)
    with pytest.raises(InvalidWeights, match="were changed"):
        registry.rollback(1)
    shutil.rmtree(tmp_path / "models" / "1" / str(D))
    with pytest.raises(NotFound, match=f"model {D} is not in the registry"):
        registry.promote(1, D, B)
    assert serving(registry) == B
    assert not registry.withdrawn(1, B)


def test_weights_that_are_not_what_the_card_says_are_not_kept(registry: FileRegistry, tmp_path: Path) -> None:
    weights = tmp_path / "torn.safetensors"
    weights.write_bytes(b"half of it")
    card = ModelCard(version("e"), "yolo", "n", (), "0" * 64)
    with pytest.raises(InvalidWeights, match="were changed"):
        registry.save(1, card, weights)
    assert version("e") not in [c.version for c in registry.cards(1)]
    assert not [p for p in (tmp_path / "models" / "1").iterdir() if p.name.startswith(".")]


def test_a_change_of_the_weights_is_seen_whatever_was_found_before(registry: FileRegistry, tmp_path: Path) -> None:
    card = registry.cards(1)[0]
    path = registry.weights(1, card)
    past = time.time() - 100
    os.utime(path, (past, past))
    assert registry.weights(1, card) == registry.weights(1, card)
    path.write_bytes(b"Weights"[: path.stat().st_size])
    with pytest.raises(InvalidWeights, match="were changed"):
        registry.weights(1, card)


def test_the_weights_are_hashed_once(registry: FileRegistry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hashed: list[Path] = []

    def counted(path: Path) -> str:
        hashed.append(path)
        return file_sha256(path)

    monkeypatch.setattr("groundlook.learning.registry.registry.file_sha256", counted)
    card = registry.cards(1)[0]
    past = time.time() - 100
    os.utime(next((tmp_path / "models" / "1" / str(card.version)).glob("weights.*")), (past, past))
    for _ in range(5):
        registry.weights(1, card)
    assert len(hashed) == 1


def test_a_home_of_before_goes_on_and_can_be_rolled_back(tmp_path: Path) -> None:
    registry = registry_of(tmp_path, "abc", parents={"b": "a", "c": "b"})
    (tmp_path / "models" / "1" / "serving.json").write_text(json.dumps({"version": str(B), "since": 1.0}))
    assert serving(registry) == B
    assert not registry.withdrawn(1, A)
    registry.promote(1, C, B)
    assert registry.rollback(1).version == B
    assert registry.rollback(1).version == A
    assert FileRegistry(tmp_path / "models").serving(1) == registry.serving(1)


@pytest.mark.fault("corrupt promotion", "serving")
def test_the_promotion_before_counts_where_the_last_is_damaged(registry: FileRegistry, tmp_path: Path) -> None:
    line(registry, A, B)
    (tmp_path / "models" / "1" / "promotions" / "000002" / "line.json").write_text("{")
    fresh = FileRegistry(tmp_path / "models")
    assert serving(fresh) == A
    fresh.promote(1, C, A)
    assert serving(FileRegistry(tmp_path / "models")) == C


def test_a_damaged_card_hides_one_version_only(registry: FileRegistry, tmp_path: Path) -> None:
    line(registry, A)
    (tmp_path / "models" / "1" / str(B) / "card.json").write_text("{")
    assert [c.version for c in FileRegistry(tmp_path / "models").cards(1)] == [A, C, D]
    assert [c.version for c in registry.cards(1)] == [A, C, D]


def test_leftovers_are_swept_when_they_are_old(registry: FileRegistry, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "1"
    old, fresh = folder / ".yolo@dead.0123456789ab", folder / ".yolo@beef.0123456789ab"
    for left in (old, fresh):
        left.mkdir()
        (left / "weights.safetensors").write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"more")
    registry.save(1, ModelCard(version("e"), "yolo", "n", (), file_sha256(weights)), weights)
    assert not old.exists()
    assert fresh.exists()  # somebody may be writing it


def test_a_version_is_found_by_its_beginning(registry: FileRegistry) -> None:
    cards = [
        replace(c, version=ModelVersion("yolo", d))
        for c, d in zip(registry.cards(1), ("12ab", "12cd", "3"), strict=False)
    ]
    assert find_card(cards, "12a").version.digest == "12ab"
    assert find_card(cards, "yolo@12c").version.digest == "12cd"
    assert find_card([*cards, replace(cards[0], version=ModelVersion("yolo", "12"))], "12").version.digest == "12"
    with pytest.raises(InvalidInput, match="'12' may be any of yolo@12ab, yolo@12cd"):
        find_card(cards, "12")
    with pytest.raises(NotFound, match="no model version '9'; there are: yolo@12ab, yolo@12cd, yolo@3"):
        find_card(cards, "9")
    with pytest.raises(NotFound):
        find_card(cards, "")


def test_a_licence_is_handed_down(registry: FileRegistry) -> None:
    parent = replace(registry.cards(1)[0], kind="unet", licence="CC-BY-NC-4.0")
    assert licence_of("yolo", None, "Apache-2.0") == "AGPL-3.0"
    assert licence_of("unet", parent, "Apache-2.0") == "CC-BY-NC-4.0"
    assert licence_of("unet", None, "Apache-2.0") == "Apache-2.0"
    assert licence_of("classifier", parent) == ""
