"""Label Studio over HTTP: the SDK, with time limits, retries and our errors. A token goes to its own origin only."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import httpx

from groundlook.core.errors import InvalidInput, LabelStudioError, NotFound
from groundlook.core.types import Annotation, Project, ProjectState, Said, Task
from groundlook_adapters.labelstudio.config import parse_config
from groundlook_adapters.labelstudio.wire import decode_annotation

log = logging.getLogger("groundlook.labelstudio")

T = TypeVar("T")
TIMEOUT = httpx.Timeout(60.0, connect=5.0)
IMPORT_TIMEOUT_S = 600.0
RETRIES = 4
PAGE = 500
HEAVY_PAGE = 100
"""Tasks in one answer where their annotations come along: a brush mask alone may take a megabyte."""
_MARK = "id,updated_at,total_annotations,cancelled_annotations"
_FIELDS = "id,data,is_labeled,annotations,result,completed_by,was_cancelled,ground_truth,created_at,lead_time"
"""Of a task and of its annotations: predictions, which may be as heavy, are none of it."""
DecodeTask = Callable[[Mapping[str, Any], Project], Task]


class LabelStudioClient:
    """Implements `core.ports.Labels`. `decode_task`: a task's JSON → Task, given by the wiring, because
    only the raster adapter knows what stands in `data.geo`."""

    def __init__(self, decode_task: DecodeTask) -> None:
        self._decode_task = decode_task
        self._clients: dict[tuple[str, str], Any] = {}
        self._connections: list[httpx.Client] = []

    # what the loop reads

    def tasks(self, project: Project) -> list[Task]:
        """See `core.ports.Labels`. One whose data can't be understood has no image, which whoever needs it is told,
        and no side of the split; the others go on."""
        return [self._task(_plain(body), project) for body in self._list(project, fields="task_only")]

    def _task(self, body: Mapping[str, Any], project: Project) -> Task:
        try:
            return self._decode_task(body, project)
        except InvalidInput as error:
            log.warning("task %s: %s", body.get("id"), error)
            return Task(int(body["id"]), "", split="margin", labelled=bool(body.get("is_labeled")))

    def annotations(self, project: Project) -> list[Annotation]:
        """See `core.ports.Labels`. What can't be understood is logged and left out."""
        found: list[Annotation] = []
        for task, of_task in self.iter_annotations(project):
            if isinstance(task, InvalidInput):
                log.warning("left out: %s", task)
            found += of_task
        return sorted(found, key=lambda a: (a.created, a.id))

    def iter_annotations(self, project: Project) -> Iterator[tuple[Task | InvalidInput, tuple[Annotation, ...]]]:
        """Every annotated task once, with its submitted annotations, oldest first; a page at a time, so that a project
        of any size fits in memory. A task or an annotation that can't be understood is the error that says why, with
        no annotations, and the rest goes on."""
        ids = list(self.marks(project))
        for start in range(0, len(ids), HEAVY_PAGE):
            for said in self.said(project, ids[start : start + HEAVY_PAGE]):
                yield from ((InvalidInput(problem), ()) for problem in said.problems)
                if said.annotations:
                    yield said.task, said.annotations

    def marks(self, project: Project) -> dict[int, str]:
        """See `core.ports.Labels`. Label Studio touches a task's `updated_at` with every annotation that is made,
        changed, marked, skipped or deleted; merging duplicates moves annotations without it, which the counts tell."""
        found: dict[int, str] = {}
        for counted in ("total_annotations", "cancelled_annotations"):
            for body in self._after(project, counted):
                counts = f"{body.total_annotations} {body.cancelled_annotations}"
                found[int(body.id)] = f"{body.updated_at} {counts}"
        return dict(sorted(found.items()))

    def said(self, project: Project, tasks: Sequence[int]) -> list[Said]:
        """See `core.ports.Labels`. All in one answer: ask for `HEAVY_PAGE` at most."""
        if not tasks:
            return []
        chosen = {"selectedItems": {"all": False, "included": list(tasks)}, "ordering": ["tasks:id"]}
        bodies = self._some(project, len(tasks), fields="all", include=_FIELDS, query=json.dumps(chosen))
        return [self._said(_plain(body), project) for body in bodies]

    def _said(self, body: Mapping[str, Any], project: Project) -> Said:
        number = int(body["id"])
        try:
            task = self._decode_task(body, project)
        except InvalidInput as error:
            return Said(Task(number, "", split="margin", labelled=bool(body.get("is_labeled"))), (), (str(error),))
        found: list[Annotation] = []
        problems: list[str] = []
        for item in body.get("annotations") or []:
            try:
                size = None if task.tile is None else task.tile.size
                found.append(decode_annotation(_plain(item), number, project.config, size))
            except InvalidInput as error:
                problems.append(str(error))
        return Said(task, tuple(sorted(found, key=lambda a: (a.created, a.id))), tuple(problems))

    def people(self, project: Project) -> dict[int, str]:
        """The e-mail address, in small letters, of everybody whom annotations name by id."""
        sdk = self.sdk(project.url, project.token)
        return {int(user.id): str(user.email).lower() for user in self.call(lambda: list(sdk.users.list()))}

    def state(self, project: Project) -> ProjectState:
        """See `core.ports.Labels`."""
        body = self.get_project(project.url, project.token, project.id)
        annotations = int(body.get("total_annotations_number") or 0) + int(body.get("skipped_annotations_number") or 0)
        return ProjectState(
            tasks=int(body.get("task_number") or 0),
            annotations=annotations,
            version=str(body.get("model_version") or ""),
            config=parse_config(str(body.get("label_config") or "")),
        )

    def _list(self, project: Project, **options: Any) -> list[Any]:
        sdk = self.sdk(project.url, project.token)
        return self.call(lambda: list(sdk.tasks.list(project=project.id, page_size=PAGE, **options)))

    def _after(self, project: Project, counted: str) -> Iterator[Any]:
        """Ids and marks of the tasks whose count `counted` is not 0, a page at a time. Each page begins behind the
        last id seen: pages by number move when a task leaves the list, and one is missed. (The parameter
        `only_annotated` means nothing to Label Studio 1.23.)"""
        last = 0
        while True:
            more = [_greater("id", last), _greater(counted, 0)]
            query = {"filters": {"conjunction": "and", "items": more}, "ordering": ["tasks:id"]}
            found = self._some(project, PAGE, fields="task_only", include=_MARK, query=json.dumps(query))
            yield from found
            if len(found) < PAGE:
                return
            last = int(found[-1].id)

    def _some(self, project: Project, count: int, **options: Any) -> list[Any]:
        sdk = self.sdk(project.url, project.token)
        where = {"project": project.id, "page": 1, "page_size": count, **options}
        return self.call(lambda: list(sdk.tasks.list(**where).items or []))

    def get_project(self, url: str, token: str, project: int) -> dict[str, Any]:
        """A project as the API gives it. Raises NotFound."""
        sdk = self.sdk(url, token)
        try:
            body: dict[str, Any] = _plain(self.call(lambda: sdk.projects.get(project)))
            return body
        except LabelStudioError as error:
            if error.status == 404:
                raise NotFound(f"project {project} does not exist at {url}, or the token may not see it") from None
            raise

    # what the loop writes

    def import_tasks(self, project: Project, tasks: Sequence[Mapping[str, Any]]) -> int:
        """Create tasks with the given `data`; returns how many were created. Not retried: it is not idempotent."""
        sdk = self.sdk(project.url, project.token)
        request = [{"data": dict(data)} for data in tasks]
        options = {"timeout_in_seconds": int(IMPORT_TIMEOUT_S), "max_retries": 0}
        reply = self.call(lambda: sdk.projects.import_tasks(project.id, request=request, request_options=options), 0)
        return int(_plain(reply).get("task_count") or 0)

    def import_predictions(self, project: Project, rows: Sequence[Mapping[str, Any]]) -> int:
        """Store predictions in one call; returns how many the server really kept."""
        sdk = self.sdk(project.url, project.token)
        options = {"timeout_in_seconds": int(IMPORT_TIMEOUT_S), "max_retries": 0}
        reply = self.call(
            lambda: sdk.projects.import_predictions(project.id, request=list(rows), request_options=options), 0
        )
        return int(_plain(reply).get("created") or 0)

    def update_project(self, project: Project, **fields: Any) -> None:
        """PATCH some fields of the project."""
        sdk = self.sdk(project.url, project.token)
        self.call(lambda: sdk.projects.update(project.id, **fields))

    def model_versions(self, project: Project) -> list[str]:
        """The versions that predictions of the project carry."""
        reply = self._raw(project, "GET", f"api/projects/{project.id}/model-versions/")
        return sorted(str(version) for version in reply)

    def delete_version(self, project: Project, version: str) -> int:
        """Delete every prediction of `version`; how many there were."""
        body = {"model_version": version}
        reply = self._raw(project, "DELETE", f"api/projects/{project.id}/model-versions/", json=body)
        return int(reply.get("deleted_predictions") or 0)

    def backends(self, project: Project) -> list[str]:
        """The addresses of the ML backends that the project is connected to."""
        sdk = self.sdk(project.url, project.token)
        return [str(backend.url or "") for backend in self.call(lambda: sdk.ml.list(project=project.id))]

    def _raw(self, project: Project, method: str, path: str, **options: Any) -> Any:
        """A call that the SDK has no method for."""
        http = self.sdk(project.url, project.token)._client_wrapper.httpx_client

        def work() -> Any:
            reply = http.request(path, method=method, **options)
            if reply.status_code >= 400:
                raise _Refused(reply.status_code, reply.text)
            return reply.json()

        return self.call(work)

    # how

    def close(self) -> None:
        """Drop all connections; the object must not be used afterwards."""
        while self._connections:
            self._connections.pop().close()

    def sdk(self, url: str, token: str) -> Any:
        """The SDK's client for one server and token (PAT or legacy: the SDK tells them apart)."""
        key = (url.rstrip("/"), token)
        if key not in self._clients:
            from label_studio_sdk import LabelStudio  # slow to import

            # No redirects: they could carry the token to another origin.
            http = httpx.Client(timeout=TIMEOUT, follow_redirects=False, trust_env=False)
            self._connections.append(http)
            self._clients[key] = self.call(
                lambda: LabelStudio(
                    base_url=key[0], api_key=token, httpx_client=http, timeout=TIMEOUT.read, max_retries=0
                ),
                0,
            )
        return self._clients[key]

    def headers(self, url: str, token: str) -> dict[str, str]:
        """What authenticates a plain request to that server; a PAT is exchanged for a fresh access token."""
        wrapper = self.sdk(url, token)._client_wrapper
        headers: dict[str, str] = self.call(wrapper.get_headers)
        return {"Authorization": headers["Authorization"]}

    def call(self, work: Callable[[], T], retries: int = RETRIES) -> T:
        """Run one API call; no answer and 5xx are tried again with backoff, then raised as LabelStudioError."""
        for attempt in range(retries + 1):
            try:
                return work()
            except httpx.HTTPError as error:
                failure = LabelStudioError(f"Label Studio does not answer ({type(error).__name__}); is it running?")
            except Exception as error:
                if not hasattr(error, "status_code"):
                    raise
                status = error.status_code
                failure = LabelStudioError(_explain(status, getattr(error, "body", error)), status)
                if status is not None and status < 500 and status != 429:
                    raise failure from None
            if attempt < retries:
                time.sleep(0.5 * 2**attempt)
        raise failure from None


class _Refused(Exception):
    """Shaped like the SDK's errors."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(body)
        self.status_code, self.body = status, body


def _explain(status: int | None, body: Any) -> str:
    detail = body.get("detail", body) if isinstance(body, dict) else body
    text = " ".join(str(detail).split())[:300]
    if status == 401:
        return f"Label Studio refused the token (401: {text}); pass a valid one with --token or GROUNDLOOK_TOKEN"
    if status == 403:
        return f"the token has no right to do this (403: {text}); use one of a user who may administer the project"
    return f"Label Studio answered {status}: {text}"


def _greater(column: str, value: int) -> dict[str, Any]:
    return {"filter": f"filter:tasks:{column}", "operator": "greater", "type": "Number", "value": value}


def _plain(value: Any) -> Any:
    """The SDK's pydantic values as plain JSON values, unknown fields kept."""
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else value
