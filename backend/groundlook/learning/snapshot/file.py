"""Snapshots as files: `<id>.json`, where the id is the sha256 of the file's bytes, so that nobody can change one."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from groundlook.core.codec import decode_region, decode_task, decode_tile, encode_region, encode_task
from groundlook.core.errors import InvalidInput, NotFound
from groundlook.core.types import Example, Snapshot, Task
from groundlook.learning.snapshot.uncollected import uncollected

FORMAT = 2
"""2: whole tasks with site and sensor, annotators, ground truth. 1 had no number, and of a task what trainings need."""


def snapshot_of(project: int, labels: Sequence[str], examples: Sequence[Example]) -> Snapshot:
    """The snapshot of these examples, with the id that its file will have."""
    digest = hashlib.sha256()
    for part in _content(project, labels, examples):
        digest.update(part)
    return Snapshot(digest.hexdigest(), project, tuple(labels), tuple(examples))


def save_snapshot(snapshot: Snapshot, folder: Path) -> Path:
    """Write it as `<id>.json`, whole or not at all. A file of that id is left as it is, unless it was damaged."""
    path = folder / f"{snapshot.id}.json"
    if not path.exists() or _digest(path) != snapshot.id:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}.tmp")
        try:
            with temporary.open("wb") as file:
                file.writelines(_content(snapshot.project, snapshot.labels, snapshot.examples))
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    return path


def load_snapshot(path: Path) -> Snapshot:
    """Read a saved snapshot, of this format or an earlier one. Raises ValueError when its content no longer has its
    hash."""
    found = _digest(path)
    if found != path.stem:
        raise ValueError(f"{path.name} was changed: its content has the hash {found}")
    with uncollected():
        text = path.read_text("ascii")
        examples, end = _read(text)
        body = json.loads(f'{{"examples":[{text[end:]}')
    return Snapshot(path.stem, body["project"], tuple(body["labels"]), examples)


def list_snapshots(folder: Path) -> list[Path]:
    """The snapshots kept in a project's folder, oldest first."""
    return sorted(folder.glob("*.json"), key=lambda path: (path.stat().st_mtime_ns, path.name))


def find_snapshot(folder: Path, start: str) -> Path:
    """The one whose id begins with `start`, in `folder`, that of all projects or of one. Raises NotFound, and
    InvalidInput where there are several."""
    found = {path.stem: path for path in folder.rglob("*.json") if path.stem.startswith(start)} if start else {}
    if not found:
        raise NotFound(f"no snapshot begins with {start!r}; `groundlook snapshot list --project N` names those kept")
    if len(found) > 1:
        names = ", ".join(sorted(name[:16] for name in found)[:5])
        raise InvalidInput(f"{len(found)} snapshots begin with {start!r} ({names}); give more of the id")
    return next(iter(found.values()))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


_HEAD = '{"examples":['
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
_decode = json.JSONDecoder().raw_decode


def _content(project: int, labels: Sequence[str], examples: Sequence[Example]) -> Iterator[bytes]:
    """The file in parts: one JSON object without spaces, its keys sorted, ASCII. The examples come first in it, and one
    after the other, so that a hundred thousand of them are never in memory as text, or as dicts."""
    yield _HEAD.encode()
    for i, example in enumerate(examples):
        yield f"{',' if i else ''}{_encode(_plain(example))}".encode()
    rest = _encode({"format": FORMAT, "labels": list(labels), "project": project})
    yield f"],{rest[1:]}".encode()


def _read(text: str) -> tuple[tuple[Example, ...], int]:
    """The examples of a file, and where in it they end."""
    examples, at = [], len(_HEAD)
    while text[at] != "]":
        body, at = _decode(text, at + (text[at] == ","))
        examples.append(_example(body) if isinstance(body["task"], dict) else _first_example(body))
    return tuple(examples), at


def _plain(example: Example) -> dict[str, Any]:
    return {
        "task": encode_task(example.task),
        "annotations": list(example.annotation_ids),
        "annotators": list(example.annotators),
        "ground_truth": example.ground_truth,
        "regions": [encode_region(r) for r in example.regions],
    }


def _example(body: Mapping[str, Any]) -> Example:
    return Example(
        decode_task(body["task"]),
        tuple(decode_region(r) for r in body["regions"]),
        tuple(body["annotations"]),
        tuple(body["annotators"]),
        body["ground_truth"],
    )


def _first_example(body: Mapping[str, Any]) -> Example:
    task = Task(body["task"], body["image"], decode_tile(body["tile"]), body["split"], labelled=True)
    return Example(task, tuple(decode_region(r) for r in body["regions"]), tuple(body["annotations"]))
