"""Encodings: made once, whoever asks; the same bits wherever they come from; within their bounds."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as stnp
from numpy.typing import NDArray

from groundlook.core.errors import InvalidImage, InvalidInput
from groundlook.core.ports import Encodings
from groundlook_adapters.store import turns
from groundlook_adapters.store.encodings import EncodingCache
from groundlook_adapters.store.packed import pack, unpack
from tests.store.houses import Arrays, Asks, Maker, arrays, ask_in_child, digest, files, hammer, never, size
from tests.waiting import until

SPAWN = multiprocessing.get_context("spawn")


def fresh(folder: Path, memory_mb: int = 8, disk_mb: int = 8) -> EncodingCache:
    """As after a restart: nothing in memory."""
    return EncodingCache(folder, memory_mb, disk_mb)


# what comes back


def test_the_same_bits_whether_made_from_memory_or_from_disk(tmp_path: Path) -> None:
    cache: Encodings = fresh(tmp_path)
    assert not cache.has("a")
    made = {
        **arrays(1),
        "odd": np.array([[np.nan, np.inf, -0.0]], dtype=np.float16).T,
        "one": np.array(3, dtype=np.float16),
    }
    answers = [cache.get("a", lambda: made), cache.get("a", never), fresh(tmp_path).get("a", never)]
    for found in answers:
        assert {n: a.shape for n, a in found.items()} == {n: a.shape for n, a in made.items()}
        assert digest(found) == digest(made)
    assert cache.has("a")
    assert fresh(tmp_path).has("a")
    assert not cache.has("b")


def test_nobody_can_write_to_what_others_get(tmp_path: Path) -> None:
    cache = fresh(tmp_path)
    for found in (cache.get("a", Maker(1)), cache.get("a", never), fresh(tmp_path).get("a", never)):
        with pytest.raises(ValueError, match="read-only"):
            found["embedding"][:] = 0
        with pytest.raises(ValueError, match="WRITEABLE"):
            found["embedding"].flags.writeable = True


def test_only_float16_is_kept(tmp_path: Path) -> None:
    cache = fresh(tmp_path)
    with pytest.raises(InvalidInput, match="'embedding' is float32; only float16 is kept"):
        cache.get("a", lambda: {"embedding": np.zeros(3, dtype=np.float32)})
    assert not cache.has("a")


@given(
    st.dictionaries(st.text(max_size=8), stnp.arrays(np.float16, stnp.array_shapes(min_dims=0, min_side=0)), max_size=3)
)
def test_arrays_survive_packing(made: dict[str, NDArray[np.float16]]) -> None:
    found = unpack(pack(made))
    assert list(found) == list(made)
    for name, array in made.items():
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes()
        assert not found[name].flags.writeable


def test_strided_arrays_are_packed_by_their_values() -> None:
    grid = np.arange(24, dtype=np.float16).reshape(4, 6)
    for view in (grid.T, grid[::2, ::-1], np.asfortranarray(grid)):
        assert unpack(pack({"a": view}))["a"].tolist() == view.tolist()


# bounds


def test_memory_is_bounded_by_bytes_and_the_least_used_go_first(tmp_path: Path) -> None:
    cache = EncodingCache(tmp_path, 1, 0)
    for i in range(40):  # 100 kB each
        cache.get(str(i), lambda i=i: arrays(i, 50_000))  # type: ignore[misc]
        cache.get("0", never)
    assert [i for i in range(40) if cache.has(str(i))] == [0, *range(31, 40)]
    assert files(tmp_path) == []


def test_the_disk_is_bounded_by_bytes_and_the_least_used_go_first(tmp_path: Path) -> None:
    cache = EncodingCache(tmp_path, 0, 1)
    for i in range(40):
        cache.get(str(i), lambda i=i: arrays(i, 50_000), bulk=i > 0)  # type: ignore[misc]
        assert cache.has("0")
        assert size(tmp_path) <= 2**20
    kept = [i for i in range(40) if cache.has(str(i))]
    assert kept == [0, *range(40 - len(kept) + 1, 40)]
    assert len(kept) >= 8


def test_bulk_work_leaves_memory_to_those_who_wait(tmp_path: Path) -> None:
    cache = EncodingCache(tmp_path, 1, 8)
    cache.get("mine", Maker(1))
    time.sleep(turns.LINGER_S)
    for i in range(30):
        cache.get(str(i), lambda i=i: arrays(i, 50_000), bulk=True)  # type: ignore[misc]
    for path in files(tmp_path):
        path.unlink()
    cache.get("mine", never)
    assert not cache.has("29")


@pytest.mark.parametrize(("count", "rounds"), [(950, 200), (15_000, 40)], ids=["small", "large"])
def test_bounds_hold_with_many_writers(tmp_path: Path, count: int, rounds: int) -> None:
    workers = [SPAWN.Process(target=hammer, args=(tmp_path, seed, count, rounds)) for seed in range(4)]
    for worker in workers:
        worker.start()
    largest = 0
    while any(w.is_alive() for w in workers):
        largest = max(largest, size(tmp_path))
        time.sleep(0.02)
    assert [w.exitcode for w in workers] == [0] * 4
    assert 2**19 < largest <= 2**20
    assert not list(tmp_path.rglob("*.part"))
    assert not list(tmp_path.rglob("*.lock"))


# damage


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b"", lambda b: b[:-1] + b"x", lambda b: b"\0" * len(b)])
def test_a_damaged_file_is_removed_and_made_again(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    fresh(tmp_path).get("a", Maker(1))
    (path,) = files(tmp_path)
    path.write_bytes(damage(path.read_bytes()))

    def make() -> Arrays:
        assert files(tmp_path) == []
        return arrays(2)

    assert digest(fresh(tmp_path).get("a", make)) == digest(arrays(2))
    assert digest(fresh(tmp_path).get("a", never)) == digest(arrays(2))


def test_a_folder_that_cant_be_written_costs_nothing_but_the_cache(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "encodings").write_text("a file where the folder should be")
    cache = EncodingCache(tmp_path / "encodings", 0, 8)
    with caplog.at_level(logging.WARNING):
        for key in ("a", "b", "a"):
            assert digest(cache.get(key, Maker(1))) == digest(arrays(1))
    assert len(caplog.records) == 1


# one makes, all get


def test_eight_threads_and_two_pictures_make_two_encodings(tmp_path: Path) -> None:
    cache = fresh(tmp_path)
    makers = [Maker(0, 0.2), Maker(1, 0.2)]
    asks = [Asks(cache, f"key{i % 2}", makers[i % 2]) for i in range(8)]
    for i, ask in enumerate(asks):
        assert digest(ask.answer()) == digest(arrays(i % 2))
    assert [m.made for m in makers] == [1, 1]


def test_an_error_reaches_all_who_wait_and_is_not_kept(tmp_path: Path) -> None:
    cache = fresh(tmp_path)
    started, go = threading.Event(), threading.Event()

    def fail() -> Arrays:
        started.set()
        go.wait(30)
        raise InvalidImage("tile.png ends in the middle")

    asks = [Asks(cache, "a", fail)]
    assert started.wait(30)
    asks += [Asks(cache, "a", never) for _ in range(3)]
    time.sleep(0.2)
    go.set()
    for ask in asks:
        ask.join(30)
        assert isinstance(ask.error, InvalidImage)
    assert not cache.has("a")
    assert digest(cache.get("a", Maker(1))) == digest(arrays(1))


def test_of_processes_that_ask_one_makes(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    args = (tmp_path / "kept", "", "a", 1.0, notes)
    workers = [SPAWN.Process(target=ask_in_child, args=args) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [w.exitcode for w in workers] == [0] * 3
    assert len(list(notes.glob("made-*"))) == 1
    assert {p.read_text() for p in notes.glob("got-*")} == {digest(arrays(1))}
    assert digest(fresh(tmp_path / "kept").get("a", never)) == digest(arrays(1))


def test_a_killed_maker_is_replaced_at_once(tmp_path: Path) -> None:
    maker = SPAWN.Process(target=ask_in_child, args=(tmp_path / "kept", "", "a", 60.0, tmp_path))
    maker.start()
    until(lambda: bool(list(tmp_path.glob("made-*"))))
    mine = Maker(1)
    cache = fresh(tmp_path / "kept")
    waiting = Asks(cache, "a", mine)
    time.sleep(0.3)
    assert waiting.is_alive()
    assert mine.made == 0
    assert maker.pid is not None
    os.kill(maker.pid, signal.SIGKILL)
    maker.join(10)
    assert digest(waiting.answer(5)) == digest(arrays(1))
    assert mine.made == 1
    bulk = Asks(cache, "b", Maker(2), bulk=True)  # nor does what was killed hold up bulk work
    assert digest(bulk.answer(turns.PATIENCE_S / 2)) == digest(arrays(2))


# interactive before bulk


def test_bulk_work_waits_for_an_interactive_make(tmp_path: Path) -> None:
    """Here and in another process alike: two caches on a folder know nothing else of each other."""
    for cache in (service := fresh(tmp_path), fresh(tmp_path)):
        slow, low = Maker(1), Maker(2)
        slow.go.clear()
        waited_for = Asks(service, f"a{id(cache)}", slow)
        assert slow.started.wait(30)
        bulk = Asks(cache, f"b{id(cache)}", low, bulk=True)
        time.sleep(turns.LINGER_S + 0.4)
        assert low.made == 0
        slow.go.set()
        waited_for.answer()
        bulk.answer()
        assert low.made == 1


def test_bulk_work_waits_for_a_make_in_another_process(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    maker = SPAWN.Process(target=ask_in_child, args=(kept, "", "a", 2.5, tmp_path))
    maker.start()
    until(lambda: bool(list(tmp_path.glob("made-*"))))
    Asks(fresh(kept), "b", Maker(2), bulk=True).answer()
    until(lambda: bool(list(tmp_path.glob("got-*"))), 1.0)
    maker.join(30)


def test_who_waits_for_what_bulk_work_is_about_to_make_makes_it(tmp_path: Path) -> None:
    cache = fresh(tmp_path)
    low, high = Maker(1), Maker(1)
    with cache.busy():
        bulk = Asks(cache, "a", low, bulk=True)
        time.sleep(0.3)
        assert digest(Asks(cache, "a", high).answer(5)) == digest(arrays(1))
    assert digest(bulk.answer()) == digest(arrays(1))
    assert (low.made, high.made) == (0, 1)


def test_what_is_kept_is_given_to_bulk_work_at_once(tmp_path: Path) -> None:
    cache = fresh(tmp_path)
    cache.get("a", Maker(1))
    with cache.busy():
        assert digest(Asks(cache, "a", never, bulk=True).answer(5)) == digest(arrays(1))


def test_a_team_that_never_rests_does_not_starve_bulk_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "PATIENCE_S", 1.5)
    cache = fresh(tmp_path)
    cache.get("a", Maker(1))
    low = Maker(2)
    start = time.monotonic()
    bulk = Asks(cache, "b", low, bulk=True)
    while bulk.is_alive():
        cache.get("a", never)
        assert low.made == 0 or time.monotonic() - start > 1.4
        assert time.monotonic() - start < 20
        time.sleep(0.02)
    assert digest(bulk.answer()) == digest(arrays(2))
