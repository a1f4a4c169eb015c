"""A Groundlook service as a LabelStudioMLBase, for teams that host label-studio-ml 1.0.9. Copy this file there:

    label-studio-ml init groundlook --script groundlook_model.py:GroundlookModel
    GROUNDLOOK_URL=http://groundlook:9090 label-studio-ml start groundlook

GROUNDLOOK_USER and GROUNDLOOK_PASSWORD are the service's login, where it has one. Every call goes on to the service,
which knows the project from `groundlook connect`. Standard library and label-studio-ml only, from Python 3.7 on.
"""

from __future__ import annotations

import base64
import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from label_studio_ml.model import LabelStudioMLBase, LabelStudioMLManager  # type: ignore[import-not-found]

SETUP_SECONDS, PREDICT_SECONDS, WEBHOOK_SECONDS = 3.0, 100.0, 10.0
"""Label Studio's own patience, but for events: those run in a process of their own here."""


class GroundlookModel(LabelStudioMLBase):  # type: ignore[misc]
    """Asks the service at GROUNDLOOK_URL."""

    def announce(self, project: Any) -> str:
        """The version that the service's predictions for `project` carry."""
        body = {"project": project, "schema": self.label_config, "hostname": self.hostname}
        return str(ask("/setup", body, SETUP_SECONDS)["model_version"])

    def predict(self, tasks: Sequence[Mapping[str, Any]], context: Any = None, **kwargs: Any) -> list[Any]:
        """One prediction for each task, by the service; `context` holds what an annotator points at."""
        if not tasks:
            return []
        body = {"tasks": tasks, "project": tasks[0].get("project"), "params": {"context": context}}
        return list(ask("/predict", body, PREDICT_SECONDS)["results"])

    def process_event(self, event: str, data: Mapping[str, Any], job_id: Any, additional_params: Any) -> None:
        """Every event, also those that label-studio-ml does not train on."""
        ask("/webhook", dict(data, action=event), WEBHOOK_SECONDS)


def ask(path: str, body: Any, seconds: float) -> Any:
    """The service's answer to a POST. Raises RuntimeError with what it says is wrong."""
    url = os.environ.get("GROUNDLOOK_URL", "http://127.0.0.1:9090").rstrip("/") + path
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})  # noqa: S310
    user = os.environ.get("GROUNDLOOK_USER")
    if user:
        login = f"{user}:{os.environ.get('GROUNDLOOK_PASSWORD', '')}"
        request.add_header("Authorization", "Basic " + base64.b64encode(login.encode()).decode())
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=seconds) as reply:
            return json.load(reply)
    except urllib.error.HTTPError as error:
        with error:
            said = error.read(2000).decode(errors="replace")
        raise RuntimeError(f"Groundlook at {url} answered {error.code}: {said}") from None
    except OSError as error:
        raise RuntimeError(f"Groundlook does not answer at {url} ({error}); set GROUNDLOOK_URL") from None


def announcing(fetch: Callable[..., Any]) -> Any:
    """1.0.9 tells a model neither the project that is set up nor asks it for a version: it announces "INITIAL" or the
    time. Label Studio would then predict every task again at each serve, because the predictions carry ours."""

    def announced(cls: Any, project: Any = None, *args: Any, **kwargs: Any) -> Any:
        found = fetch(cls, project, *args, **kwargs)
        if isinstance(found.model, GroundlookModel) and project:
            found.model_version = found.model.announce(project)
        return found

    return classmethod(announced)


if not getattr(LabelStudioMLManager, "announces", False):
    LabelStudioMLManager.announces = True
    LabelStudioMLManager.fetch = announcing(LabelStudioMLManager.fetch.__func__)
