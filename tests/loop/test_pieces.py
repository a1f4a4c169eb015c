"""Bulk work in pieces that others do: what comes back is what would have come of doing it here."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundlook.core.errors import Cancelled, InvalidInput, NotFound
from groundlook.core.geometry import Box, Polygon
from groundlook.core.types import Done, Job, JobState, ModelCard, ModelVersion, Prediction, Region
from groundlook.loop.keeper import Keeper
from groundlook.loop.look import Look, decode_look, encode_look
from groundlook.loop.parts import LoopSettings
from groundlook.loop.pieces import AHEAD, PIECE, ShardFailed, shard
from groundlook.loop.refresh import refresh
from tests.loop.house import House, quiet, trained, unsure

COUNT = PIECE * (AHEAD + 6) + 5
PER_LOOK = 3
"""Pieces that are done between two looks."""


@dataclass
class Hands:
    """Jobs that other workers do, some at a time, the newest first. `workers`: loops of homes of their own."""

    workers: list[object]
    fails: int = -1
    out: dict[int, Job] = field(default_factory=dict)
    most: int = 0
    cancelled: list[int] = field(default_factory=list)
    looks: int = 0
    read: list[int] = field(default_factory=list)

    def submit(self, kind: str, project: int, delay: float = 0.0, *, key: str = "", payload: bytes = b"") -> int:
        number = len(self.out) + 1
        self.out[number] = Job(number, kind, project, "queued" if payload else "done", payload=payload, key=key)
        self.most = max(self.most, sum(j.state == "queued" for j in self.out.values()))
        return number

    def states(self, jobs: Sequence[int]) -> dict[int, JobState]:
        self.looks += 1
        waiting = sorted(n for n, j in self.out.items() if j.state == "queued")
        for newest in waiting[-PER_LOOK:]:
            self.out[newest] = self._do(self.out[newest])
        return {number: self.out[number].state for number in jobs}

    def job(self, number: int) -> Job:
        self.read.append(number)
        return self.out[number]

    def _do(self, job: Job) -> Job:
        if job.id == self.fails:
            return replace(job, state="failed", message="InvalidWeights: no", worker="far-1-ab/0")
        done = shard(self.workers[job.id % len(self.workers)], job, quiet)  # type: ignore[arg-type]
        assert isinstance(done, Done)
        return replace(job, state="done", body=done.body)

    def jobs(self, project: int | None = None) -> list[Job]:
        return []

    def cancel(self, number: int) -> bool:
        self.cancelled.append(number)
        return True


def house(**more: object) -> tuple[House, Hands]:
    found = House(settings=LoopSettings(window=20, random_share=0.0, shards=True), says=unsure, **more)  # type: ignore[arg-type]
    elsewhere = [House(settings=found.settings, says=unsure) for _ in range(3)]
    for other in elsewhere:
        other.cards = found.cards
        other.loop = other.made()
    hands = Hands([h.loop for h in elsewhere])
    found.loop = found.made(jobs=hands, exchange=Offered(), registry=Kept(found), pause=lambda seconds: None)
    found.add(COUNT)
    found.promote("aa")
    return found, hands


@dataclass
class Offered:
    def offer(self, sha256: str, weights: Path) -> None:
        pass


@dataclass
class Kept:
    house: House

    def serving(self, project: int) -> ModelCard | None:
        return self.house.cards[-1]

    def cards(self, project: int) -> list[ModelCard]:
        return self.house.cards

    def weights(self, project: int, card: ModelCard) -> Path:
        return Path("w")

    def withdrawn(self, project: int, version: ModelVersion) -> bool:
        return False


def test_others_look_and_we_write_down() -> None:
    alone = trained(COUNT)
    found, hands = house()
    told: list[str] = []
    refresh(found.loop, 7, lambda share, text: told.append(text))
    assert found.calls.get("predicted", 0) == 0, "nobody looked here"
    assert hands.most <= AHEAD
    pieces = -(-COUNT // PIECE)
    assert len(hands.read) == len(set(hands.read)) == pieces, "what a piece carries is read once, when it is done"
    assert hands.looks <= pieces / PER_LOOK + 2, "one look at all of them, not at each"
    version = found.cards[-1].version
    assert found.store.scores(7, version) == alone.store.scores(7, version)
    ids = list(found.tasks)
    ours, theirs = (h.store.predictions(7, version, ids) for h in (found, alone))
    assert {t: p.regions for t, p in ours.items()} == {t: p.regions for t, p in theirs.items()}
    (ids_here, here), (ids_there, there) = (h.features.get(7, "test-1") for h in (found, alone))
    np.testing.assert_array_equal(np.sort(ids_here), np.sort(ids_there))
    np.testing.assert_array_equal(here[np.argsort(ids_here)], there[np.argsort(ids_there)])
    assert [t.task_id for t in found.published[-1].tasks]
    assert told[-1].startswith(f"{COUNT:,} of {COUNT:,} tasks")


def test_a_piece_that_is_given_up_is_told_and_the_others_are_called_back() -> None:
    found, hands = house()
    hands.fails = 10
    with pytest.raises(ShardFailed, match="failed on far-1-ab/0: InvalidWeights: no"):
        refresh(found.loop, 7, quiet)
    assert hands.cancelled
    done = len(found.store.scores(7, found.cards[-1].version))
    hands.fails = -1
    refresh(found.loop, 7, quiet)
    assert done < COUNT == len(found.store.scores(7, found.cards[-1].version)), "it goes on where it stopped"


def test_what_a_worker_can_not_read_is_read_here() -> None:
    """It may lack a folder that we have."""
    found, hands = house()
    elsewhere = House(settings=found.settings, says=unsure, broken={3, 40, 41})
    elsewhere.cards = found.cards
    hands.workers = [elsewhere.made()]
    found.broken = {41}
    told = refresh(found.loop, 7, quiet)
    scores = found.store.scores(7, found.cards[-1].version)
    assert [t for t, score in scores.items() if "unreadable" in score.terms] == [41]
    assert len(scores) == COUNT
    assert "1 unreadable" in told
    assert found.calls["predicted"] == 2


def test_cancelling_calls_back_what_was_handed_out() -> None:
    found, hands = house()

    def stop(share: float, text: str) -> None:
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        refresh(found.loop, 7, stop)
    assert len(hands.cancelled) >= AHEAD - 3


def test_a_worker_without_our_home_fetches_the_weights_once(tmp_path: Path) -> None:
    found, hands = house()
    refresh(found.loop, 7, quiet)
    job = next(j for j in hands.out.values() if j.payload)
    taken: list[str] = []

    class Exchange:
        @contextmanager
        def take(self, sha256: str) -> Iterator[Path | None]:
            taken.append(sha256)
            yield tmp_path / "w" if len(taken) < 2 else None

    class Registry:
        kept: tuple[ModelCard, ...] = ()

        def cards(self, project: int) -> list[ModelCard]:
            return list(self.kept)

        def save(self, project: int, card: ModelCard, weights: Path) -> None:
            self.kept = (*self.kept, card)

    worker = House(settings=found.settings, says=unsure)
    loop = worker.made(exchange=Exchange(), registry=Registry())
    first, second = shard(loop, job, quiet), shard(loop, job, quiet)
    assert len(taken) == 1
    assert decode_look(first.body).said.keys() == decode_look(second.body).said.keys()
    with pytest.raises(NotFound, match="offered by nobody"):
        shard(worker.made(exchange=Exchange(), registry=Registry()), job, quiet)


numbers = st.floats(-1e6, 1e6, width=32)


@settings(max_examples=60)
@given(st.data())
def test_a_look_survives_the_way(data: st.DataObject) -> None:
    said = {}
    for task in data.draw(st.lists(st.integers(1, 2**40), unique=True, max_size=4)):
        rows = data.draw(st.integers(0, 3))
        proba = np.array(data.draw(st.lists(numbers, min_size=2 * rows, max_size=2 * rows)), np.float32)
        spread = np.ones((rows, 4), np.float32) if data.draw(st.booleans()) else None
        shape = data.draw(st.sampled_from([Box(1, 2, 3, 4, 5), Polygon(((0.0, 0.0), (1.0, 0.0), (1.0, 1.5)))]))
        regions = (Region(shape, data.draw(st.text(max_size=5)), 0.25, "u", "prediction"),) * rows
        masks = np.full((rows, 3), np.nan) if data.draw(st.booleans()) else None
        said[task] = Prediction(
            ModelVersion("m", "1"), regions, proba.reshape(rows, 2), 0.5, True, (7, 9), "detection", spread, masks
        )
    vectors = np.arange(6, dtype=np.float32).reshape(2, 3)
    back = decode_look(encode_look(Look(said, (3,), (1, 2), vectors)))
    assert (back.unreadable, back.embedded) == ((3,), (1, 2))
    np.testing.assert_array_equal(back.vectors, vectors)
    assert back.said.keys() == said.keys()
    for task, before in said.items():
        after = back.said[task]
        for name in ("proba", "spread", "masks"):
            np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
        plain = {"proba": None, "spread": None, "masks": None}
        assert replace(after, **plain) == replace(before, **plain)


def test_looks_are_written_while_others_are_made_and_none_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("groundlook.loop.keeper.KEEP_S", 0.05)
    written: list[int] = []
    with closing(Keeper(lambda found: written.extend(found.said))) as keeper:
        for task in range(40):
            keeper.add(Look({task: Prediction(ModelVersion("m", "1"), ())}))
            time.sleep(0.005)
        assert written, "not only at the end"
    assert written == list(range(40))

    def full(found: Look) -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"), closing(Keeper(full)) as keeper:
        keeper.add(Look({1: Prediction(ModelVersion("m", "1"), ())}))


def test_what_is_no_look_is_refused() -> None:
    for body in (b"", b"no archive", b"PK\x03\x04broken"):
        with pytest.raises(InvalidInput, match="damaged"):
            decode_look(body)
