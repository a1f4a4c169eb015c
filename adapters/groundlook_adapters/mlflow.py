"""Model versions as runs of an MLflow, for people who compare their experiments there.

One run a version, found again by its tag, so that writing twice changes nothing; what its card says goes into params,
tags and metrics, the card itself and the gate's report into files. A version that was judged again is written anew. The
weights stay where they are, named by their sha256: they are tens of megabytes a version, and which of them serve is
for the registry to say, so a copy could only be out of date. mlflow counts how it is used and tells its makers; that is
switched off before it is imported (mlflow/telemetry/utils.py).
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from groundlook.core.errors import Busy, InvalidInput
from groundlook.core.types import ModelCard, Project

Row = tuple[ModelCard, str, Sequence[Path]]
"""A version, its state, and the files of the gate's report."""
VERSION, STATE, JUDGED = "groundlook.version", "groundlook.state", "groundlook.judged"
_TAGS = ("snapshot", "parent", "verdict", "licence", "code")
_BATCH = 1000
"""Metrics that one call takes."""
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ALLOW_FILE_STORE": "true",  # who names a folder means it
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # the job is tried again, and others wait behind it
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}


class MlflowTracker:
    """Implements `core.ports.Tracker`. `uri`: of MLflow's tracking server, or of a folder ("file:…"). mlflow is
    imported when it is first used: that takes seconds."""

    def __init__(self, uri: str) -> None:
        self._uri = uri

    def track(self, project: Project, versions: Sequence[Row]) -> int:
        """See `core.ports.Tracker`."""
        client, failure = _mlflow(self._uri)
        try:
            return _write(client, project, versions)
        except (failure, OSError, ImportError) as error:
            said = str(error).replace(self._uri, _shown(self._uri)).splitlines()[0][:200]
            raise Busy(f"MLflow at {_shown(self._uri)} did not take it: {said}; it is tried again") from None


def _write(client: Any, project: Project, versions: Sequence[Row]) -> int:
    name = f"groundlook: project {project.id} of {_shown(project.url)}"
    known = client.get_experiment_by_name(name)
    experiment = client.create_experiment(name) if known is None else known.experiment_id
    runs = {run.data.tags[VERSION]: run for run in _runs(client, experiment) if VERSION in run.data.tags}
    new = 0
    for card, state, files in versions:
        run = runs.get(str(card.version))
        if run is None or run.data.tags.get(JUDGED) != str(card.judged):  # or somebody was killed while it was written
            run = _run(client, experiment, card, files, None if run is None else run.info.run_id)
            new += 1
        if run.data.tags.get(STATE) != state:
            client.set_tag(run.info.run_id, STATE, state)
    return new


def _runs(client: Any, experiment: str) -> list[Any]:
    found, token = [], None
    while True:
        page = client.search_runs([experiment], max_results=1000, page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def _run(client: Any, experiment: str, card: ModelCard, files: Sequence[Path], begun: str | None) -> Any:
    """A finished run of `card`; `begun`: the id of one that was not, or that tells an earlier judgement."""
    from mlflow.entities import Metric, Param, RunTag

    name, at = str(card.version), int(card.created * 1000)
    if begun is None:
        run = client.create_run(experiment, start_time=at, tags={VERSION: name}, run_name=name)
        begun = run.info.run_id
    params = {"kind": card.kind, "arch": card.arch, "labels": ", ".join(card.labels)[:5000], "sha256": card.sha256}
    tags = {f"groundlook.{key}": getattr(card, key) for key in _TAGS}
    metrics = [Metric(_metric(key), float(v), at, card.judged) for key, v in card.metrics.items() if math.isfinite(v)]
    client.log_batch(begun, (), [Param(*row) for row in params.items()], [RunTag(*row) for row in tags.items()])
    for start in range(0, len(metrics), _BATCH):
        client.log_batch(begun, metrics[start : start + _BATCH])
    client.log_text(begun, json.dumps({**asdict(card), "version": name}, indent=2), "card.json")
    for file in files:
        client.log_artifact(begun, str(file))
    client.set_terminated(begun, "FINISHED", end_time=at)
    client.set_tag(begun, JUDGED, str(card.judged))  # at the end: all of it is there
    return client.get_run(begun)


def _metric(key: str) -> str:
    """A name that MLflow takes: of "AP50/a label", the label may be anything."""
    name, slash, label = key.partition("/")
    return name + slash + re.sub(r"[^\w -]", "_", label)[:200]


def _shown(uri: str) -> str:
    """Without what may be a password."""
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()


def _mlflow(uri: str) -> tuple[Any, type[Exception]]:
    """A client, and what it raises. Raises InvalidInput where mlflow is not installed or can't use `uri`."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ImportError:
        raise InvalidInput("GROUNDLOOK_MLFLOW needs the extra: pip install 'groundlook[mlflow]'") from None
    try:
        return MlflowClient(uri), MlflowException
    except (MlflowException, ImportError) as error:
        raise InvalidInput(f"GROUNDLOOK_MLFLOW={_shown(uri)} can't be used: {str(error)[:200]}") from None
