"""A new version looks at what it would change, and lets the rest stand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from groundlook.core.errors import Cancelled
from groundlook.core.geometry import Box, WholeTile
from groundlook.core.types import ModelVersion, Prediction, Region
from groundlook.loop.parts import LoopSettings
from groundlook.loop.refresh import CARRIED, refresh
from groundlook.loop.reuse import change, guess, trusted
from tests.loop.house import House, quiet

OLD, NEW = "aa", "bb"
COUNT = 1500


def here(task: int) -> bool:
    """The ground of which the new version knows better: every fifth task, alike to look at."""
    return task % 5 == 0


def says(changes: bool) -> object:
    def answer(version: ModelVersion, task: int) -> Prediction:
        moved = 40 if changes and version.digest == NEW and here(task) else 0
        box = Region(Box(1 + moved, 1, 10, 10), "House", 0.5 + 0.01 * (version.digest == NEW))
        return Prediction(version, (box,), np.array([[0.5, 0.1]], np.float32), peak=0.5, size=(100, 100))

    return answer


class Alike:
    """Places tasks of the same ground together."""

    name = "alike-1"

    def embed(self, tiles: object) -> np.ndarray:  # type: ignore[type-arg]
        ids = [int(t.pixels[0, 0, 0]) + 256 * int(t.pixels[0, 0, 1]) for t in tiles]  # type: ignore[attr-defined]
        rng = np.random.default_rng(1)
        noise = rng.normal(size=(2000, 8))[ids] * 0.1
        return (noise + np.where([here(i) for i in ids], 1, -1)[:, None] * np.eye(8)[0]).astype(np.float32)


class Images:
    """The number of a task in its pixels."""

    def read(self, project: object, task: object) -> object:
        from groundlook.core.geo import Tile
        from tests.loop.house import tile_of

        number = task.id  # type: ignore[attr-defined]
        return Tile(np.full((1, 1, 3), [number % 256, number // 256, 0], np.uint8), tile_of(number))


class Shelf:
    def __init__(self, house: House) -> None:
        self.house = house

    def serving(self, project: object, version: ModelVersion, image: str = "") -> object:
        house = self.house

        class Model:
            def predict(self, tiles: list) -> list[Prediction]:  # type: ignore[type-arg]
                house.count(f"predicted by {version.digest}", len(tiles))
                ids = [int(t.pixels[0, 0, 0]) + 256 * int(t.pixels[0, 0, 1]) for t in tiles]
                return [house.says(version, i) for i in ids]  # type: ignore[misc]

        return Model()


def house(changes: bool = True, alike: bool = True) -> House:
    found = House(settings=LoopSettings(window=20, random_share=0.0, held_out_every=4))
    found.says = says(changes)  # type: ignore[assignment]
    more = {"embedder": Alike()} if alike else {}
    found.loop = found.made(images=Images(), models=Shelf(found), **more)
    found.add(COUNT)
    found.promote(OLD)
    refresh(found.loop, 7, quiet)
    assert found.calls[f"predicted by {OLD}"] == COUNT
    return found


def of(found: House) -> dict[int, Prediction]:
    return found.store.predictions(7, ModelVersion("yolo", NEW), list(found.tasks))


def test_only_what_changes_is_predicted_anew() -> None:
    found = house()
    found.promote(NEW)
    message = refresh(found.loop, 7, quiet)
    looked = found.calls[f"predicted by {NEW}"]
    assert looked < COUNT / 2
    assert f"{COUNT - looked} as before" in message
    said = of(found)
    assert len(said) == COUNT
    assert all(said[t].regions[0].shape.x == 41 for t in said if here(t)), "everything that changed was looked at"
    scores = found.store.scores(7, ModelVersion("yolo", NEW))
    carried = [t for t, s in scores.items() if CARRIED in s.terms]
    assert len(carried) == COUNT - looked
    assert {said[t].version.digest for t in carried} == {OLD}, "and the rest says whose it is"
    assert found.published[-1].model.digest == NEW, "the queue is the new version's, of the whole pool"


def test_nothing_stands_twice() -> None:
    found = house()
    found.promote(NEW)
    refresh(found.loop, 7, quiet)
    carried = {t for t, s in found.store.scores(7, ModelVersion("yolo", NEW)).items() if CARRIED in s.terms}
    found.promote("cc")
    refresh(found.loop, 7, quiet)
    third = found.store.scores(7, ModelVersion("yolo", "cc"))
    assert not [t for t in carried if CARRIED in third[t].terms]


def test_where_neighbours_say_nothing_of_each_other_everything_is_looked_at() -> None:
    found = house(alike=False)  # vectors at random
    found.promote(NEW)
    refresh(found.loop, 7, quiet)
    assert found.calls[f"predicted by {NEW}"] == COUNT


def test_one_that_is_cut_short_comes_to_the_same() -> None:
    whole, cut = house(), house()
    for found in (whole, cut):
        found.promote(NEW)
    refresh(whole.loop, 7, quiet)
    for stop in (3, 9, 15):
        seen = 0

        def until(share: float, text: str, stop: int = stop) -> None:
            nonlocal seen
            seen += 1
            if seen == stop:
                raise Cancelled("enough")

        with pytest.raises(Cancelled):
            refresh(cut.loop, 7, until)
    refresh(cut.loop, 7, quiet)
    assert cut.calls[f"predicted by {NEW}"] == whole.calls[f"predicted by {NEW}"]
    one, two = (found.store.scores(7, ModelVersion("yolo", NEW)) for found in (whole, cut))
    assert one == two
    assert {t: p.version for t, p in of(whole).items()} == {t: p.version for t, p in of(cut).items()}


def test_a_withdrawn_version_s_answers_never_stand() -> None:
    found = house()
    found.withdrawn.add(ModelVersion("yolo", OLD))
    found.promote(NEW)
    refresh(found.loop, 7, quiet)
    assert found.calls[f"predicted by {NEW}"] == COUNT


def test_the_change_of_a_prediction() -> None:
    v = ModelVersion("m", "1")
    a = Prediction(v, (Region(Box(0, 0, 10, 10), "A", 0.9),))
    assert change(a, a) == 0
    assert change(a, replace(a, regions=())) == 1
    assert change(a, replace(a, regions=(Region(Box(0, 0, 10, 10), "B", 0.9),))) == 1
    assert change(replace(a, regions=()), replace(a, regions=())) == 0
    sure, unsure = (Prediction(v, (Region(WholeTile(), "A", p),)) for p in (0.9, 0.4))
    assert change(sure, unsure) == pytest.approx(0.5)
    assert change(a, replace(a, knows=False)) == 1


def test_the_guess_is_what_the_neighbours_did() -> None:
    known = np.repeat(np.eye(2), 10, axis=0)
    changes = np.repeat([0.0, 1.0], 10)
    assert guess(known, changes, np.array([[1, 0.1], [0.1, 1]])).tolist() == [0, 1]
    assert trusted({1: 0.0, 2: 0.0}, {1: 0.0, 2: 0.0})
    assert not trusted({1: 1.0, 2: 0.0}, {1: 0.0, 2: 0.0})
    assert trusted({1: 1.0}, {1: 1.0}), "what is looked at anyway can't be missed"
