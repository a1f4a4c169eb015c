"""A project's annotations as GIS data."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from groundlook.core.geo import TileRef
from groundlook.core.types import Annotation, Project, Task
from groundlook.service.wiring.parts import Wired
from groundlook_adapters.vectors.export import ExportReport, Feature, Format, export


def export_project(wired: Wired, project: Project, path: Path, form: Format, overwrite: bool) -> ExportReport:
    """Write every region that people submitted (skipped tasks left out), with where it comes from."""
    tasks = {t.id: t for t in wired.client.tasks(project)}
    annotations = wired.client.annotations(project)
    return export(path, form, _features(project, tasks, annotations), overwrite=overwrite)


def _features(project: Project, tasks: dict[int, Task], annotations: list[Annotation]) -> Iterator[Feature]:
    for annotation in annotations:
        task = tasks.get(annotation.task_id)
        if task is None or annotation.skipped:
            continue
        tile = task.tile or TileRef(task.image, "", (0, 0, 1, 1))  # not ours: counted as having no georeference
        provenance = {
            "project": project.id,
            "task_id": task.id,
            "annotation_id": annotation.id,
            "annotator": annotation.author,
            "created_at": datetime.fromtimestamp(annotation.created, UTC).isoformat(timespec="seconds"),
            "lead_time": annotation.lead_time,
            "split": task.split,
        }
        for region in annotation.regions:
            yield Feature(region, tile, provenance)
