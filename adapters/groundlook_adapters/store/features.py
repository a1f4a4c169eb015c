"""A vector for each task, on disk: a pair of files for every (project, name) that only grow, and a head that says how
much of them counts.

LanceDB was the first candidate. A ranking reads all rows of one matrix, or a thousand at random: 1,000 random rows of a
million take .8 ms here and 9.8 ms there (facts: performance), a scan is bound by memory in both, and there is nothing
to query or to version. So it is a memory map, and nothing is installed for it.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput
from groundlook_adapters.store.alone import alone

Found = tuple[NDArray[np.int64], NDArray[np.floating]]

_HEAD, _LOCK = "head.json", "put.lock"
_CHUNK = 65536
"""Rows that are copied at a time."""


@dataclass(frozen=True, slots=True)
class _Head:
    """`rows` of the files of `generation` count. `most`: the highest id. `twice`: whether an id may be there twice."""

    name: str
    width: int
    dtype: str
    generation: int = 0
    rows: int = 0
    most: int = -1
    twice: bool = False


class FeatureFiles:
    """Implements `core.ports.Features` under `root`/<project>/<hash of the name>/.

    A put appends rows after those that count, waits until they are on the disk, and renames a new head into place: who
    is killed before that leaves bytes that nobody reads, and that the next put writes over. Writers take turns by a
    file lock, readers never wait. Tasks come in the order of their ids, so a put looks at its own rows only and N of
    them cost O(N); where an id came again, the next `get` copies the rows that count to a new pair of files, once.
    Maps that somebody holds stay as they are.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, project: int, name: str, ids: NDArray[np.int64], vectors: NDArray[np.floating]) -> None:
        """See `core.ports.Features`."""
        ids, vectors = checked(ids, vectors)
        if not len(ids):
            return
        folder = self._folder(project, name)
        with alone(folder / _LOCK):
            head = _read_head(folder) or _Head(name, vectors.shape[1], _dtype(vectors))
            fitting(name, head.width, vectors)
            row = np.dtype(head.dtype).itemsize * head.width
            _write_at(_path(folder, head, "vectors"), head.rows * row, vectors.astype(head.dtype))
            _write_at(_path(folder, head, "ids"), head.rows * 8, ids)
            twice = head.twice or int(ids.min()) <= head.most
            most = max(head.most, int(ids.max()))
            _write_head(folder, replace(head, rows=head.rows + len(ids), most=most, twice=twice))

    def get(self, project: int, name: str) -> Found:
        """See `core.ports.Features`."""
        folder = self._folder(project, name)
        while True:
            head = _read_head(folder)
            if head is None or not head.rows:
                return np.zeros(0, np.int64), np.zeros((0, 0), np.float32)
            if head.twice:
                with alone(folder / _LOCK):
                    _compact(folder)
                continue
            with suppress(FileNotFoundError):  # copied to new files meanwhile
                return _mapped(folder, head)

    def _folder(self, project: int, name: str) -> Path:
        return self._root / str(project) / hashlib.sha256(name.encode()).hexdigest()[:16]


class FeatureMemory:
    """Implements `core.ports.Features` in this process: the twin for tests."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int, str], tuple[str, dict[int, NDArray[np.floating]]]] = {}
        self._lock = threading.Lock()

    def put(self, project: int, name: str, ids: NDArray[np.int64], vectors: NDArray[np.floating]) -> None:
        """See `core.ports.Features`."""
        ids, vectors = checked(ids, vectors)
        if not len(ids):
            return
        with self._lock:
            dtype, rows = self._kept.setdefault((project, name), (_dtype(vectors), {}))
            fitting(name, len(next(iter(rows.values()))) if rows else vectors.shape[1], vectors)
            rows.update(zip(ids.tolist(), vectors.astype(dtype), strict=True))

    def get(self, project: int, name: str) -> Found:
        """See `core.ports.Features`."""
        with self._lock:
            _, rows = self._kept.get((project, name), ("", {}))
            if not rows:
                return np.zeros(0, np.int64), np.zeros((0, 0), np.float32)
            return np.array(list(rows), np.int64), np.stack(list(rows.values()))


def checked(ids: NDArray[np.int64], vectors: NDArray[np.floating]) -> Found:
    """What a put was given, each id once, the last of it. Raises InvalidInput."""
    ids, vectors = np.asarray(ids, np.int64), np.asarray(vectors)
    if ids.ndim != 1 or vectors.ndim != 2 or len(ids) != len(vectors) or (len(ids) and not vectors.shape[1]):
        raise InvalidInput(f"features of {ids.shape} tasks are {vectors.shape}: one row of numbers for each id")
    if len(ids) and int(ids.min()) < 0:
        raise InvalidInput(f"features of task {int(ids.min())}: ids are 0 or more")
    last = len(ids) - 1 - np.unique(ids[::-1], return_index=True)[1]
    return ids[last], vectors[last]


def fitting(name: str, width: int, vectors: NDArray[np.floating]) -> None:
    """Raises InvalidInput where rows are of another length than those kept."""
    if vectors.shape[1] != width:
        raise InvalidInput(
            f"{name} gave {vectors.shape[1]} numbers a task, {width} are kept: give what computes them another name"
        )


def _dtype(vectors: NDArray[np.floating]) -> str:
    return "float16" if vectors.dtype == np.float16 else "float32"


def _path(folder: Path, head: _Head, part: str) -> Path:
    return folder / f"{head.generation}.{part}"


def _read_head(folder: Path) -> _Head | None:
    try:
        return _Head(**json.loads((folder / _HEAD).read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        raise InvalidInput(f"{folder / _HEAD} is damaged: delete the folder, its content is made again") from None


def _write_head(folder: Path, head: _Head) -> None:
    part = folder / f".{_HEAD}.{os.getpid()}"
    part.write_text(json.dumps(asdict(head)))
    part.replace(folder / _HEAD)


def _write_at(path: Path, offset: int, rows: NDArray[np.generic]) -> None:
    """`offset`: bytes. On the disk when this returns, so that no head outlives what it counts."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    with os.fdopen(handle, "r+b") as file:
        file.seek(offset)
        file.write(np.ascontiguousarray(rows).data)
        file.flush()
        os.fdatasync(file.fileno())


def _mapped(folder: Path, head: _Head) -> Found:
    ids = np.fromfile(_path(folder, head, "ids"), np.int64, head.rows)
    path, dtype = _path(folder, head, "vectors"), np.dtype(head.dtype)
    if len(ids) < head.rows or path.stat().st_size < head.rows * head.width * dtype.itemsize:
        raise InvalidInput(f"{folder} was cut short: delete the folder, its content is made again")
    return ids, np.memmap(path, dtype, "r", shape=(head.rows, head.width))


def _compact(folder: Path) -> None:
    """Under the lock: the last row of every id to files of the next generation, in the order of ids."""
    head = _read_head(folder)
    if head is None or not head.twice:
        return  # somebody else did it
    ids, vectors = _mapped(folder, head)
    unique, first = np.unique(ids[::-1], return_index=True)
    rows = len(ids) - 1 - first
    new = replace(head, generation=head.generation + 1, rows=0, twice=False)
    for part in ("vectors", "ids"):
        _path(folder, new, part).unlink(missing_ok=True)  # of somebody who was killed here
    for at, chunk in _chunks(rows):
        _write_at(_path(folder, new, "vectors"), at * head.width * vectors.itemsize, vectors[chunk])
    _write_at(_path(folder, new, "ids"), 0, unique)
    _write_head(folder, replace(new, rows=len(unique)))
    for part in ("vectors", "ids"):
        _path(folder, head, part).unlink(missing_ok=True)


def _chunks(rows: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    for at in range(0, len(rows), _CHUNK):
        yield at, rows[at : at + _CHUNK]
