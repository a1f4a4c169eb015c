"""Pictures kept on disk and in memory."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from groundlook_adapters.rasters.pictures.cache import PictureCache

LIMIT = 64_000


def files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file())


def size(folder: Path) -> int:
    return sum(p.stat().st_size for p in files(folder))


def body(i: int, length: int = 1000) -> bytes:
    return (i.to_bytes(4, "big") * length)[:length]


def fresh(folder: Path, limit: int = LIMIT) -> PictureCache:
    """As after a restart: nothing in memory."""
    return PictureCache(folder, limit)


def test_what_was_put_is_there_after_a_restart(tmp_path: Path) -> None:
    cache = fresh(tmp_path)
    assert cache.get("a") is None
    cache.put("a", b"picture")
    assert cache.held("a") == b"picture"
    again = fresh(tmp_path)
    assert again.held("a") is None
    assert again.get("a") == b"picture"
    assert again.held("a") == b"picture"
    assert again.get("b") is None


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b"", lambda b: b[:-1] + b"x", lambda b: b"\0" * len(b)])
def test_a_damaged_file_is_made_again(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    fresh(tmp_path).put("a", b"picture")
    (path,) = files(tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    cache = fresh(tmp_path)
    assert cache.get("a") is None
    assert cache.get_or_make("a", lambda: b"new") == b"new"
    assert fresh(tmp_path).get("a") == b"new"


def test_a_file_under_another_name_is_not_served(tmp_path: Path) -> None:
    cache = fresh(tmp_path)
    cache.put("a", b"picture of a")
    (first,) = files(tmp_path)
    cache.put("b", b"picture of b")
    (second,) = set(files(tmp_path)) - {first}
    os.replace(first, second)
    assert fresh(tmp_path).get("b") is None


def test_the_disk_is_bounded_and_the_least_used_go_first(tmp_path: Path) -> None:
    cache = PictureCache(tmp_path, LIMIT, memory_bytes=0)
    for i in range(300):
        cache.put(str(i), body(i))
        cache.get("0")
        cache.settle()
        assert size(tmp_path) <= LIMIT
    assert size(tmp_path) > LIMIT // 2
    assert cache.get("0") == body(0)
    assert cache.get("299") == body(299)
    assert cache.get("1") is None


def test_uses_that_only_memory_saw_count_too(tmp_path: Path) -> None:
    cache = fresh(tmp_path)
    for i in range(200):
        cache.put(str(i), body(i))
        assert cache.held("0") == body(0)
        cache.settle()
    again = fresh(tmp_path)
    assert again.get("0") == body(0)
    assert again.get("2") is None


def test_a_smaller_limit_holds_from_the_first_put_on(tmp_path: Path) -> None:
    large = fresh(tmp_path)
    for i in range(50):
        large.put(str(i), body(i))
    large.settle()
    small = fresh(tmp_path, 8000)
    small.put("new", body(0))
    small.settle()
    assert size(tmp_path) <= 8000
    assert fresh(tmp_path).get("new") == body(0)


def test_memory_is_bounded(tmp_path: Path) -> None:
    cache = PictureCache(tmp_path, 0, memory_bytes=10_000)
    for i in range(100):
        cache.put(str(i), body(i))
    held = [i for i in range(100) if cache.held(str(i)) is not None]
    assert held == list(range(90, 100))
    cache.put("huge", bytes(6000))
    assert cache.held("huge") is None
    assert files(tmp_path) == []


def test_a_picture_is_made_once_however_many_ask(tmp_path: Path) -> None:
    cache = fresh(tmp_path)
    made: list[int] = []
    answers: list[bytes] = []

    def make() -> bytes:
        made.append(1)
        time.sleep(0.1)
        return b"picture"

    threads = [threading.Thread(target=lambda: answers.append(cache.get_or_make("a", make))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [b"picture"] * 8
    assert len(made) == 1


def test_an_error_reaches_all_who_wait_and_is_not_kept(tmp_path: Path) -> None:
    cache = fresh(tmp_path)
    seen: list[str] = []

    def fail() -> bytes:
        time.sleep(0.1)
        raise ValueError("no raster")

    def ask() -> None:
        try:
            cache.get_or_make("a", fail)
        except ValueError as error:
            seen.append(str(error))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == ["no raster"] * 3
    assert cache.get_or_make("a", lambda: b"picture") == b"picture"


def test_a_folder_that_cant_be_written_costs_nothing_but_the_cache(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "pictures").write_text("a file where the folder should be")
    cache = PictureCache(tmp_path / "pictures", LIMIT, memory_bytes=0)
    assert cache.get_or_make("a", lambda: b"picture") == b"picture"
    assert cache.get_or_make("b", lambda: b"picture") == b"picture"
    assert len(caplog.records) == 1


def test_half_written_files_of_a_crash_are_removed_when_old(tmp_path: Path) -> None:
    cache = fresh(tmp_path)
    cache.put("a", b"picture")
    cache.settle()
    (kept,) = files(tmp_path)
    old, new = kept.with_suffix(".1.part"), kept.with_suffix(".2.part")
    old.write_bytes(b"half")
    new.write_bytes(b"being written")
    os.utime(old, (1, 1))
    again = fresh(tmp_path)
    again.put("b", b"picture")
    again.settle()
    assert not old.exists()
    assert new.exists()


def hammer(folder: Path, seed: int, limit: int) -> None:
    cache = PictureCache(folder, limit, memory_bytes=0)
    for i in range(400):
        key = (i * 7 + seed * 13) % 60
        found = cache.get_or_make(str(key), lambda key=key: body(key, 500 + key))  # type: ignore[misc]
        if found != body(key, 500 + key):
            os._exit(3)
    cache.settle()


def test_processes_share_a_folder(tmp_path: Path) -> None:
    """With room for half of the pictures, so that each deletes under the other's hands."""
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=hammer, args=(tmp_path, seed, 16_000)) for seed in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [w.exitcode for w in workers] == [0, 0]
    assert size(tmp_path) <= 16_000
    assert not [p for p in files(tmp_path) if p.suffix == ".part"]
