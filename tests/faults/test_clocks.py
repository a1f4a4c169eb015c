"""A clock that was wrong, and is set right: nothing waits for a time that was never."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from groundlook.loop.clean import clean
from groundlook.loop.parts import LoopSettings
from groundlook.loop.publish import publish
from groundlook.loop.trigger import EDITED, LEARNED, LEARNED_AT, due
from tests.faults.test_killed_rounds import prepared
from tests.loop.house import House, quiet, trained

YEAR = 365 * 86_400.0


@pytest.mark.fault("clock set back by a year", "a schedule of trainings")
def test_a_training_at_a_time_that_has_not_come_yet_does_not_stop_the_schedule() -> None:
    house = House(settings=LoopSettings(retrain_every=1000, retrain_hours=24.0, random_share=0.0))
    house.add(20)
    house.now = 1_800_000_000.0
    house.answer(1, ["House"])
    for name, value in ((LEARNED, 1.0), (LEARNED_AT, house.now), (EDITED, 0.0)):
        house.store.put_value(7, name, value)
    house.answer(2, ["House"])
    assert not due(house.loop, house.project, 2), "an hour ago"
    house.now -= YEAR
    assert "since the last training" in due(house.loop, house.project, 2)
    house.now += YEAR + 25 * 3600
    assert "since the last training" in due(house.loop, house.project, 2)


@pytest.mark.fault("clock jumps on by a year", "old windows are deleted")
def test_a_jump_while_old_windows_are_deleted_is_no_pause_of_a_year() -> None:
    house = trained()
    pauses: list[float] = []

    class Jumps:
        """The queue of the house, during whose every deletion the clock jumps."""

        def __getattr__(self, name: str) -> object:
            return getattr(house.loop.queue, name)

        def forget(self, project: object, version: str) -> int:
            house.now += YEAR
            return house.held.pop(version)

    for _ in range(4):
        publish(house.loop, house.project)
    clean(replace(house.loop, queue=Jumps(), pause=pauses.append), 7, quiet)  # type: ignore[arg-type]
    assert len(pauses) == 3
    assert max(pauses) < 60


@pytest.mark.fault("clock set back by a year", "a round of learning")
def test_a_round_on_a_clock_that_was_set_back_learns_the_newest(tmp_path: Path) -> None:
    """Versions, windows and promotions are told by their numbers, not by when they were made."""
    site = prepared(tmp_path)
    now = [1_800_000_000.0]
    loop = replace(site.loop, clock=lambda: now[0])
    from groundlook.loop.learn import learn
    from groundlook.loop.refresh import refresh

    learn(loop, 7, quiet)
    refresh(loop, 7, quiet)
    first = loop.registry.serving(7)
    now[0] -= YEAR
    for task in range(1, 61):
        site.studio.withdraw(task) if task % 7 == 0 else None
    learn(loop, 7, quiet)
    refresh(loop, 7, quiet)
    second, window = loop.registry.serving(7), site.store.current_window(7)
    assert first is not None
    assert second is not None
    assert window is not None
    newest = [card for card in loop.registry.cards(7) if card.snapshot != first.snapshot]
    assert len(newest) == 1
    assert second.version == (newest[0].version if newest[0].verdict == "promoted" else first.version)
    assert site.studio.model_version == window.version
    assert window.number == 2
    site.close()
