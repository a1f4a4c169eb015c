"""Settle: a trained version sits its exam beside the one that serves, and is promoted, refused, or left to a person."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import Conflict, GroundlookError
from groundlook.core.exam import Exam, Taught
from groundlook.core.geo import Tile
from groundlook.core.ports import Progress
from groundlook.core.types import Example, ModelCard, ModelVersion, Project, Region, Snapshot, Task
from groundlook.evaluation.evaluate import evaluate
from groundlook.evaluation.exam import examine_all
from groundlook.evaluation.taught import taught
from groundlook.learning.gate import Limits, Verdict, judge
from groundlook.learning.gate.report import report_folder, write_report
from groundlook.learning.snapshot import load_snapshot
from groundlook.loop.parts import Loop
from groundlook.loop.snapshot import snapshots_of
from groundlook.loop.track import tell

log = logging.getLogger("groundlook.loop")

ASKED = 200
"""Training tiles on which a version is asked whether it sees what it was taught."""
TRIES = 3
"""How often it is judged anew because another version came to serve meanwhile."""


@dataclass(frozen=True, slots=True)
class Settled:
    """`card` with its verdict; `verdict` with its findings; `report`: (JSON, HTML)."""

    card: ModelCard
    verdict: Verdict
    report: tuple[Path, Path]


def settle(
    loop: Loop, project: Project, snapshot: Snapshot, card: ModelCard, weights: Path, limits: Limits, progress: Progress
) -> Settled:
    """Judge `card`, keep it whatever comes of it, and let it serve where the gate says so. Where another version came
    to serve while it was judged, it is judged again, against that one: a verdict holds for one champion only, and the
    last one is kept."""
    for attempt in range(1, TRIES + 1):
        champion = loop.registry.serving(project.id)
        done = _judged(loop, project, snapshot, (card, weights), champion, limits, progress)
        card = done.card
        loop.registry.save(project.id, card, weights)
        loop.registry.judged(project.id, card)
        if not done.verdict.promoted or (champion is not None and champion.version == card.version):
            break
        try:
            loop.registry.promote(project.id, card.version, None if champion is None else champion.version)
            break
        except Conflict as error:
            log.warning("project %s: %s", project.id, error)
            if attempt == TRIES:
                raise
    tell(loop, project.id)
    log.info("gate of project %s: %s %s: %s", project.id, card.version, done.verdict.outcome, done.verdict.reason)
    return done


def _judged(
    loop: Loop,
    project: Project,
    snapshot: Snapshot,
    challenger: tuple[ModelCard, Path],
    champion: ModelCard | None,
    limits: Limits,
    progress: Progress,
) -> Settled:
    card = challenger[0]
    sitting = [challenger]
    if champion is not None and champion.version != card.version:
        sitting.append((champion, loop.registry.weights(project.id, champion)))
    exams = examined(loop, project, sitting, snapshot.part("val"), progress)
    old = exams[1] if len(exams) > 1 else None
    both = _taught(loop, project, snapshot, sitting) if old is not None else None
    verdict = judge(exams[0], old, limits, np.random.default_rng(loop.settings.seed), both)
    metrics = {**exams[0].metrics, **({} if old is None else {"champion_quality": old.metrics["quality"]})}
    folder = report_folder(loop.home, project.id, card.version)
    tasks = {e.task.id: e.task for e in snapshot.part("val")}
    report = write_report(folder, verdict, exams[0], old, lambda task: _pixels(loop, project, tasks[task]))
    return Settled(replace(card, verdict=verdict.outcome, metrics=metrics, judged=card.judged + 1), verdict, report)


def _taught(
    loop: Loop, project: Project, snapshot: Snapshot, sitting: Sequence[tuple[ModelCard, Path]]
) -> tuple[Taught, Taught] | None:
    """What came of the labels that challenger and champion learned, on some tiles of each; None where those of the
    champion are not known, or no boxes are learned."""
    before = snapshots_of(loop.home, project.id) / f"{sitting[1][0].snapshot}.json"
    if not sitting[1][0].snapshot or not before.exists():
        return None
    found = []
    for (card, weights), shot in zip(sitting, (snapshot, load_snapshot(before)), strict=True):
        train = [e for e in shot.part("train") if e.regions]
        rng = np.random.default_rng(loop.settings.seed)
        some = [train[i] for i in np.sort(rng.choice(len(train), min(ASKED, len(train)), replace=False))]
        model = loop.models.candidate(project, card, weights)
        found.append(taught(model, pictures(loop, project, some)))
    new, old = found
    return None if new is None or old is None else (new, old)


def examined(
    loop: Loop,
    project: Project,
    sitting: Sequence[tuple[ModelCard, Path]],
    examples: Sequence[Example],
    progress: Progress,
) -> list[Exam]:
    """What versions, each with its weights, say of the same annotated tiles."""
    models = [loop.models.candidate(project, card, weights) for card, weights in sitting]
    return examine_all(models, _shown(loop, project, examples, progress), project.config.labels, loop.calibrate)


def measure(
    loop: Loop, project: Project, card: ModelCard, weights: Path, examples: Sequence[Example]
) -> dict[str, float]:
    """Metrics of a version on annotated tiles; see `evaluation.evaluate`."""
    model = loop.models.candidate(project, card, weights)
    return evaluate(model, pictures(loop, project, examples), project.config.labels, loop.calibrate)


def pictures(loop: Loop, project: Project, examples: Sequence[Example]) -> Iterator[tuple[Tile, Sequence[Region]]]:
    """Annotated tiles with their pixels, read when they are due."""
    for example in examples:
        yield loop.images.read(project, example.task), example.regions


def _shown(
    loop: Loop, project: Project, examples: Sequence[Example], progress: Progress
) -> Iterator[tuple[Task, Tile, Sequence[Region]]]:
    for number, example in enumerate(examples):
        progress(number / len(examples), f"exam: tile {number + 1} of {len(examples)}")
        yield example.task, loop.images.read(project, example.task), example.regions


def _pixels(loop: Loop, project: Project, task: Task) -> NDArray[np.uint8] | None:
    try:
        return np.asarray(loop.images.read(project, task).pixels, np.uint8)
    except GroundlookError:
        return None


def never_served(loop: Loop, project_id: int, version: ModelVersion) -> bool:
    """Whether a version that the gate let pass did not come to serve: somebody was killed in between."""
    return version not in loop.registry.served(project_id)
