"""Annotations → the dataset of what people have said so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from groundlook.core.geometry import Shape, WholeTile, has_area
from groundlook.core.types import Annotation, Example, Project, Snapshot, Task
from groundlook.learning.snapshot.file import snapshot_of
from groundlook.learning.snapshot.resolve import NEWEST, Resolved, Rule, parse_rule, resolve
from groundlook.learning.snapshot.uncollected import uncollected


def rule_of(project: Project) -> Rule:
    """How the project wants several annotations of one task to be resolved; the newest stands where it does not say.
    That invents nothing that nobody drew, and a second annotation of a task is a correction more often than a vote.
    Raises InvalidInput."""
    return parse_rule(str(project.settings.get("resolve") or NEWEST))


def make_snapshot(
    project: Project, tasks: Sequence[Task], annotations: Sequence[Annotation], rule: Rule | None = None
) -> Snapshot:
    """The dataset of what people have said so far. Skipped annotations are left out; of several for one task `rule`
    makes one, by default the project's. An annotation without regions is data: "looked at, empty". Of a project whose
    served control is Choices, the classes of tiles are kept; of the others, what has an area. Equal input in any
    order, equal id."""
    rule = rule or rule_of(project)
    served = next((c for c in project.config.controls if c.name == project.config.control), None)
    several = served is not None and served.several
    said: dict[int, list[Annotation]] = {}
    with uncollected():
        for annotation in annotations:
            said.setdefault(annotation.task_id, []).append(_learnable(project, annotation))
        found = ((task, resolve(said.get(task.id, ()), rule, several)) for task in sorted(tasks, key=lambda t: t.id))
        examples = [_example(task, resolved) for task, resolved in found if resolved is not None]
    return snapshot_of(project.id, project.config.labels, examples)


def _example(task: Task, found: Resolved) -> Example:
    task = task if task.labelled else replace(task, labelled=True)
    ids, who = tuple(a.id for a in found.behind), tuple(a.author for a in found.behind)
    return Example(task, found.regions, ids, who, found.ground_truth)


def _learnable(project: Project, annotation: Annotation) -> Annotation:
    learns = _is_class if project.config.control_type == "Choices" else has_area
    labels = project.config.labels
    regions = tuple(r for r in annotation.regions if r.label in labels and learns(r.shape))
    return annotation if len(regions) == len(annotation.regions) else replace(annotation, regions=regions)


def _is_class(shape: Shape) -> bool:
    return isinstance(shape, WholeTile)
