"""What the tests of the encodings share: arrays, makers, and what child processes run."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from groundlook_adapters.store.encodings import EncodingCache

Arrays = Mapping[str, NDArray[np.float16]]


def arrays(seed: int, count: int = 500) -> dict[str, NDArray[np.float16]]:
    """About 2 × `count` bytes."""
    return {"embedding": np.random.default_rng(seed).normal(size=(1, count)).astype(np.float16)}


def digest(found: Arrays) -> str:
    return hashlib.sha256(b"".join(found[name].tobytes() for name in sorted(found))).hexdigest()


def never() -> Arrays:
    raise AssertionError("it was kept, but it is made again")


def files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*.encoding") if p.is_file())


def size(folder: Path) -> int:
    """Bytes of everything, half-written files too."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total


class Maker:
    """Makes `arrays(seed)`, slowly where asked to, and counts."""

    def __init__(self, seed: int, seconds: float = 0.0) -> None:
        self.seed, self.seconds, self.made = seed, seconds, 0
        self.started, self.go = threading.Event(), threading.Event()
        self.go.set()

    def __call__(self) -> Arrays:
        self.made += 1
        self.started.set()
        assert self.go.wait(30)
        time.sleep(self.seconds)
        return arrays(self.seed)


class Asks(threading.Thread):
    """A get in a thread of its own; `found` or `error` when it has ended."""

    def __init__(self, cache: EncodingCache, key: str, make: Callable[[], Arrays], bulk: bool = False) -> None:
        super().__init__(daemon=True)
        self._ask = (cache, key, make, bulk)
        self.found: Arrays = {}
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        cache, key, make, bulk = self._ask
        try:
            self.found = cache.get(key, make, bulk)
        except BaseException as error:
            self.error = error

    def answer(self, seconds: float = 30.0) -> Arrays:
        self.join(seconds)
        assert not self.is_alive(), "no answer in time"
        assert self.error is None, self.error
        return self.found


def ask_in_child(folder: Path, url: str, key: str, seconds: float, notes: Path) -> None:
    """Ask for `key`; every make leaves a file `made-<pid>` under `notes`, the answer one `got-<pid>`."""
    cache = EncodingCache(folder, 8, 8, url)

    def make() -> Arrays:
        (notes / f"made-{os.getpid()}").touch()
        time.sleep(seconds)
        return arrays(1)

    (notes / f"asks-{os.getpid()}").touch()
    found = cache.get(key, make)
    (notes / f"part-{os.getpid()}").write_text(digest(found))
    os.replace(notes / f"part-{os.getpid()}", notes / f"got-{os.getpid()}")
    cache.close()


def hammer(folder: Path, seed: int, count: int, rounds: int) -> None:
    """Write and read more than there is room for."""
    cache = EncodingCache(folder, 0, 1)
    for i in range(rounds):
        key = (i * 7 + seed * 13) % (3 * 2**20 // (2 * count))
        found = cache.get(str(key), lambda key=key: arrays(key, count), bulk=True)  # type: ignore[misc]
        if digest(found) != digest(arrays(key, count)):
            os._exit(3)
    cache.close()
