"""Read: what people said of a project so far, as a snapshot on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from groundlook.core.errors import InvalidInput
from groundlook.core.ports import Labels, Progress
from groundlook.core.types import Annotation, Project, Said, Snapshot
from groundlook.learning.snapshot import make_snapshot, rule_of, save_snapshot
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
    `progress` raises, and InvalidInput for a rule that the project's settings have wrong, or that names somebody who
    annotated nothing."""
    rule = rule or rule_of(project)
    said = read_said(labels, project, folder, progress)
    annotations = [annotation for one in said for annotation in one.annotations]
    _check_name(rule, annotations)
    snapshot = make_snapshot(project, [one.task for one in said], annotations, rule)
    save_snapshot(snapshot, folder)
    return snapshot, said


def _check_name(rule: Rule, annotations: Sequence[Annotation]) -> None:
    """Else a name with a slip in it would be a dataset without anything."""
    names = {annotation.author for annotation in annotations}
    if rule.kind == "annotator" and rule.name not in names:
        raise InvalidInput(f"resolve={rule}: nobody of that name annotated; those who did: {', '.join(sorted(names))}")
