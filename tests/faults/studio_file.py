"""A Label Studio in one file, for processes that are killed: every call is whole or was never made."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from groundlook.core.codec import decode_region, decode_task, encode_region, encode_task
from groundlook.core.types import Annotation, LabelConfig, Prediction, Project, ProjectState, Said, Task, Window

_SCHEMA = """
create table if not exists task (id integer primary key, body text);
create table if not exists annotation (id integer primary key, task integer, body text);
create table if not exists prediction (id integer primary key, version text, task integer, score real, result text);
create table if not exists project (model_version text);
"""


class StudioFile:
    """Implements `core.ports.Labels` and `core.ports.Queue`."""

    def __init__(self, path: Path, config: LabelConfig) -> None:
        self._path, self._config = path, config
        with self._db() as db:
            db.executescript(_SCHEMA)

    @contextmanager
    def _db(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path, timeout=30)) as db, db:
            yield db

    # people

    def add(self, tasks: Sequence[Task]) -> None:
        with self._db() as db:
            db.executemany("insert into task values (?, ?)", [(t.id, json.dumps(encode_task(t))) for t in tasks])

    def say(self, annotation: Annotation) -> None:
        body = {**asdict(annotation), "regions": [encode_region(r) for r in annotation.regions]}
        row = (annotation.id, annotation.task_id, json.dumps(body))
        with self._db() as db:
            db.execute("insert or replace into annotation values (?, ?, ?)", row)

    def withdraw(self, annotation: int) -> None:
        with self._db() as db:
            db.execute("delete from annotation where id = ?", (annotation,))

    # what the loop reads

    def tasks(self, project: Project) -> list[Task]:
        with self._db() as db:
            labelled = {t for (t,) in db.execute("select task from annotation")}
            rows = db.execute("select body from task order by id").fetchall()
        bodies = [json.loads(body) for (body,) in rows]
        return [decode_task({**body, "labelled": body["id"] in labelled}) for body in bodies]

    def annotations(self, project: Project) -> list[Annotation]:
        with self._db() as db:
            rows = db.execute("select body from annotation order by id").fetchall()
        return [_annotation(json.loads(body)) for (body,) in rows]

    def marks(self, project: Project) -> dict[int, str]:
        marks: dict[int, str] = {}
        for annotation in self.annotations(project):
            marks[annotation.task_id] = marks.get(annotation.task_id, "") + repr(annotation)
        return dict(sorted(marks.items()))

    def said(self, project: Project, tasks: Sequence[int]) -> list[Said]:
        everything = self.annotations(project)
        known = {t.id: t for t in self.tasks(project)}
        return [
            Said(known[t], tuple(a for a in everything if a.task_id == t)) for t in sorted(set(tasks) & known.keys())
        ]

    def state(self, project: Project) -> ProjectState:
        with self._db() as db:
            (tasks,) = db.execute("select count(*) from task").fetchone()
            (annotations,) = db.execute("select count(*) from annotation").fetchone()
        return ProjectState(tasks, annotations, self.model_version, self._config)

    # the queue

    @property
    def model_version(self) -> str:
        with self._db() as db:
            found = db.execute("select model_version from project").fetchone()
        return "" if found is None else str(found[0])

    def publish(self, project: Project, window: Window, predictions: Mapping[int, Prediction]) -> None:
        """In two calls, as the real one: a kill may fall between them."""
        rows = [
            (window.version, t.task_id, window.place(t.task_id), _result(predictions, t.task_id)) for t in window.tasks
        ]
        with self._db() as db:
            db.executemany("insert into prediction (version, task, score, result) values (?, ?, ?, ?)", rows)
        with self._db() as db:
            if not db.execute("select 1 from prediction where version = ?", (window.version,)).fetchone():
                raise AssertionError(f"no prediction carries {window.version}")
            db.execute("delete from project")
            db.execute("insert into project values (?)", (window.version,))

    def held(self, project: Project) -> list[str]:
        with self._db() as db:
            return [v for (v,) in db.execute("select distinct version from prediction order by version")]

    def forget(self, project: Project, version: str) -> int:
        if version == self.model_version:
            return 0
        with self._db() as db:
            return db.execute("delete from prediction where version = ?", (version,)).rowcount

    def served(self) -> list[tuple[int, float, str]]:
        """(task, score, result) of the queue that people are served from, first ones first."""
        sql = "select task, score, result from prediction where version = ? order by score, task"
        with self._db() as db:
            return [(int(t), float(s), str(r)) for t, s, r in db.execute(sql, (self.model_version,))]


def _annotation(body: dict[str, Any]) -> Annotation:
    return Annotation(**{**body, "regions": tuple(decode_region(r) for r in body["regions"])})


def _result(predictions: Mapping[int, Prediction], task: int) -> str:
    return json.dumps([encode_region(r) for r in predictions[task].regions]) if task in predictions else "[]"
