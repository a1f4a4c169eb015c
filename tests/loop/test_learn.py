"""A round of learning: what people said → a version that serves, if it is not worse."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from groundlook.core.errors import Busy, Cancelled, Conflict
from groundlook.core.types import ModelCard, ModelVersion, Project
from groundlook.learning.gate import STRICT, USUAL
from groundlook.learning.registry import FileRegistry, file_sha256
from groundlook.loop.answer import served_version
from groundlook.loop.learn import Learned, learn, learn_now
from groundlook.loop.refresh import refresh
from groundlook.loop.rollback import rollback
from groundlook.loop.track import track
from groundlook.loop.trigger import due
from tests.loop.house import House, quiet
from tests.loop.learner import say, school, schooled


@pytest.fixture
def house(tmp_path: Path) -> House:
    return school(tmp_path)


def round_of(house: House, tasks: range, moved: float = 0.0) -> Learned:
    say(house, tasks, moved)
    return learn_now(house.loop, 7, quiet, USUAL)


def serving(house: House) -> ModelVersion | None:
    card = house.loop.registry.serving(7)
    return None if card is None else card.version


def test_the_first_model_serves_and_a_second_round_without_labels_has_nothing_new(house: House) -> None:
    first = round_of(house, range(1, 76))
    assert first.outcome == "promoted"
    assert first.card is not None
    assert serving(house) == first.card.version
    assert first.card.metrics["quality"] == pytest.approx(1, abs=0.01)
    assert (first.card.code.split()[0], first.card.parent) == ("groundlook", "")
    assert first.report is not None
    assert json.loads(first.report[0].read_text())
    assert "<html" in first.report[1].read_text()
    again = learn_now(house.loop, 7, quiet, USUAL)
    assert again.outcome == "nothing new"
    assert "learned already" in again.message
    assert serving(house) == first.card.version


def test_nothing_is_learned_of_nothing(house: House) -> None:
    assert learn_now(house.loop, 7, quiet, USUAL).outcome == "nothing new"
    say(house, [1, 2, 3])
    assert "held-out ground" in learn_now(house.loop, 7, quiet, USUAL).message
    assert house.loop.registry.cards(7) == []


def test_poisoned_labels_are_refused_and_the_champion_goes_on_serving(house: House) -> None:
    good = round_of(house, range(1, 61))
    say(house, range(65, 76, 5))  # held out, and right
    bad = round_of(house, range(61, 65), moved=30.0)
    for task in (66, 67, 68, 69, 71, 72, 73, 74):
        say(house, [task], moved=30.0)
    bad = learn_now(house.loop, 7, quiet, USUAL)
    assert bad.outcome == "refused"
    assert bad.card is not None
    assert bad.card.verdict == "refused"
    assert serving(house) == good.card.version if good.card else None
    assert learn_now(house.loop, 7, quiet, USUAL).outcome == "nothing new", "it is not tried again and again"


def test_a_version_that_forgot_a_site_is_refused(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    first = round_of(house, range(1, 71))
    say(house, range(71, 76))
    learning = sys.modules["groundlook.loop.learn"]  # the package's `learn` is the function
    whole = learning.rehearse
    monkeypatch.setattr(learning, "rehearse", lambda train, *more: whole([e for e in train if e.task.id > 50], *more))
    forgetful = learn_now(house.loop, 7, quiet, USUAL)
    assert forgetful.outcome == "refused"
    assert first.card is not None
    assert serving(house) == first.card.version


def test_what_was_learned_before_is_rehearsed_within_its_budget(tmp_path: Path) -> None:
    house = school(tmp_path, rehearsal=24)
    round_of(house, range(1, 66))
    told: list[str] = []
    say(house, range(66, 76))
    done = learn_now(house.loop, 7, lambda share, text: told.append(text), USUAL)
    assert any("8 new or changed examples, 16 of 52 earlier ones" in text for text in told), told
    assert done.outcome == "promoted", "no site is forgotten"


@pytest.mark.parametrize("limits", [USUAL, STRICT])
def test_whoever_was_faster_is_the_one_to_beat(house: House, limits: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another worker promotes its version while ours is judged: ours is judged again, against that one."""
    round_of(house, range(1, 60))
    say(house, range(60, 76))
    registry, races = house.loop.registry, []
    promote = registry.promote

    def raced(project: int, version: ModelVersion, over: ModelVersion | None) -> None:
        if not races:
            races.append(version)
            other = next(c for c in registry.cards(7) if c.version == version)
            stranger = replace(other, version=ModelVersion("toy", "f" * 12), snapshot="another")
            registry.save(7, stranger, registry.weights(7, other))
            promote(7, stranger.version, over)
        promote(project, version, over)

    monkeypatch.setattr(registry, "promote", raced)
    done = learn_now(house.loop, 7, quiet, USUAL)
    assert done.outcome == "promoted"
    assert done.card is not None
    assert serving(house) == done.card.version


@pytest.fixture
def behind(house: House) -> tuple[House, ModelCard]:
    """A champion that knows one site; labels that teach a second; and a version of somebody else that knows all three,
    kept but not promoted."""
    first = round_of(house, range(1, 26)).card
    assert first is not None
    say(house, [*range(26, 51), *range(55, 76, 5)])
    weights = house.home / "theirs.json"
    weights.write_text(json.dumps({"0": 0.0, "1": 9.0, "2": 18.0}))
    theirs = replace(first, version=ModelVersion("toy", "f" * 12), snapshot="theirs", sha256=file_sha256(weights))
    house.loop.registry.save(7, theirs, weights)
    return house, theirs


def test_of_two_challengers_the_loser_tells_what_it_lost_to(
    behind: tuple[House, ModelCard], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Theirs is promoted while ours waits to be, after it was found better than the champion of before."""
    house, theirs = behind
    rows: list[Any] = []

    def told(project: Project, versions: list[Any]) -> int:
        rows.extend(versions)
        return len(versions)

    house.loop = replace(house.loop, tracker=SimpleNamespace(track=told))
    registry = house.loop.registry
    promote = registry.promote
    asked: list[ModelCard] = []

    def raced(project: int, version: ModelVersion, over: ModelVersion | None) -> None:
        asked.append(next(c for c in registry.cards(7) if c.version == version))
        promote(project, theirs.version, over)
        promote(project, version, over)

    monkeypatch.setattr(registry, "promote", raced)
    done = learn_now(house.loop, 7, quiet, USUAL)
    assert [(c.verdict, c.judged) for c in asked] == [("promoted", 1)]
    assert done.outcome == "refused"
    assert done.card is not None
    assert serving(house) == theirs.version
    kept = next(c for c in FileRegistry(house.home / "models").cards(7) if c.version == done.card.version)
    assert kept == done.card
    assert (kept.verdict, kept.judged) == ("refused", 2)
    assert kept.metrics["quality"] < kept.metrics["champion_quality"] == pytest.approx(1, abs=0.01)
    assert asked[0].metrics["champion_quality"] < kept.metrics["quality"]
    assert done.report is not None
    report = json.loads(done.report[0].read_text())
    assert (report["outcome"], report["versions"]["champion"]) == ("refused", str(theirs.version))
    assert str(theirs.version) in done.report[1].read_text()
    assert track(house.loop, 7, quiet)
    card, state, files = next(row for row in rows if row[0].version == kept.version)
    assert (card, state, sorted(files)) == (kept, "kept", sorted(done.report))


def test_one_killed_before_its_promotion_is_judged_against_who_serves_by_then_and_only_once(
    behind: tuple[House, ModelCard], monkeypatch: pytest.MonkeyPatch
) -> None:
    house, theirs = behind
    with monkeypatch.context() as patched:
        patched.setattr(house.loop.registry, "promote", killed)
        with pytest.raises(KeyboardInterrupt):
            learn_now(house.loop, 7, quiet, USUAL)
    house.loop = schooled(house)
    first = house.loop.registry.serving(7)
    house.loop.registry.promote(7, theirs.version, first.version if first else None)
    done = learn_now(house.loop, 7, quiet, USUAL)
    assert done.outcome == "refused"
    assert done.card is not None
    assert done.card in house.loop.registry.cards(7)
    assert (done.card.verdict, done.card.judged) == ("refused", 2)
    assert learn_now(house.loop, 7, quiet, USUAL).outcome == "nothing new"


def killed(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.fault("worker killed", "between verdict and promotion")
def test_one_killed_between_verdict_and_promotion_is_promoted_by_the_next(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(house, range(1, 76))
    monkeypatch.setattr(house.loop.registry, "promote", killed)
    with pytest.raises(KeyboardInterrupt):
        learn_now(house.loop, 7, quiet, USUAL)
    assert serving(house) is None
    house.loop = schooled(house)
    done = learn_now(house.loop, 7, quiet, USUAL)
    assert (done.outcome, len(house.loop.registry.cards(7))) == ("promoted", 1)
    assert done.card is not None
    assert serving(house) == done.card.version


def test_what_was_rolled_back_does_not_come_back_by_itself(house: House) -> None:
    first = round_of(house, range(1, 60))
    second = round_of(house, range(60, 76))
    assert first.card is not None
    assert second.card is not None
    refresh(house.loop, 7, quiet)
    rollback(house.loop, 7)
    assert learn_now(house.loop, 7, quiet, USUAL).outcome == "nothing new"
    assert serving(house) == first.card.version
    assert served_version(house.loop, 7)[1] == first.card.version


def test_one_learning_of_a_project_at_a_time(house: House) -> None:
    say(house, range(1, 76))
    inner: list[type[Exception]] = []

    def meanwhile(share: float, text: str) -> None:
        if not inner:
            with pytest.raises(Busy, match="being trained already") as caught:
                learn_now(house.loop, 7, quiet, USUAL)
            inner.append(caught.type)

    assert learn_now(house.loop, 7, meanwhile, USUAL).outcome == "promoted"
    assert inner == [Busy]


def test_cancelled_at_any_moment_the_next_one_ends_the_same(tmp_path: Path) -> None:
    whole = school(tmp_path / "whole")
    expected = round_of(whole, range(1, 76))
    assert expected.card is not None
    for stop in (1, 2, 5, 30, 60, 75):
        house = school(tmp_path / f"cut{stop}")
        say(house, range(1, 76))
        count = 0

        def until(share: float, text: str, stop: int = stop) -> None:
            nonlocal count
            count += 1
            if count == stop:
                raise Cancelled("enough")

        with pytest.raises(Cancelled):
            learn_now(house.loop, 7, until, USUAL)
        house.loop = schooled(house)
        done = learn_now(house.loop, 7, quiet, USUAL)
        assert done.card is not None
        assert (done.card.version, done.outcome) == (expected.card.version, "promoted"), stop


def test_annotations_changed_and_deleted_during_a_training_count_in_the_next(house: House) -> None:
    say(house, range(1, 60))
    changed = False

    def meanwhile(share: float, text: str) -> None:
        nonlocal changed
        if share > 0.3 and not changed:
            changed = True
            say(house, range(60, 76))
            del house.people[0]
            house.store.drop_served(7, [1])

    first = learn_now(house.loop, 7, meanwhile, USUAL)
    assert changed
    assert first.card is not None
    house.store.add_served(7, [])
    done = len([a for a in house.store.served(7) if not a.skipped])
    assert due(house.made(settings=replace(house.settings, retrain_every=10)), house.project, done), "they wait"
    second = learn_now(house.loop, 7, quiet, USUAL)
    assert second.card is not None
    assert second.card.snapshot != first.card.snapshot


def test_the_job_asks_for_the_new_look_and_says_what_came_of_it(house: House) -> None:
    say(house, range(1, 76))
    assert "promoted, mAP50 1.000" in learn(house.loop, 7, quiet)
    assert house.submitted[-2:] == ["refresh", "sync"]


def test_a_conflict_without_end_is_told(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    say(house, range(1, 76))

    def never(*_: object) -> None:
        raise Conflict("another one serves by now")

    monkeypatch.setattr(house.loop.registry, "promote", never)
    with pytest.raises(Conflict):
        learn_now(house.loop, 7, quiet, USUAL)
