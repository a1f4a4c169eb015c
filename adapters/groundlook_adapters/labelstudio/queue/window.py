"""The window queue: the top K of a ranking as predictions under a new model version (DESIGN.md, decision 2).

Label Studio serves the lowest score among the predictions of `project.model_version` and honours locks. So importing
K predictions and one PATCH re-orders a queue of any length.

Why a task stands where it does is told with its first region, in `meta.text`, which the editor shows beside it: of a
prediction Label Studio keeps result, score and version, nothing else (facts: label-studio), and the version must be
the same for the whole window. Where annotations are read, `meta` is passed over: what the editor copies from there is
no label. A prediction without a region says nothing, because whatever were put there would become an annotation where
nothing is. `groundlook queue` tells the reason of every task.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from groundlook.core.errors import LabelStudioError
from groundlook.core.types import Prediction, Project, RankedTask, Window
from groundlook_adapters.labelstudio.client import LabelStudioClient
from groundlook_adapters.labelstudio.wire import encode_prediction

SAMPLING = "Uncertainty sampling"


class WindowQueue:
    """Implements `core.ports.Queue`."""

    def __init__(self, client: LabelStudioClient) -> None:
        self._client = client

    def publish(self, project: Project, window: Window, predictions: Mapping[int, Prediction]) -> None:
        """See `core.ports.Queue`."""
        rows = [_row(project, window, task, predictions[task.task_id]) for task in window.tasks]
        created = self._client.import_predictions(project, rows)
        if created != len(rows):
            raise LabelStudioError(
                f"Label Studio kept {created} of the {len(rows)} predictions of window {window.version}; "
                "tasks were deleted meanwhile, or a region is not valid: the window is made again"
            )
        self._client.update_project(project, model_version=window.version)

    def held(self, project: Project) -> list[str]:
        """See `core.ports.Queue`."""
        return self._client.model_versions(project)

    def forget(self, project: Project, version: str) -> int:
        """See `core.ports.Queue`. Deleting 20,000 rows takes Label Studio 99 s, in one transaction (facts:
        label-studio); a window has some dozens. It clears `project.model_version` where that is the one
        deleted: never done here."""
        if self._client.get_project(project.url, project.token, project.id).get("model_version") == version:
            return 0
        return self._client.delete_version(project, version)


def _row(project: Project, window: Window, task: RankedTask, prediction: Prediction) -> dict[str, Any]:
    body = encode_prediction(prediction, project.config, window.place(task.task_id), window.version)
    for first in body["result"][:1]:
        notes = first.get("meta", {}).get("text", [])
        first["meta"] = {"text": [*notes, f"{task.reason} ({window.model})"]}
    return {"task": task.task_id, **body}
