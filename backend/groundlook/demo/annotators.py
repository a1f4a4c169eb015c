"""Simulated people, who use Label Studio over HTTP exactly as its own pages do.

Sign up or log in with the CSRF cookie, ask for the next task with an empty body, Submit with the lock's id. That id
(`unique_lock_id` in, `unique_id` out) makes Submit safe to repeat: the second one is refused with 409.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

import httpx

from groundlook.core.errors import LabelStudioError

# Asking for a task makes Label Studio call the ML backend: /health 1 s, /setup 3 s, /predict 100 s.
_TIMEOUT = httpx.Timeout(150.0, connect=5.0)
_PAUSES = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0)

# On SQLite, Label Studio 1.23.2 looks for an unlocked task and then locks it, not in one step (next_task.py,
# `conditional_atomic(predicate=db_is_not_sqlite)`): two requests within about 0.1 s are given the same task. People
# hardly ever press "next" in the same instant; threads of one process do all the time, so they take turns.
_TURN = threading.Lock()


@dataclass(frozen=True, slots=True)
class Served:
    """A task as it was handed to a person. `model_version` and `score` are those of the prediction shown with it,
    None where there was none: Label Studio shows predictions of the project's `model_version` only."""

    task_id: int
    user: str
    time: float
    model_version: str | None = None
    score: float | None = None
    prediction_id: int | None = None
    regions: int = 0
    lock: str = ""
    data: Mapping[str, Any] = field(default_factory=dict, repr=False)


class Annotator:
    """One person with a session of their own. Not thread-safe: one thread per person.

    `turn` is held while asking for a task; by default all people of this process share one.

    Raises LabelStudioError from every method when Label Studio is down for longer than about 30 s, or refuses.
    """

    def __init__(
        self,
        url: str,
        email: str,
        password: str,
        clock: Callable[[], float] = time.time,
        turn: AbstractContextManager[Any] = _TURN,
    ) -> None:
        self.email = email
        self.history: list[Served] = []
        self._clock, self._turn = clock, turn
        # No proxy of the environment's: the server is on loopback.
        self._http = httpx.Client(base_url=url.rstrip("/"), timeout=_TIMEOUT, trust_env=False)
        try:
            self._join(password)
            self.id = int(self._expect(self._send("GET", "/api/current-user/whoami"), 200)["id"])
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Annotator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Drop the connections; the account stays."""
        self._http.close()

    def next_task(self, project: int) -> Served | None:
        """What the label stream of the project serves now ("Label All Tasks"); None when nothing is left for us."""
        with self._turn:
            answer = self._send("POST", f"/api/dm/actions?id=next_task&project={project}", {})
        if answer.status_code == 404:
            return None
        task = self._expect(answer, 200)
        shown: dict[str, Any] = (task.get("predictions") or [{}])[0]
        served = Served(
            task_id=int(task["id"]),
            user=self.email,
            time=self._clock(),
            model_version=shown.get("model_version"),
            score=shown.get("score"),
            prediction_id=shown.get("id"),
            regions=len(shown.get("result") or ()),
            lock=task.get("unique_lock_id") or "",
            data=task.get("data") or {},
        )
        self.history.append(served)
        return served

    def submit(self, task_id: int, project: int, result: Sequence[Mapping[str, Any]], lead_time: float) -> int:
        """Press Submit after `lead_time` seconds of work; the annotation's id. Never makes a second annotation."""
        return self._answer(task_id, project, result, lead_time, {})

    def skip(self, task_id: int, project: int, lead_time: float = 0.0) -> int:
        """Press Skip; the id of the cancelled annotation that this leaves."""
        return self._answer(task_id, project, (), lead_time, {"was_cancelled": True})

    def _answer(
        self,
        task_id: int,
        project: int,
        result: Sequence[Mapping[str, Any]],
        lead_time: float,
        more: Mapping[str, Any],
    ) -> int:
        served = next((s for s in reversed(self.history) if s.task_id == task_id), None)
        lock = (served.lock if served else "") or str(uuid.uuid4())
        started = datetime.fromtimestamp(self._clock() - lead_time, UTC)
        body = {
            "lead_time": lead_time,
            "result": list(result),
            "draft_id": 0,
            "parent_prediction": served.prediction_id if served else None,
            "parent_annotation": None,
            "started_at": started.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "unique_id": lock,
            **more,
        }
        answer = self._send("POST", f"/api/tasks/{task_id}/annotations?project={project}", body)
        if answer.status_code == 409:
            return self._own_annotation(task_id, project)  # an earlier try arrived, only its answer was lost
        return int(self._expect(answer, 201)["id"])

    def _own_annotation(self, task_id: int, project: int) -> int:
        task = self._expect(self._send("GET", f"/api/tasks/{task_id}/?project={project}"), 200)
        own = [int(a["id"]) for a in task.get("annotations") or () if a["completed_by"]["id"] == self.id]
        if not own:
            raise LabelStudioError(f"task {task_id}: Submit was refused as a duplicate, but {self.email} has none", 409)
        return max(own)

    def _join(self, password: str) -> None:
        """Sign up; where the account is there already, log in."""
        if self._form("/user/signup/", password) or self._form("/user/login/", password):
            return
        raise LabelStudioError(
            f"{self.email} can neither sign up nor log in at {self._http.base_url}: the password is wrong or too short"
        )

    def _form(self, path: str, password: str) -> bool:
        """Send a login form as the browser does; whether we are in. The page answers 200 when it complains."""
        self._expect_page(self._send("GET", path))
        form = {
            "csrfmiddlewaretoken": self._http.cookies.get("csrftoken") or "",
            "email": self.email,
            "password": password,
            "persist_session": "on",
        }
        return self._send("POST", path, form=form).status_code == 302

    def _send(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, form: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Every request of ours may be repeated: reads, next_task (the lock is kept), Submit (`unique_id`), and
        signing up (refused the second time, then we log in)."""
        problem = ""
        for pause in (*_PAUSES, None):
            try:
                headers = {"X-CSRFToken": self._http.cookies.get("csrftoken") or ""}
                answer = self._http.request(method, path, json=body, data=form, headers=headers)
                if answer.status_code < 500:
                    return answer
                problem = f"HTTP {answer.status_code}"
            except httpx.TransportError as error:
                problem = f"{type(error).__name__} {error}".strip()
            if pause is not None:
                time.sleep(pause)
        raise LabelStudioError(f"{method} {path} failed {len(_PAUSES) + 1} times, the last time with {problem}")

    def _expect(self, answer: httpx.Response, status: int) -> dict[str, Any]:
        if answer.status_code != status:
            raise LabelStudioError(
                f"{answer.request.method} {answer.request.url.path} for {self.email}: "
                f"HTTP {answer.status_code} {answer.text[:300]}",
                answer.status_code,
            )
        found: dict[str, Any] = answer.json()
        return found

    def _expect_page(self, answer: httpx.Response) -> None:
        if answer.status_code != 200:
            raise LabelStudioError(
                f"{answer.request.url.path} answered HTTP {answer.status_code}: is {self._http.base_url} Label Studio, "
                "and may people sign up there?",
                answer.status_code,
            )
