"""The store in one SQLite file, shared by the service, the worker and the command line.

WAL mode: readers never wait for a writer. Writes are small transactions, so that nobody waits long for another.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import astuple
from itertools import islice
from pathlib import Path
from typing import Any

from groundlook.core.codec import (
    decode_project,
    decode_region,
    decode_shape,
    encode_project,
    encode_region,
    encode_shape,
)
from groundlook.core.errors import Busy, NotFound
from groundlook.core.types import (
    Annotation,
    ModelVersion,
    Original,
    Prediction,
    Project,
    RankedTask,
    Region,
    SceneRow,
    Score,
    Window,
)

_SCHEMA = """
create table if not exists project (id integer primary key, body text not null, token text not null);
create table if not exists scene (
    id text primary key, source text not null, etag text not null, render text not null,
    width integer not null, height integer not null
);
create table if not exists original (
    project integer, uid text, geometry blob not null, crs text not null, shape text not null, source text not null,
    primary key (project, uid)
) without rowid;
create table if not exists load (
    id integer primary key autoincrement, project integer not null, file text not null, done integer not null
);
create table if not exists loaded (
    load integer not null, project integer not null, task integer not null, uid text not null, label text not null,
    width integer not null, height integer not null
);
create index if not exists loaded_of_task on loaded (project, task);
create index if not exists loaded_of_load on loaded (load);
drop table if exists embedding;
create table if not exists prediction (
    project integer, version text, task integer, score real, terms text not null, body text not null,
    primary key (project, version, task)
) without rowid;
create table if not exists window (
    project integer, number integer, model text not null, published real not null, tasks text not null,
    primary key (project, number)
);
create table if not exists served (
    project integer, annotation integer, task integer not null, author text not null, created real not null,
    lead_time real not null, skipped integer not null, primary key (project, annotation)
);
create table if not exists value (project integer, key text, value real not null, primary key (project, key));
"""
_CHUNK = 256
_BULK = 4096
"""Rows of a bulk load in one transaction: closing a connection after writing takes longer than writing 256 rows."""
_LOADED = ModelVersion("loaded", "vectors")
"""What loaded regions say they were predicted by."""


class SqliteStore:
    """Implements `core.ports.Store`. `path` may be ":memory:" for a store that lives as long as the object. Every call
    raises Busy where the file can't be used for a while, as on a full disk: then nothing of the call was written."""

    def __init__(self, path: Path | str) -> None:
        self._path = str(path)
        # In memory this is the store, shared by all threads under the lock. Of a file it only keeps the log alive
        # between operations, each of which opens its own connection: nobody closes one that another thread uses.
        with self._reached():
            self._kept = self._open()
            self._kept.execute("pragma journal_mode=wal")  # the file remembers
        self._lock = threading.RLock()
        with self._write() as db:
            db.executescript(_SCHEMA)
        if self._path != ":memory:":
            Path(self._path).chmod(0o600)  # it holds tokens

    def close(self) -> None:
        """Let go of the file; the object must not be used afterwards."""
        self._kept.close()

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, timeout=30.0, isolation_level=None, check_same_thread=False)
        db.execute("pragma synchronous=normal")
        return db

    @contextmanager
    def _db(self) -> Iterator[sqlite3.Connection]:
        if self._path == ":memory:":
            with self._lock:
                yield self._kept
        else:
            with self._reached(), closing(self._open()) as db:
                yield db

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise Busy(
                f"the store {self._path} can't be used now ({error}): see that its disk has room and that it can be "
                "written to, then try again"
            ) from error

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with self._db() as db:
            db.execute("begin immediate")
            try:
                yield db
                if db.in_transaction:
                    db.execute("commit")
            except BaseException:
                if db.in_transaction:  # a full disk may have ended it
                    db.execute("rollback")
                raise

    def _rows(self, sql: str, *args: Any) -> list[Any]:
        with self._db() as db:
            return db.execute(sql, args).fetchall()

    # projects and scenes

    def put_project(self, project: Project) -> None:
        body = encode_project(project)
        token = body.pop("token")
        with self._write() as db:
            db.execute("insert or replace into project values (?, ?, ?)", (project.id, json.dumps(body), token))

    def project(self, project_id: int) -> Project:
        rows = self._rows("select body, token from project where id = ?", project_id)
        if not rows:
            raise NotFound(
                f"project {project_id} is not connected; run: groundlook connect --url … --project {project_id}"
            )
        return _project(*rows[0])

    def projects(self) -> list[Project]:
        return [_project(*row) for row in self._rows("select body, token from project order by id")]

    def put_scene(self, scene: SceneRow) -> None:
        with self._write() as db:
            db.execute("insert or replace into scene values (?, ?, ?, ?, ?, ?)", astuple(scene))

    def scene(self, scene_id: str) -> SceneRow:
        rows = self._rows("select * from scene where id = ?", scene_id)
        if not rows:
            raise NotFound(f"scene {scene_id} was never ingested here; run: groundlook ingest PATH --project N")
        return SceneRow(*rows[0])

    def scenes(self) -> list[SceneRow]:
        return [SceneRow(*row) for row in self._rows("select * from scene order by source")]

    # vector features that came in

    def put_originals(self, project: int, rows: Mapping[str, Original]) -> None:
        self._insert(
            "insert or replace into original values (?, ?, ?, ?, ?, ?)",
            [(project, u, o.geometry, o.crs, json.dumps(encode_shape(o.shape)), o.source) for u, o in rows.items()],
            _BULK,
        )

    def originals(self, project: int, uids: Sequence[str]) -> dict[str, Original]:
        found = {}
        for at in range(0, len(uids), _CHUNK):
            part = uids[at : at + _CHUNK]
            marks = ",".join("?" * len(part))
            sql = f"select uid, geometry, crs, shape, source from original where project = ? and uid in ({marks})"  # noqa: S608
            for uid, geometry, crs, shape, source in self._rows(sql, project, *part):
                found[str(uid)] = Original(geometry, crs, decode_shape(json.loads(shape)), source)
        return found

    def put_loaded(self, project: int, file: str, rows: Iterable[tuple[int, Prediction]]) -> int:
        with self._write() as db:
            load = db.execute("insert into load (project, file, done) values (?, ?, 0)", (project, file)).lastrowid
        try:
            # Small transactions; nobody reads what is not done, whatever ends us on the way.
            flat = (
                (load, project, task, region.uid, region.label, *prediction.size)
                for task, prediction in rows
                for region in prediction.regions
            )
            while chunk := list(islice(flat, _BULK)):
                self._insert("insert into loaded values (?, ?, ?, ?, ?, ?, ?)", chunk, _BULK)
        except BaseException:
            with self._write() as db:
                _drop_loads(db, [load])
            raise
        with self._write() as db:
            sql = "select id, done from load where project = ? and file = ? and id < ?"  # a later one is not ours
            old = db.execute(sql, (project, file, load)).fetchall()
            gone = sum(_drop_loads(db, [i]) * int(done) for i, done in old)
            db.execute("update load set done = 1 where id = ?", (load,))
        return gone

    def loaded(self, project: int, tasks: Sequence[int]) -> dict[int, Prediction]:
        regions: dict[int, list[Region]] = {}
        sizes: dict[int, tuple[int, int]] = {}
        for at in range(0, len(tasks), _CHUNK):
            part = tasks[at : at + _CHUNK]
            sql = f"""
                select l.task, l.uid, l.label, l.width, l.height, o.shape, o.source from loaded l
                join load on load.id = l.load and load.done
                join original o on o.project = l.project and o.uid = l.uid
                where l.project = ? and l.task in ({",".join("?" * len(part))}) order by l.rowid
            """  # noqa: S608
            for task, uid, label, width, height, shape, source in self._rows(sql, project, *part):
                region = Region(decode_shape(json.loads(shape)), label, None, uid, "prediction", source)
                regions.setdefault(int(task), []).append(region)
                sizes[int(task)] = (width, height)
        return {t: Prediction(_LOADED, tuple(found), size=sizes[t]) for t, found in regions.items()}

    # predictions and scores

    def put_predictions(
        self, project: int, version: ModelVersion, rows: Mapping[int, tuple[Prediction, Score]]
    ) -> None:
        encoded = [
            (project, str(version), task, score.value, json.dumps(dict(score.terms)), _dump(prediction, version))
            for task, (prediction, score) in rows.items()
        ]
        self._insert("insert or replace into prediction values (?, ?, ?, ?, ?, ?)", encoded)

    def scores(self, project: int, version: ModelVersion) -> dict[int, Score]:
        rows = self._rows(
            "select task, score, terms from prediction where project = ? and version = ?", project, str(version)
        )
        return {int(t): Score(s, json.loads(terms)) for t, s, terms in rows}

    def predictions(self, project: int, version: ModelVersion, tasks: Sequence[int]) -> dict[int, Prediction]:
        found: dict[int, Prediction] = {}
        for at in range(0, len(tasks), _CHUNK):
            chunk = list(tasks[at : at + _CHUNK])
            marks = ",".join("?" * len(chunk))
            rows = self._rows(
                f"select task, body from prediction where project = ? and version = ? and task in ({marks})",  # noqa: S608
                project,
                str(version),
                *chunk,
            )
            found.update({int(t): _prediction(version, body) for t, body in rows})
        return found

    def _insert(self, sql: str, rows: Sequence[tuple[Any, ...]], size: int = _CHUNK) -> None:
        for at in range(0, len(rows), size):
            with self._write() as db:
                db.executemany(sql, rows[at : at + size])

    # the queue, planned and served

    def add_window(self, project: int, window: Window) -> None:
        rows = [[t.task_id, t.rank, t.score, t.reason, t.stream] for t in window.tasks]
        tasks = json.dumps({"strategy": window.strategy, "fallback": window.fallback, "tasks": rows})
        with self._write() as db:
            db.execute(
                "insert or replace into window values (?, ?, ?, ?, ?)",
                (project, window.number, str(window.model), window.published, tasks),
            )

    def windows(self, project: int) -> list[Window]:
        sql = "select number, model, published, tasks from window where project = ? order by number"
        return [_window(*row) for row in self._rows(sql, project)]

    def published(self, project: int) -> int:
        return int(self._rows("select count(*) from window where project = ?", project)[0][0])

    def current_window(self, project: int) -> Window | None:
        sql = "select number, model, published, tasks from window where project = ? order by number desc limit 1"
        rows = self._rows(sql, project)
        return _window(*rows[0]) if rows else None

    def add_served(self, project: int, annotations: Sequence[Annotation]) -> None:
        rows = [(project, a.id, a.task_id, a.author, a.created, a.lead_time, int(a.skipped)) for a in annotations]
        self._insert("insert or replace into served values (?, ?, ?, ?, ?, ?, ?)", rows)

    def drop_served(self, project: int, annotation_ids: Sequence[int]) -> None:
        with self._write() as db:
            db.executemany(
                "delete from served where project = ? and annotation = ?", [(project, i) for i in annotation_ids]
            )

    def served(self, project: int) -> list[Annotation]:
        sql = (
            "select annotation, task, author, created, lead_time, skipped from served "
            "where project = ? order by created - lead_time, annotation"
        )
        return [
            Annotation(int(i), int(t), (), author, created, lead, bool(skipped))
            for i, t, author, created, lead, skipped in self._rows(sql, project)
        ]

    # counters

    def next_number(self, project: int, key: str) -> int:
        with self._write() as db:
            sql = (
                "insert into value values (?, ?, 1) on conflict (project, key) do update set value = value + 1 "
                "returning value"
            )
            return int(db.execute(sql, (project, key)).fetchone()[0])

    def put_value(self, project: int, key: str, value: float) -> None:
        with self._write() as db:
            db.execute("insert or replace into value values (?, ?, ?)", (project, key, value))

    def value(self, project: int, key: str, default: float = 0.0) -> float:
        rows = self._rows("select value from value where project = ? and key = ?", project, key)
        return float(rows[0][0]) if rows else default


def _drop_loads(db: sqlite3.Connection, loads: Sequence[int | None]) -> int:
    """How many regions that were."""
    gone = sum(int(db.execute("delete from loaded where load = ?", (i,)).rowcount) for i in loads)
    db.executemany("delete from load where id = ?", [(i,) for i in loads])
    return gone


def _dump(prediction: Prediction, version: ModelVersion) -> str:
    regions = [encode_region(r) for r in prediction.regions]
    body = {"regions": regions, "size": prediction.size, "peak": prediction.peak, "knows": prediction.knows}
    if prediction.version != version:  # taken over from an earlier one
        body["by"] = str(prediction.version)
    return json.dumps(body)


def _prediction(version: ModelVersion, text: str) -> Prediction:
    body = json.loads(text)
    regions = tuple(decode_region(r) for r in body["regions"])
    version = ModelVersion.parse(body["by"]) if "by" in body else version
    return Prediction(version, regions, peak=body["peak"], knows=body["knows"], size=tuple(body["size"]))


def _project(body: str, token: str) -> Project:
    return decode_project({**json.loads(body), "token": token})


def _window(number: int, model: str, published: float, text: str) -> Window:
    body = json.loads(text)
    if isinstance(body, list):  # of an earlier version: the rows alone
        body = {"tasks": body, "strategy": "", "fallback": ""}
    ranked = tuple(RankedTask(*row) for row in body["tasks"])
    return Window(number, ModelVersion.parse(model), ranked, published, body["strategy"], body["fallback"])
