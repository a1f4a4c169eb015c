"""Snapshots as files: `<id>.json`, where the id is the sha256 of the file's bytes, so that nobody can change one."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from groundlook.core.codec import decode_region, decode_task, decode_tile, encode_region, encode_task
from groundlook.core.errors import InvalidInput, NotFound
from groundlook.core.types import Example, Snapshot, Task

FORMAT = 2
"""2: whole tasks with site and sensor, annotators, ground truth. 1 had no number, and of a task what trainings need."""


def snapshot_of(project: int, labels: Sequence[str], examples: Sequence[Example]) -> Snapshot:
    """The snapshot of these examples, with the id that its file will have."""
    return Snapshot(_digest(_content(project, labels, examples)), project, tuple(labels), tuple(examples))


def save_snapshot(snapshot: Snapshot, folder: Path) -> Path:
    """Write it as `<id>.json`, whole or not at all; an existing file of that id is left as it is."""
    path = folder / f"{snapshot.id}.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            temporary.write_text(_content(snapshot.project, snapshot.labels, snapshot.examples))
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    return path


def load_snapshot(path: Path) -> Snapshot:
    """Read a saved snapshot, of this format or an earlier one. Raises ValueError when its content no longer has its
    hash."""
    text = path.read_text()
    if _digest(text) != path.stem:
        raise ValueError(f"{path.name} was changed: its content has the hash {_digest(text)}")
    body = json.loads(text)
    decode = _example if body.get("format", 1) > 1 else _first_example
    return Snapshot(path.stem, body["project"], tuple(body["labels"]), tuple(decode(e) for e in body["examples"]))


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


def _digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def _content(project: int, labels: Sequence[str], examples: Sequence[Example]) -> str:
    body = {
        "format": FORMAT,
        "project": project,
        "labels": list(labels),
        "examples": [_plain(e) for e in examples],
    }
    return json.dumps(body, sort_keys=True, separators=(",", ":"))


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
