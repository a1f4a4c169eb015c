"""The embedded durable job queue: a table that is the truth, and huey (SQLite) that runs what it says.

huey takes a task off its queue before running it, so a killed process would lose it. Therefore the table decides:
a worker that starts finds what was running or waiting and runs it again. Handlers must be idempotent, and are.
Two lanes keep quick work (sync, refill) from waiting behind training.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from huey import SqliteHuey
from huey.consumer import Consumer

from groundlook.core.errors import Busy
from groundlook.core.ports import Progress
from groundlook.core.types import Job

log = logging.getLogger("groundlook.jobs")

_SCHEMA = """
create table if not exists job (
    id integer primary key autoincrement, kind text not null, project integer not null, state text not null,
    progress real not null default 0, message text not null default '', attempts integer not null default 0,
    created real not null, finished real
);
create unique index if not exists one_queued on job (kind, project) where state = 'queued';
"""
_COLUMNS = "id, kind, project, state, progress, message, attempts, created, finished"
MAX_ATTEMPTS = 12
MAX_BACKOFF = 60.0
GRACE = 1.5
"""Seconds that running jobs have to end when the worker ends."""

Handler = Callable[[int, Progress], str]
"""Called with the project and a progress callback; returns the closing message."""


class EmbeddedJobs:
    """Implements `core.ports.Jobs`. `lanes`: which lane ("fast" or "slow") each kind of job runs in."""

    def __init__(self, path: Path, lanes: Mapping[str, str]) -> None:
        self._path = path
        self._lanes = dict(lanes)
        self._hueys = {lane: SqliteHuey(name=lane, filename=str(path), results=False) for lane in set(lanes.values())}
        self._tasks = {lane: huey.task(name="run")(self._run) for lane, huey in self._hueys.items()}
        self._handlers: Mapping[str, Handler] = {}
        with self._db() as db:
            db.executescript(_SCHEMA)

    @contextmanager
    def _db(self) -> Iterator[sqlite3.Connection]:
        """A connection for one operation: nobody closes one that another thread still uses."""
        with closing(sqlite3.connect(str(self._path), timeout=30.0, isolation_level=None)) as db:
            db.execute("pragma journal_mode=wal")
            yield db

    def close(self) -> None:
        """Let go of the file; the object must not be used afterwards."""
        for huey in self._hueys.values():
            huey.storage.close()

    def submit(self, kind: str, project: int, delay: float = 0.0) -> None:
        """See `core.ports.Jobs`."""
        with self._db() as db:
            cursor = db.execute(
                "insert or ignore into job (kind, project, state, created) values (?, ?, 'queued', ?)",
                (kind, project, time.time()),
            )
            inserted, job = cursor.rowcount == 1, int(cursor.lastrowid or 0)
        if inserted:
            self._enqueue(job, kind, delay)

    def jobs(self, project: int | None = None) -> list[Job]:
        """See `core.ports.Jobs`."""
        where, args = ("where project = ?", (project,)) if project is not None else ("", ())
        with self._db() as db:
            rows = db.execute(f"select {_COLUMNS} from job {where} order by id desc limit 500", args)  # noqa: S608
            return [Job(*row) for row in rows]

    def _enqueue(self, job: int, kind: str, delay: float) -> None:
        task = self._tasks[self._lanes[kind]]
        if delay > 0:
            task.schedule((job,), delay=delay)
        else:
            task(job)

    # the worker's side

    @contextmanager
    def working(self, handlers: Mapping[str, Handler], wait: float = 30.0) -> Iterator[None]:
        """Run jobs in the background of this process while the block lasts. One worker per queue file: a second
        waits up to `wait` seconds for the first to end, then raises Busy."""
        self._handlers = handlers
        with _only_worker(self._path.with_suffix(".lock"), wait):
            self._recover()
            consumers = [_consumer(huey) for huey in self._hueys.values()]
            for consumer in consumers:
                consumer.start()
            try:
                yield
            finally:
                _stop(consumers)

    def _recover(self) -> None:
        for huey in self._hueys.values():
            huey.storage.flush_all()
        with self._db() as db:
            # A job that was running and one queued behind it are the same work: keep one.
            db.execute(
                "delete from job where state = 'queued' and exists (select 1 from job as r "
                "where r.kind = job.kind and r.project = job.project and r.state = 'running')"
            )
            db.execute(
                "delete from job where state = 'running' and id not in "
                "(select max(id) from job where state = 'running' group by kind, project)"
            )
            db.execute("update job set state = 'queued' where state = 'running'")
            waiting = db.execute("select id, kind from job where state = 'queued' order by id").fetchall()
        for job, kind in waiting:
            self._enqueue(job, kind, 0.0)

    def _run(self, job: int) -> None:
        with self._db() as db:
            claimed = db.execute(
                "update job set state = 'running', attempts = attempts + 1, message = '' "
                "where id = ? and state = 'queued' returning kind, project, attempts",
                (job,),
            ).fetchone()
        if claimed is None:
            return
        kind, project, attempts = claimed
        started = time.monotonic()
        try:
            message = self._handlers[kind](project, lambda done, text: self._progress(job, done, text))
        except Exception as error:
            self._failed(job, kind, project, attempts, error)
        else:
            log.info("%s of project %s: %s (%.1f s)", kind, project, message, time.monotonic() - started)
            self._finish(job, "done", message)

    def _progress(self, job: int, done: float, text: str) -> None:
        with self._db() as db:
            db.execute("update job set progress = ?, message = ? where id = ?", (min(max(done, 0.0), 1.0), text, job))

    def _failed(self, job: int, kind: str, project: int, attempts: int, error: Exception) -> None:
        log.warning("%s of project %s failed (attempt %s)", kind, project, attempts, exc_info=error)
        text = f"{type(error).__name__}: {error}"
        if attempts >= MAX_ATTEMPTS:
            self._finish(job, "failed", text)
            return
        with self._db() as db, contextlib.suppress(sqlite3.IntegrityError):
            db.execute("update job set state = 'queued', message = ? where id = ?", (f"will retry: {text}", job))
            self._enqueue(job, kind, min(2.0 ** (attempts - 1), MAX_BACKOFF))
            return
        self._finish(job, "replaced", f"{text}; the same work is queued already")

    def _finish(self, job: int, state: str, message: str) -> None:
        with self._db() as db:
            db.execute(
                "update job set state = ?, message = ?, finished = ?, progress = max(progress, ?) where id = ?",
                (state, message, time.time(), 1.0 if state == "done" else 0.0, job),
            )


@contextmanager
def _only_worker(lock: Path, wait: float) -> Iterator[None]:
    """Hold the lock file; the kernel lets go of it however this process ends."""
    with lock.open("a") as handle:
        end = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise Busy(f"another worker runs the jobs of {lock.parent}; stop it or use another home") from None
                time.sleep(0.1)
        yield


def _stop(consumers: list[Any]) -> None:
    """Take no more work; what is nearly done may end, what is not is run again by the next worker."""
    for consumer in consumers:
        consumer.stop(graceful=False)
    end = time.monotonic() + GRACE
    for thread in [thread for consumer in consumers for _, thread in consumer.worker_threads]:
        thread.join(max(end - time.monotonic(), 0.0))


def _consumer(huey: Any) -> Any:
    consumer: Any = Consumer(
        huey,
        workers=1,
        periodic=False,
        initial_delay=0.05,
        backoff=1.15,
        max_delay=0.5,
        scheduler_interval=1,
        shutdown_timeout=2,
    )
    consumer._set_signal_handlers = lambda: None  # they belong to the process, not to a library inside it
    return consumer
