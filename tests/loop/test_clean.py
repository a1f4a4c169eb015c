"""Old windows leave nothing behind in Label Studio."""

from __future__ import annotations

from groundlook.loop.clean import KEPT, clean
from groundlook.loop.publish import publish
from tests.loop.house import House, quiet, trained


def published(count: int) -> House:
    house = trained()
    house.loop = house.made(pause=lambda seconds: None)
    for _ in range(count - 1):
        publish(house.loop, house.project)
    return house


def test_predictions_of_old_windows_go_and_the_newest_stay() -> None:
    house = published(5)
    newest = [w.version for w in house.published[-KEPT:]]
    message = clean(house.loop, 7, quiet)
    assert sorted(house.held) == sorted(newest)
    assert "3 old windows" in message
    assert "0 predictions" in clean(house.loop, 7, quiet), "once is enough"


def test_predictions_of_others_are_not_ours_to_delete() -> None:
    house = published(4)
    house.held |= {"somebody's model": 5, "yolo@aa+w999": 3, "untrained": 1}
    clean(house.loop, 7, quiet)
    assert {"somebody's model", "yolo@aa+w999", "untrained"} <= house.held.keys()


def test_every_window_asks_for_it() -> None:
    house = published(2)
    assert "clean" in house.submitted


def test_what_a_window_left_behind_that_was_never_finished_goes_too() -> None:
    house = published(4)
    house.held["yolo@0123456789ab+w1"] = 7  # imported, then killed before it was served
    clean(house.loop, 7, quiet)
    assert "yolo@0123456789ab+w1" not in house.held
