"""The ledger in one SQLite file, shared by the service, the worker and the command line of one machine."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from groundlook.core.errors import Busy, NotFound
from groundlook.core.types import Job, JobState
from groundlook_adapters.jobs import sqlite_statements as sql
from groundlook_adapters.jobs.ledger import KEPT_S, Mark


class SqliteLedger:
    """Implements `jobs.ledger.Ledger`. What a call wrote outlives every process; the last of it may not outlive a
    cut of the power, after which the first sync asks for it again."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(str(path), timeout=30.0, isolation_level=None, check_same_thread=False)
        with self._reached():
            self._connection.execute("pragma journal_mode=wal")
            self._connection.execute("pragma synchronous=normal")
            # Who writes the page that fills the log waits for the disk: with 1,000, every 160th who asks for a job.
            self._connection.execute("pragma wal_autocheckpoint=8000")
            self._connection.execute("pragma foreign_keys=on")
        with self._write() as db:
            if db.execute("pragma user_version").fetchone()[0] < sql.VERSION:
                for statement in sql.SCHEMA.split(";"):
                    db.execute(statement)
                db.execute(f"pragma user_version = {sql.VERSION}")

    def close(self) -> None:
        """Let go of the file; later calls raise Busy."""
        with self._lock:
            self._connection.close()

    def put(self, kind: str, project: int, delay: float, priority: int, key: str, payload: bytes) -> int:
        """See `Ledger`."""
        now = self._clock()
        given = {"kind": kind, "project": project, "key": key, "priority": priority, "now": now, "due": now + delay}
        with self._write() as db:
            same = db.execute(sql.QUEUED, given).fetchone()[0]
            if same is not None:
                db.execute(sql.HURRY, {**given, "id": same})
                return int(same)
            job = int(db.execute(sql.PUT, given).lastrowid or 0)
            if payload:
                db.execute(sql.ATTACH, {"id": job, "name": "payload", "bytes": payload})
        return job

    # the worker's side

    def claim(self, kinds: Sequence[str], worker: str) -> Job | None:
        """See `Ledger`."""
        given = {"kinds": json.dumps(list(kinds)), "now": self._clock(), "worker": worker}
        with self._read() as db:
            held = db.execute(sql.HELD, given).fetchone()
            if held is not None or db.execute(sql.NEXT, given).fetchone() is None:
                return None if held is None else Job(*held)
        with self._write() as db:
            row = db.execute(sql.CLAIM, given).fetchone()
            return None if row is None else self._one(db, row[0])

    def beat(self, job: Job, progress: float, message: str) -> Literal["go", "stop", "lost"]:
        """See `Ledger`."""
        with self._write() as db:
            row = db.execute(sql.BEAT, {**_held(job), "progress": progress, "message": message}).fetchone()
        if row is None:
            return "lost"
        return "stop" if row[0] else "go"

    def finish(self, job: Job, state: JobState, message: str, body: bytes = b"") -> bool:
        """See `Ledger`."""
        with self._write() as db:
            now = self._state(db, job)
            if now == "running":
                self._end(db, job.id, state, message)
                if body:
                    db.execute(sql.ATTACH, {"id": job.id, "name": "body", "bytes": body})
        return now in ("running", state)

    def requeue(self, job: Job, message: str, delay: float, counted: bool) -> bool:
        """See `Ledger`."""
        with self._write() as db:
            if self._state(db, job) != "running":
                return False
            self._queue(db, job.id, message, delay, 0 if counted else 1)
        return True

    def running(self) -> Mapping[int, Mark]:
        """See `Ledger`."""
        with self._read() as db:
            return {job: (attempts, beats) for job, attempts, beats in db.execute(sql.RUNNING)}

    def release(self, job: int, mark: Mark, most: int) -> bool:
        """See `Ledger`."""
        with self._write() as db:
            attempts, beats = mark
            row = db.execute(sql.MARKED, {"id": job, "attempts": attempts, "beats": beats}).fetchone()
            if row is None:
                return False
            if attempts >= most and not row[0]:
                self._end(db, job, "failed", f"its worker was gone in the middle of it, {attempts} times")
            else:
                self._queue(db, job, "again: its worker was gone")
        return True

    # everybody's

    def job(self, job: int) -> Job:
        """See `Ledger`."""
        with self._read() as db:
            return self._one(db, job)

    def states(self, jobs: Sequence[int]) -> dict[int, JobState]:
        """See `Ledger`."""
        with self._read() as db:
            return dict(db.execute(sql.STATES, {"ids": json.dumps(list(jobs))}).fetchall())

    def jobs(self, project: int | None) -> list[Job]:
        """See `Ledger`."""
        with self._read() as db:
            return [Job(*row) for row in db.execute(sql.ALL, {"project": project})]

    def dead(self, project: int | None) -> list[Job]:
        """See `Ledger`."""
        with self._read() as db:
            return [Job(*row) for row in db.execute(sql.DEAD, {"project": project})]

    def cancel(self, job: int) -> bool:
        """See `Ledger`."""
        with self._write() as db:
            state = self._one(db, job).state
            if state == "queued":
                self._end(db, job, "cancelled", "cancelled before it began")
            if state == "running":
                db.execute(sql.STOP, {"id": job})
        return state in ("queued", "running")

    def retry(self, job: int) -> bool:
        """See `Ledger`."""
        with self._write() as db:
            if self._one(db, job).state not in ("failed", "cancelled"):
                return False
            db.execute(sql.RETRY, {"id": job, "now": self._clock()})
        return True

    def _one(self, db: sqlite3.Connection, job: int) -> Job:
        row = db.execute(sql.ONE, {"id": job}).fetchone()
        if row is None:
            raise NotFound(f"there is no job {job}: it ended long ago, or never was; see groundlook jobs")
        return Job(*row)

    def _state(self, db: sqlite3.Connection, job: Job) -> str:
        """Of a job that is its worker's, "" of another."""
        row = db.execute(sql.STATE, _held(job)).fetchone()
        return "" if row is None else str(row[0])

    def _queue(self, db: sqlite3.Connection, job: int, message: str, delay: float = 0.0, less: int = 0) -> None:
        if db.execute(sql.STOPPED, {"id": job}).fetchone()[0]:
            self._end(db, job, "cancelled", "cancelled")
            return
        now = self._clock()
        db.execute(sql.QUEUE, {"id": job, "message": message, "now": now, "due": now + delay, "less": less})

    def _end(self, db: sqlite3.Connection, job: int, state: JobState, message: str) -> None:
        now = self._clock()
        given = {"id": job, "state": state, "message": message, "now": now}
        kind, project, key = db.execute(sql.END, given).fetchone()
        if state != "cancelled":
            db.execute(sql.REDEEM, {"kind": kind, "project": project, "key": key, "id": job})
        old = {"project": project, "hour": now - KEPT_S}
        db.execute(sql.FORGET, old)
        db.execute(sql.FORGET_BODIES, old)

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.OperationalError, sqlite3.ProgrammingError) as error:
            raise Busy(
                f"the job queue {self._path} can't be used now ({error}): see that its disk has room and that it can "
                "be written to, then try again"
            ) from error

    @contextmanager
    def _read(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._reached():
            yield self._connection

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with self._read() as db:
            db.execute("begin immediate")
            try:
                yield db
                db.execute("commit")
            except BaseException:
                if db.in_transaction:
                    db.execute("rollback")
                raise


def _held(job: Job) -> dict[str, Any]:
    return {"id": job.id, "worker": job.worker, "attempts": job.attempts}
