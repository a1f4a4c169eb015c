"""Encodings that machines share through a real Redis. A machine is a cache with a folder of its own."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from groundlook.core.errors import InvalidInput
from groundlook_adapters.store import shared
from groundlook_adapters.store.encodings import EncodingCache
from groundlook_adapters.store.shared import CLAIM_S, KEPT_S
from tests.redis_server import Server
from tests.store.houses import Arrays, Asks, Maker, arrays, ask_in_child, digest, never
from tests.waiting import until

SPAWN = multiprocessing.get_context("spawn")


def machine(folder: Path, url: str) -> EncodingCache:
    return EncodingCache(folder, 8, 8, url)


def value(redis: Server) -> bytes:
    (key,) = redis.client.keys("groundlook:encoding:*")
    return bytes(key)


def test_another_machine_gets_the_same_bits(tmp_path: Path, redis: Server) -> None:
    a, b = machine(tmp_path / "a", redis.url), machine(tmp_path / "b", redis.url)
    made = a.get("tile", Maker(1))
    assert b.has("tile")
    found = b.get("tile", never)
    assert digest(found) == digest(made) == digest(arrays(1))
    with pytest.raises(ValueError, match="read-only"):
        found["embedding"][:] = 0
    assert digest(EncodingCache(tmp_path / "b", 8, 8).get("tile", never)) == digest(made)  # from now on here, too
    assert 0 < redis.client.ttl(value(redis)) <= KEPT_S
    assert redis.client.keys() == [value(redis)]  # nobody holds a claim any more
    a.close()
    b.close()


@pytest.mark.parametrize("damage", [b"", b"GLB1", b"\0" * 2000])
def test_what_arrives_damaged_is_made_again(tmp_path: Path, redis: Server, damage: bytes) -> None:
    a, b = machine(tmp_path / "a", redis.url), machine(tmp_path / "b", redis.url)
    a.get("tile", Maker(1))
    redis.client.set(value(redis), damage)
    assert digest(b.get("tile", Maker(2))) == digest(arrays(2))
    assert len(redis.client.get(value(redis)) or b"") > 1000
    a.close()
    b.close()


def test_of_machines_that_ask_one_makes_however_long_it_takes(
    tmp_path: Path, redis: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longer than a claim lasts, so that it has to be renewed."""
    monkeypatch.setattr(shared, "CLAIM_S", 0.9)
    caches = [machine(tmp_path / str(i), redis.url) for i in range(3)]
    makers = [Maker(1, 2.5) for _ in caches]
    asks = [Asks(cache, "tile", maker) for cache, maker in zip(caches, makers, strict=True)]
    assert {digest(ask.answer()) for ask in asks} == {digest(arrays(1))}
    assert sum(m.made for m in makers) == 1
    for cache in caches:
        cache.close()


def test_a_machine_that_failed_is_replaced_by_one_that_waits(tmp_path: Path, redis: Server) -> None:
    a, b = machine(tmp_path / "a", redis.url), machine(tmp_path / "b", redis.url)
    slow = Maker(1)

    def fail() -> Arrays:
        slow()
        raise MemoryError("no room for the network")

    slow.go.clear()
    first = Asks(a, "tile", fail)
    assert slow.started.wait(30)
    second = Asks(b, "tile", Maker(1))
    time.sleep(0.2)
    slow.go.set()
    assert digest(second.answer(CLAIM_S / 2)) == digest(arrays(1))
    first.join(10)
    assert isinstance(first.error, MemoryError)
    a.close()
    b.close()


def test_the_claim_of_a_killed_machine_runs_out(tmp_path: Path, redis: Server) -> None:
    maker = SPAWN.Process(target=ask_in_child, args=(tmp_path / "a", redis.url, "tile", 60.0, tmp_path))
    maker.start()
    until(lambda: bool(list(tmp_path.glob("made-*"))))
    assert maker.pid is not None
    os.kill(maker.pid, signal.SIGKILL)
    maker.join(10)
    mine = Maker(1)
    cache = machine(tmp_path / "b", redis.url)
    assert digest(Asks(cache, "tile", mine).answer(CLAIM_S + 3)) == digest(arrays(1))
    assert mine.made == 1
    cache.close()


def test_without_redis_everything_goes_on_and_it_is_told_once(
    tmp_path: Path, redis: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(shared, "RETRY_S", 0.2)
    redis.kill()
    with caplog.at_level(logging.WARNING):
        cache = machine(tmp_path / "a", redis.url)
        for i in range(5):
            assert digest(cache.get(str(i), Maker(i))) == digest(arrays(i))
    assert len(caplog.records) == 1
    assert f"Redis at 127.0.0.1:{redis.port} is left out until it answers" in caplog.records[0].getMessage()
    redis.start()
    until(lambda: cache.get(f"new {time.monotonic()}", Maker(9)) is not None and bool(redis.client.keys()))
    cache.close()


def test_a_redis_that_hangs_costs_one_wait(
    tmp_path: Path, redis: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(shared, "RETRY_S", 0.2)
    cache = machine(tmp_path / "a", redis.url)
    cache.get("before", Maker(0))
    redis.signal(signal.SIGSTOP)
    with caplog.at_level(logging.WARNING):
        start = time.monotonic()
        for i in range(10):
            assert digest(cache.get(str(i), Maker(i))) == digest(arrays(i))
            assert not cache.has(f"never {i}")
        assert time.monotonic() - start < shared.TIMEOUT_S + 1.0
    assert len(caplog.records) == 1
    redis.signal(signal.SIGCONT)
    until(lambda: cache.get(f"new {time.monotonic()}", Maker(9)) is not None and len(redis.client.keys()) > 1)
    cache.close()


def test_a_redis_that_goes_while_others_wait_is_no_error(tmp_path: Path, redis: Server) -> None:
    a, b = machine(tmp_path / "a", redis.url), machine(tmp_path / "b", redis.url)
    slow = Maker(1)
    slow.go.clear()
    first = Asks(a, "tile", slow)
    assert slow.started.wait(30)
    second = Asks(b, "tile", Maker(1))
    time.sleep(0.2)
    redis.kill()
    assert digest(second.answer(5)) == digest(arrays(1))  # makes it itself
    slow.go.set()
    assert digest(first.answer(5)) == digest(arrays(1))
    a.close()
    b.close()


def test_a_full_redis_is_no_error(tmp_path: Path, redis: Server, caplog: pytest.LogCaptureFixture) -> None:
    redis.client.config_set("maxmemory", "1mb")
    redis.client.config_set("maxmemory-policy", "noeviction")
    cache = machine(tmp_path / "a", redis.url)
    with caplog.at_level(logging.WARNING):
        for i in range(3):
            assert digest(cache.get(str(i), Maker(i))) == digest(arrays(i))
    assert len(caplog.records) == 1
    cache.close()


@pytest.mark.parametrize("url", ["http://somewhere", "redis://host:port/0", "nonsense"])
def test_a_url_that_cant_be_used_says_how_to_write_one(tmp_path: Path, url: str) -> None:
    with pytest.raises(InvalidInput, match="write redis://host:6379/0"):
        machine(tmp_path, url)


def test_a_password_is_never_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        cache = machine(tmp_path, "redis://me:hunter2@127.0.0.1:1/0")
        assert not cache.has("tile")
        cache.close()
    assert len(caplog.records) == 1
    assert "hunter2" not in caplog.text
