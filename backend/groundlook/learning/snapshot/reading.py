"""What people said of a project, read once: what was read stays on disk, and only what changed is read again.

So a connection that breaks at page 700 costs one page, and the next snapshot of a large project the pages that people
worked on since. Everything in the file can be read again; a damaged one is thrown away.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from groundlook.core.codec import decode_region, decode_task, encode_region, encode_task
from groundlook.core.ports import Labels, Progress
from groundlook.core.types import Annotation, Project, Said
from groundlook.learning.snapshot.uncollected import uncollected

log = logging.getLogger("groundlook.learning")

FOLDER = ".reading"
PAGE = 100
"""Tasks in one answer: a brush mask alone may take a megabyte."""
_FORMAT = 1
_PLAIN = tuple(field.name for field in fields(Annotation) if field.name != "regions")


def read_said(labels: Labels, project: Project, folder: Path, progress: Progress) -> list[Said]:
    """All that was submitted of every task, in id order, as it is now. `folder`: the project's snapshots, where what
    was read is kept. Stopped at any moment, the next call goes on there. Two at once do no harm. Raises
    LabelStudioError; what `progress` raises."""
    progress(0.0, "asking which tasks are annotated")
    marks = labels.marks(project)
    with closing(_Kept(folder / FOLDER / "said.db", _reader(project))) as kept:
        found = kept.get(marks)
        missing = [task for task in marks if task not in found]
        for start in range(0, len(missing), PAGE):
            page = missing[start : start + PAGE]
            progress(len(found) / len(marks), f"{len(found):,} of {len(marks):,} annotated tasks read")
            said = labels.said(project, page)  # what changes meanwhile has another mark next time
            kept.put(marks, said)
            found.update((s.task.id, s) for s in said)
    return [found[task] for task in sorted(found)]


def _reader(project: Project) -> str:
    """Changes when the same answer would be read as something else."""
    config = json.dumps(asdict(project.config), sort_keys=True, default=str)
    return hashlib.sha256(f"{_FORMAT}|{project.url}|{config}".encode()).hexdigest()


class _Kept:
    """Rows of (task, mark, what was said). `reader`: rows of another one are of no use."""

    def __init__(self, path: Path, reader: str) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = _opened(path, reader)
        except (sqlite3.OperationalError, OSError) as error:
            log.warning("%s: %s; what is read now can't be kept", path, error)
            self._db = _opened(Path(":memory:"), reader)
        except sqlite3.DatabaseError as error:
            log.warning("%s is damaged (%s): everything is read again", path, error)
            path.unlink(missing_ok=True)
            self._db = _opened(path, reader)

    def close(self) -> None:
        self._db.close()

    def get(self, marks: Mapping[int, str]) -> dict[int, Said]:
        """What is kept of tasks under the marks that they have now."""
        rows = self._db.execute("SELECT task, mark, body FROM said")
        with uncollected():
            return {task: _decoded(body) for task, mark, body in rows if marks.get(task) == mark}

    def put(self, marks: Mapping[int, str], said: Sequence[Said]) -> None:
        """On disk when this returns, whole or not at all."""
        values = [(s.task.id, marks[s.task.id], _encoded(s)) for s in said if s.task.id in marks]
        try:
            with self._db:
                self._db.executemany("INSERT OR REPLACE INTO said VALUES (?, ?, ?)", values)
        except sqlite3.OperationalError as error:  # a full disk: what was read is still in memory
            log.warning("what was read of %d tasks can't be kept: %s", len(values), error)


def _opened(path: Path, reader: str) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=30)
    try:
        if db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise sqlite3.DatabaseError("its pages don't fit each other")
        with db:
            db.execute("BEGIN IMMEDIATE")
            db.execute("CREATE TABLE IF NOT EXISTS reader (name TEXT)")
            db.execute("CREATE TABLE IF NOT EXISTS said (task INTEGER PRIMARY KEY, mark TEXT, body TEXT)")
            if db.execute("SELECT name FROM reader").fetchall() != [(reader,)]:
                db.execute("DELETE FROM said")
                db.execute("DELETE FROM reader")
                db.execute("INSERT INTO reader VALUES (?)", (reader,))
    except BaseException:
        db.close()
        raise
    return db


def _encoded(said: Said) -> str:
    annotations = [_plain(annotation) for annotation in said.annotations]
    return json.dumps([encode_task(said.task), annotations, list(said.problems)], separators=(",", ":"))


def _plain(annotation: Annotation) -> dict[str, Any]:
    body = {name: getattr(annotation, name) for name in _PLAIN}
    return {**body, "regions": [encode_region(r) for r in annotation.regions]}


def _decoded(text: str) -> Said:
    task, annotations, problems = json.loads(text)
    return Said(decode_task(task), tuple(_annotation(a) for a in annotations), tuple(problems))


def _annotation(body: dict[str, Any]) -> Annotation:
    return Annotation(**{**body, "regions": tuple(decode_region(r) for r in body["regions"])})
