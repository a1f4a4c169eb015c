"""Learn: annotations → snapshot → challenger → gate → promotion."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from groundlook import __version__
from groundlook.core.geo import Tile
from groundlook.core.ports import Progress
from groundlook.core.types import Example, ModelCard, Project, Region, Snapshot
from groundlook.evaluation.evaluate import evaluate
from groundlook.learning.gate import judge
from groundlook.learning.gate import measure as measure_of
from groundlook.learning.registry import file_sha256, version_of
from groundlook.learning.snapshot import make_snapshot, save_snapshot
from groundlook.loop.parts import Loop
from groundlook.loop.pool import labels_key
from groundlook.loop.said import keep_truth

log = logging.getLogger("groundlook.loop")


def learn(loop: Loop, project_id: int, progress: Progress) -> str:
    """Train on everything labelled, promote if not worse, and let the new version look at the open tasks."""
    project = loop.store.project(project_id)
    annotations = loop.labels.annotations(project)
    snapshot = make_snapshot(project, loop.labels.tasks(project), annotations)
    save_snapshot(snapshot, loop.home / "snapshots" / str(project_id))
    keep_truth(loop.features, project, annotations)
    loop.store.put_value(project_id, labels_key(snapshot.id), len(snapshot.examples))
    message = _learn_from(loop, project, snapshot, progress)
    loop.store.put_value(project_id, "learned", sum(not a.skipped for a in annotations))
    loop.jobs.submit("refresh", project_id)
    loop.jobs.submit("sync", project_id)  # annotations that arrived meanwhile may be enough for the next training
    return message


def _learn_from(loop: Loop, project: Project, snapshot: Snapshot, progress: Progress) -> str:
    if any(card.snapshot == snapshot.id for card in loop.registry.cards(project.id)):
        return f"snapshot {snapshot.id[:12]} was learned already"
    if not any(e.regions for e in snapshot.part("train")) or not any(e.regions for e in snapshot.part("val")):
        return "waiting: no object is labelled yet on training or on held-out ground"
    champion = loop.registry.serving(project.id)
    kind, trainer, start = loop.models.trainer(project, champion)
    out = loop.home / "training" / str(project.id)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    weights = trainer.train(_pictures(loop, project, snapshot.part("train")), snapshot.labels, start, out, progress)
    card = _judged(loop, project, snapshot, (kind, trainer.arch), weights, champion)
    loop.registry.save(project.id, card, weights)
    if card.verdict == "promoted":
        loop.registry.promote(project.id, card.version)
    shutil.rmtree(out, ignore_errors=True)
    return f"{card.version} {card.verdict}: {measure_of(card.metrics)} {card.metrics['quality']:.3f}"


def _judged(
    loop: Loop, project: Project, snapshot: Snapshot, what: tuple[str, str], weights: Path, champion: ModelCard | None
) -> ModelCard:
    """`what`: kind and arch."""
    (kind, arch), digest = what, file_sha256(weights)
    card = ModelCard(
        version=version_of(kind, [snapshot.id, __version__, arch, digest]),
        kind=kind,
        arch=arch,
        labels=snapshot.labels,
        sha256=digest,
        snapshot=snapshot.id,
        parent="" if champion is None else str(champion.version),
        created=loop.clock(),
    )
    metrics = measure(loop, project, card, weights, snapshot.part("val"))
    old = None
    if champion is not None:
        old = measure(loop, project, champion, loop.registry.weights(project.id, champion), snapshot.part("val"))
        metrics = {**metrics, "champion_quality": old["quality"]}
    verdict = judge(metrics, old)
    log.info("gate of project %s: %s: %s", project.id, card.version, verdict.reason)
    return replace(card, verdict="promoted" if verdict.promoted else "refused", metrics=metrics)


def measure(
    loop: Loop, project: Project, card: ModelCard, weights: Path, examples: Sequence[Example]
) -> dict[str, float]:
    """Metrics of a version on annotated tiles; see `evaluation.evaluate`."""
    model = loop.models.candidate(project, card, weights)
    return evaluate(model, _pictures(loop, project, examples), project.config.labels, loop.calibrate)


def _pictures(loop: Loop, project: Project, examples: Sequence[Example]) -> Iterator[tuple[Tile, Sequence[Region]]]:
    for example in examples:
        yield loop.images.read(project, example.task), example.regions
