"""The ledger in Redis, for workers on any number of machines."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal
from urllib.parse import urlsplit

from groundlook.core.errors import Busy, InvalidInput, NotFound
from groundlook.core.types import Job, JobState
from groundlook_adapters.jobs.ledger import KEPT, KEPT_S, LISTED, Mark
from groundlook_adapters.jobs.redis_scripts import scripts

PREFIX = "groundlook:jobs:"
TIMEOUT_S = 3.0
"""Of a connection that says nothing."""
PATIENCE_S = 4.0
"""That a call goes on trying while Redis is away."""
_SEEN_S = 10.0
_NUMBERS = {"KEPT": KEPT, "KEPT_S": KEPT_S, "LISTED": LISTED, "SEEN_S": _SEEN_S}


class RedisLedger:
    """Implements `jobs.ledger.Ledger` over the Redis at `url`; connects when first asked. What Redis said is kept is
    as safe as it keeps it: with an append-only file and `appendfsync always` nothing is lost. `clock`: None for the
    server's. Raises InvalidInput for a URL that can't be used, and without the redis package."""

    def __init__(self, url: str, clock: Callable[[], float] | None = None) -> None:
        self._redis, self._where = _client(url)
        self._clock = clock
        self._scripts = {name: self._redis.register_script(text) for name, text in scripts(**_NUMBERS).items()}

    def close(self) -> None:
        """Drop the connections."""
        self._redis.close()

    def put(self, kind: str, project: int, delay: float, priority: int, key: str, payload: bytes) -> int:
        """See `Ledger`."""
        return int(self._call("put", kind, project, delay, priority, key, payload))

    def claim(self, kinds: Sequence[str], worker: str) -> Job | None:
        """See `Ledger`."""
        found = self._call("claim", worker, *kinds)
        return None if found is None else _job(found[0], found[1] or b"")

    def beat(self, job: Job, progress: float, message: str) -> Literal["go", "stop", "lost"]:
        """See `Ledger`."""
        answer: Literal["go", "stop", "lost"] = self._call("beat", *_held(job), progress, message).decode()
        return answer

    def finish(self, job: Job, state: JobState, message: str, body: bytes = b"") -> bool:
        """See `Ledger`."""
        return bool(self._call("finish", *_held(job), state, message, body))

    def requeue(self, job: Job, message: str, delay: float, counted: bool) -> bool:
        """See `Ledger`."""
        return bool(self._call("requeue", *_held(job), message, delay, 0 if counted else 1))

    def running(self) -> Mapping[int, Mark]:
        """See `Ledger`."""
        return {int(job): (int(attempts), int(beats)) for job, attempts, beats in self._call("running")}

    def release(self, job: int, mark: Mark, most: int) -> bool:
        """See `Ledger`."""
        return bool(self._call("release", job, *mark, most))

    def job(self, job: int) -> Job:
        """See `Ledger`."""
        row, payload, body = self._call("job", job)
        if row is None:
            raise _unknown(job)
        return _job(row, payload, body)

    def states(self, jobs: Sequence[int]) -> dict[int, JobState]:
        """See `Ledger`."""
        found = self._call("states", *jobs) if jobs else []
        return {job: state.decode() for job, state in zip(jobs, found, strict=True) if state}

    def jobs(self, project: int | None) -> list[Job]:
        """See `Ledger`."""
        return [_job(row) for row in self._call("jobs", "" if project is None else project)]

    def dead(self, project: int | None) -> list[Job]:
        """See `Ledger`."""
        found = [_job(row) for row in self._call("dead")]
        return sorted((j for j in found if project in (None, j.project)), key=lambda j: -j.id)

    def cancel(self, job: int) -> bool:
        """See `Ledger`."""
        return self._known("cancel", job)

    def retry(self, job: int) -> bool:
        """See `Ledger`."""
        return self._known("retry", job)

    def seen(self, worker: str, lanes: Sequence[str], there: bool) -> list[str]:
        """Say that `worker` runs the jobs of `lanes`, or does no more. The lanes that anybody runs."""
        rows = self._call("seen", worker, int(there), *lanes)
        return sorted({row.decode().partition(" ")[0] for row in rows})

    def _known(self, name: str, job: int) -> bool:
        answer = self._call(name, job)
        if answer is None:
            raise _unknown(job)
        return bool(answer)

    def _call(self, name: str, *arguments: Any) -> Any:
        """What a script answers. Tried for a while where Redis is away, then Busy: a script that ran, and of which the
        answer was lost, changes nothing when it runs again."""
        from redis.exceptions import BusyLoadingError, ConnectionError, RedisError, TimeoutError

        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                now = "" if self._clock is None else self._clock()
                return self._scripts[name](keys=[PREFIX], args=[now, *arguments])
            except (BusyLoadingError, ConnectionError, TimeoutError, OSError) as error:
                if time.monotonic() > end:
                    raise self._away(error) from error
                time.sleep(0.1)
            except RedisError as error:
                raise self._away(error) from error

    def _away(self, error: Exception) -> Busy:
        return Busy(
            f"the job queue in Redis at {self._where} can't be used now ({type(error).__name__}: {error}): "
            "see that it runs and has room, then try again"
        )


def _client(url: str) -> tuple[Any, str]:
    """The client, and where it connects to, without a password."""
    try:
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ImportError as error:
        raise InvalidInput("a Redis URL is set, but not the package: install groundlook[redis]") from error
    try:
        parts = urlsplit(url)
        where = f"{parts.hostname or parts.path}:{parts.port or 6379}"
        waits = {"socket_timeout": TIMEOUT_S, "socket_connect_timeout": TIMEOUT_S, "retry": Retry(NoBackoff(), 0)}
        return Redis.from_url(url, **waits), where
    except ValueError as error:
        raise InvalidInput(f"the Redis URL can't be used ({error}): write redis://host:6379/0") from error


def _held(job: Job) -> tuple[int, str, int]:
    return job.id, job.worker, job.attempts


def _job(row: Sequence[bytes | None], payload: bytes = b"", body: bytes = b"") -> Job:
    """Of what the scripts list: the id and their FIELDS."""
    job, kind, project, state, progress, message, attempts, created, finished, priority, key, worker, started = (
        None if field is None else field.decode() if isinstance(field, bytes) else str(field) for field in row
    )
    return Job(
        id=int(job or 0),
        kind=kind or "",
        project=int(project or 0),
        state=state,  # type: ignore[arg-type]
        progress=float(progress or 0),
        message=message or "",
        attempts=int(attempts or 0),
        created=float(created or 0),
        finished=float(finished) if finished else None,
        priority=int(priority or 0),
        key=key or "",
        payload=payload,
        body=body,
        worker=worker or "",
        started=float(started) if started else None,
    )


def _unknown(job: int) -> NotFound:
    return NotFound(f"there is no job {job}: it ended long ago, or never was; see groundlook jobs")
