"""Connect a project to the backend: set what is missing, leave what others made, and say what was changed."""

from __future__ import annotations

import base64
from typing import Any

from groundlook.core.errors import LabelStudioError
from groundlook.core.types import Project
from groundlook_adapters.labelstudio.client import LabelStudioClient
from groundlook_adapters.labelstudio.queue.window import SAMPLING

ACTIONS = (
    "ANNOTATION_CREATED",
    "ANNOTATION_UPDATED",
    "ANNOTATIONS_DELETED",
    "TASKS_CREATED",
    "TASKS_DELETED",
    "PROJECT_UPDATED",
)
TITLE = "Groundlook"


def connect(
    client: LabelStudioClient, project: Project, backend: str, login: tuple[str, str] | None, smart: bool = False
) -> list[str]:
    """Webhook, ML backend and sampling, in that order; returns what was changed. Run again, it changes nothing.
    `smart`: the backend answers smart tools, so the editor offers them.

    The webhook comes first and carries the login: Label Studio makes one of its own without, unless one with that
    URL is there already.
    """
    sdk = client.sdk(project.url, project.token)
    return [
        *_webhook(client, sdk, project, f"{backend}/webhook", login),
        *_backend(client, sdk, project, backend, login, smart),
        *_sampling(client, project),
    ]


def _webhook(
    client: LabelStudioClient, sdk: Any, project: Project, url: str, login: tuple[str, str] | None
) -> list[str]:
    headers = {} if login is None else {"Authorization": "Basic " + base64.b64encode(":".join(login).encode()).decode()}
    hooks = [h for h in client.call(lambda: sdk.webhooks.list(project=str(project.id))) if h.url == url]
    wanted = {"headers": headers, "is_active": True, "send_payload": True}
    if not hooks:
        fields = {**wanted, "send_for_all_actions": False, "actions": list(ACTIONS)}
        client.call(lambda: sdk.webhooks.create(url=url, project=project.id, **fields), 0)
        return [f"webhook to {url} added"]
    hook = hooks[0]
    covered = hook.send_for_all_actions or set(ACTIONS) <= set(hook.actions or [])
    if covered and all(getattr(hook, k) == v for k, v in wanted.items()):
        return []
    if not covered:
        wanted["actions"] = sorted(set(ACTIONS) | set(hook.actions or []))
    client.call(lambda: sdk.webhooks.update(hook.id, url=url, **wanted))
    return [f"webhook to {url} brought up to date (login, actions)"]


def _backend(
    client: LabelStudioClient, sdk: Any, project: Project, url: str, login: tuple[str, str] | None, smart: bool
) -> list[str]:
    found = [b for b in client.call(lambda: sdk.ml.list(project=project.id)) if (b.url or "").rstrip("/") == url]
    fields: dict[str, Any] = {"auth_method": "NONE", "is_interactive": smart}
    if login is not None:
        fields |= {"auth_method": "BASIC_AUTH", "basic_auth_user": login[0], "basic_auth_pass": login[1]}
    if not found:
        try:
            client.call(lambda: sdk.ml.create(project=project.id, url=url, title=TITLE, **fields), 0)
        except LabelStudioError as error:
            raise LabelStudioError(
                f"Label Studio could not add the backend {url}: {error}. Is `groundlook serve` running and reachable "
                "from there? Label Studio blocks private addresses unless it is started with both "
                "ML_BLOCK_LOCAL_IP=false and SSRF_PROTECTION_ENABLED=false",
                error.status,
            ) from None
        return [f"ML backend {url} added"]
    same_login = (found[0].auth_method or "NONE") == fields["auth_method"] and (
        login is None or found[0].basic_auth_user == login[0]
    )
    same_tools = bool(found[0].is_interactive) == smart
    if same_login and same_tools:
        return []
    client.call(lambda: sdk.ml.update(found[0].id, project=project.id, url=url, **fields))
    changed = [
        *(["login"] if not same_login else []),
        *([] if same_tools else [f"smart tools {'on' if smart else 'off'}"]),
    ]
    return [f"ML backend {url} brought up to date ({', '.join(changed)})"]


def _sampling(client: LabelStudioClient, project: Project) -> list[str]:
    now = client.get_project(project.url, project.token, project.id).get("sampling")
    if now == SAMPLING:
        return []
    client.update_project(project, sampling=SAMPLING)
    return [f"task sampling changed from {now!r} to {SAMPLING!r}"]
