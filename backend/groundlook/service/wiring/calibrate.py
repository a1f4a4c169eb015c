"""calibrate: teach the model behind smart tools how far its masks are from those that people submit."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from groundlook.core.errors import GroundlookError, InvalidInput
from groundlook.core.geometry import has_area
from groundlook.core.mask import Mask
from groundlook.core.plan import Route
from groundlook.core.prompts import Picture
from groundlook.core.types import Annotation, Control, Project, Task
from groundlook.loop.interact import segmenter_of
from groundlook.loop.route import plan_of
from groundlook.models.sam.calibrate import fit, pairs
from groundlook.models.sam.quality import save
from groundlook.service.wiring.parts import Wired

log = logging.getLogger("groundlook.service")

_BRUSH = Control("calibration", "BrushLabels", ())


@dataclass(frozen=True, slots=True)
class Calibrated:
    """What `calibrate` found: expected calibration error before and after, over `pairs` masks, and where it is kept."""

    pairs: int
    before: float
    after: float
    path: Path


def calibrate(wired: Wired, project: Project, most: int, progress: Callable[[float, str], None]) -> Calibrated:
    """Ask for every polygon and mask that people submitted, by a click and by a box, on `most` tasks at most; fit the
    score to the IoU. What a person only accepted counts too, so correct some. Raises InvalidInput for too few."""
    plan = plan_of(project)
    spec = plan.models[plan.interactive] if plan.interactive else wired.brought.sam
    segmenter = segmenter_of(wired.loop, project)
    if spec is None or spec.kind != "sam":
        raise InvalidInput(f"{segmenter.version} is no SAM: its scores can't be calibrated here")
    tasks = {t.id: t for t in wired.client.tasks(project)}
    done = [a for a in wired.client.annotations(project) if not a.skipped and a.task_id in tasks]
    drawn = [a for a in done if any(has_area(r.shape) for r in a.regions)][-most:]
    people = list(_masks(wired, project, [(tasks[a.task_id], a) for a in drawn], progress))
    found = fit(*pairs(segmenter, people))
    path = save(wired.brought.locate(spec), found)
    return Calibrated(found.pairs, found.before, found.after, path)


def _masks(
    wired: Wired, project: Project, answers: list[tuple[Task, Annotation]], progress: Callable[[float, str], None]
) -> Iterator[tuple[Picture, list[Mask]]]:
    for count, (task, annotation) in enumerate(answers):
        try:
            picture = wired.images.picture(project, task)
        except GroundlookError as error:
            log.warning("task %s is left out: %s", task.id, error)
            continue
        masks = []
        for region in annotation.regions:
            fitted = wired.loop.shapes.fit(region, _BRUSH, Route(_BRUSH.name), task.tile, picture.size)
            masks += [r.shape for r in fitted if isinstance(r.shape, Mask)]
        progress(count / len(answers), f"task {task.id}: {len(masks)} masks")
        yield picture, masks
