"""What `groundlook doctor` asks of Label Studio. Everything here reads; the one PATCH changes no field."""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import httpx

from groundlook.core.errors import LabelStudioError
from groundlook.core.types import Project
from groundlook_adapters.labelstudio.client import LabelStudioClient
from groundlook_adapters.labelstudio.connect import ACTIONS

TokenKind = Literal["personal access token", "access token", "legacy token"]
_TIMEOUT = httpx.Timeout(10.0, connect=5.0)


@dataclass(frozen=True, slots=True)
class Server:
    """`version`: its release, "" where it doesn't say. `skew`: seconds that its clock is ahead of ours, None where it
    sends no Date; good to about a second, because Date has no fractions."""

    version: str
    skew: float | None


@dataclass(frozen=True, slots=True)
class Backend:
    """The row of an ML backend. `state`: CO connected, DI not reachable, ER its set-up failed. `smart`: the editor asks
    it for smart tools; it asks the first such one."""

    url: str
    state: str
    error: str
    smart: bool


def ask_server(url: str) -> Server:
    """One request without a token. Raises LabelStudioError."""
    before = time.time()
    try:
        reply = httpx.get(f"{url.rstrip('/')}/api/version", timeout=_TIMEOUT, trust_env=False)
        after = time.time()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise LabelStudioError(f"nothing answers at {url} ({type(error).__name__})") from None
    if reply.status_code != 200:
        raise LabelStudioError(f"{url}/api/version answered {reply.status_code}", reply.status_code)
    return Server(_release(reply), _skew(reply.headers.get("Date"), (before + after) / 2))


def _release(reply: httpx.Response) -> str:
    try:
        body = reply.json()
    except ValueError:
        return ""
    return str(body.get("release") or "") if isinstance(body, dict) else ""


def _skew(date: str | None, now: float) -> float | None:
    try:
        there = parsedate_to_datetime(date or "")
    except ValueError:
        return None
    moment = there if there.tzinfo else there.replace(tzinfo=UTC)
    return moment.timestamp() + 0.5 - datetime.fromtimestamp(now, UTC).timestamp()


def token_kind(token: str) -> TokenKind:
    """What a token is, by its looks; nothing is verified."""
    try:
        part = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (IndexError, binascii.Error, ValueError):
        return "legacy token"
    kind = claims.get("token_type") if isinstance(claims, dict) else None
    return "access token" if kind == "access" else "personal access token"


def may_change(client: LabelStudioClient, project: Project) -> None:
    """PATCH the project with no field at all. Raises LabelStudioError where the token may not."""
    sdk = client.sdk(project.url, project.token)
    client.call(lambda: sdk.projects.update(project.id), 0)


def backends(client: LabelStudioClient, project: Project) -> list[Backend]:
    """The project's ML backends. Label Studio calls /health and /setup of each to answer this."""
    sdk = client.sdk(project.url, project.token)
    rows = client.call(lambda: sdk.ml.list(project=project.id), 0)
    return [
        Backend(
            (r.url or "").rstrip("/"),
            str(r.state or ""),
            " ".join((r.error_message or "").split()),
            bool(r.is_interactive),
        )
        for r in rows
    ]


def webhook_faults(
    client: LabelStudioClient, project: Project, url: str, login: tuple[str, str] | None
) -> list[str] | None:
    """What is wrong with the project's webhook to `url`; None where there is none."""
    sdk = client.sdk(project.url, project.token)
    hooks = [h for h in client.call(lambda: sdk.webhooks.list(project=str(project.id)), 0) if h.url == url]
    if not hooks:
        return None
    return min((list(_faults(hook, login)) for hook in hooks), key=len)


def _faults(hook: Any, login: tuple[str, str] | None) -> Iterator[str]:
    if not hook.is_active:
        yield "it is switched off"
    if not hook.send_payload:
        yield "it sends no payload"
    missing = [] if hook.send_for_all_actions else [a for a in ACTIONS if a not in (hook.actions or [])]
    if missing:
        yield f"it does not tell of {', '.join(missing)}"
    if login is not None and not _carries(hook.headers, login):
        yield "it does not carry this service's login"


def _carries(headers: Any, login: tuple[str, str]) -> bool:
    given = headers if isinstance(headers, Mapping) else {}
    wanted = "Basic " + base64.b64encode(":".join(login).encode()).decode()
    return any(name.lower() == "authorization" and value == wanted for name, value in given.items())


def some_tasks(client: LabelStudioClient, project: Project, most: int = 50) -> list[dict[str, Any]]:
    """The first page of the project's tasks, as JSON."""
    sdk = client.sdk(project.url, project.token)
    page = client.call(lambda: sdk.tasks.list(project=project.id, page_size=most, fields="task_only"), 0)
    return [task.model_dump(mode="json") for task in page.items or []]


def one_task(client: LabelStudioClient, project: Project, task: int) -> dict[str, Any]:
    """One task as JSON. Raises LabelStudioError (status 404 where it is gone)."""
    sdk = client.sdk(project.url, project.token)
    body: dict[str, Any] = client.call(lambda: sdk.tasks.get(str(task)), 0).model_dump(mode="json")
    return body
