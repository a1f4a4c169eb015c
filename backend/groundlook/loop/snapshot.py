"""Read: what people said of a project so far, as a snapshot on disk."""

from __future__ import annotations

from pathlib import Path

from groundlook.core.ports import Labels, Progress
from groundlook.core.types import Project, Said, Snapshot
from groundlook.learning.snapshot import make_snapshot, save_snapshot
from groundlook.learning.snapshot.reading import read_said
from groundlook.learning.snapshot.resolve import Rule


def snapshots_of(home: Path, project: int) -> Path:
    """The folder of a project's snapshots."""
    return home / "snapshots" / str(project)


def read_snapshot(
    labels: Labels, project: Project, folder: Path, progress: Progress, rule: Rule | None = None
) -> tuple[Snapshot, list[Said]]:
    """The snapshot of now, saved in `folder`, and what it was made of, in id order. Of several annotations of a task
    `rule` makes one, by default the project's. Interrupted, it goes on where it stopped. Raises LabelStudioError, what
    `progress` raises, and InvalidInput for a project whose rule is none."""
    said = read_said(labels, project, folder, progress)
    annotations = [annotation for one in said for annotation in one.annotations]
    snapshot = make_snapshot(project, [one.task for one in said], annotations, rule)
    save_snapshot(snapshot, folder)
    return snapshot, said
