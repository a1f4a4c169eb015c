"""An immutable, hashed dataset made of annotations at one moment."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from groundlook.core.codec import decode_region, decode_tile, encode_region, encode_tile
from groundlook.core.geometry import Shape, WholeTile, has_area
from groundlook.core.types import Annotation, Example, Project, Snapshot, Task


def make_snapshot(project: Project, tasks: Sequence[Task], annotations: Sequence[Annotation]) -> Snapshot:
    """The dataset of what people have said so far. Skipped annotations are left out; of several for one task the
    newest stands. An annotation without regions is data: "looked at, empty". Of a project whose served
    control is Choices, the classes of tiles are kept; of the others, what has an area. Equal input, equal id."""
    by_id = {t.id: t for t in tasks}
    newest: dict[int, Annotation] = {}
    for annotation in sorted(annotations, key=lambda a: (a.created, a.id)):
        if not annotation.skipped and annotation.task_id in by_id:
            newest[annotation.task_id] = annotation
    learns = _is_class if project.config.control_type == "Choices" else has_area
    examples = tuple(
        Example(
            by_id[task], tuple(r for r in a.regions if r.label in project.config.labels and learns(r.shape)), (a.id,)
        )
        for task, a in sorted(newest.items())
    )
    body = _content(project.id, project.config.labels, examples)
    return Snapshot(_digest(body), project.id, project.config.labels, examples)


def _is_class(shape: Shape) -> bool:
    return isinstance(shape, WholeTile)


def save_snapshot(snapshot: Snapshot, folder: Path) -> Path:
    """Write it as `<id>.json`, whole or not at all; an existing file of that id is left as it is."""
    path = folder / f"{snapshot.id}.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(_content(snapshot.project, snapshot.labels, snapshot.examples))
        temporary.replace(path)
    return path


def load_snapshot(path: Path) -> Snapshot:
    """Read a saved snapshot. Raises ValueError when its content no longer has its hash."""
    text = path.read_text()
    body = json.loads(text)
    if _digest(text) != path.stem:
        raise ValueError(f"{path.name} was changed: its content has the hash {_digest(text)}")
    return Snapshot(path.stem, body["project"], tuple(body["labels"]), tuple(_example(e) for e in body["examples"]))


def _digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def _content(project: int, labels: Sequence[str], examples: Sequence[Example]) -> str:
    body = {"project": project, "labels": list(labels), "examples": [_plain(e) for e in examples]}
    return json.dumps(body, sort_keys=True, separators=(",", ":"))


def _plain(example: Example) -> dict[str, Any]:
    task = example.task
    return {
        "task": task.id,
        "image": task.image,
        "split": task.split,
        "tile": encode_tile(task.tile),
        "annotations": list(example.annotation_ids),
        "regions": [encode_region(r) for r in example.regions],
    }


def _example(body: Mapping[str, Any]) -> Example:
    task = Task(body["task"], body["image"], decode_tile(body["tile"]), body["split"], labelled=True)
    return Example(task, tuple(decode_region(r) for r in body["regions"]), tuple(body["annotations"]))
