"""Learn: annotations → snapshot → challenger → gate → promotion.

Every step leaves its result on disk, whole, before the next begins, and is told by its content: so a learning that was
killed is simply begun again, passes over what is done, and ends as if nothing had happened.
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from groundlook import __version__
from groundlook.core.errors import Busy
from groundlook.core.ports import Progress
from groundlook.core.types import ModelCard, Project, Said, Snapshot
from groundlook.learning.gate import LIMITS, Limits, Verdict
from groundlook.learning.gate import measure as measure_of
from groundlook.learning.registry import file_sha256, licence_of, version_of
from groundlook.learning.rehearsal import rehearse
from groundlook.learning.snapshot import load_snapshot
from groundlook.loop.parts import Loop
from groundlook.loop.pool import labels_key
from groundlook.loop.said import keep_truth
from groundlook.loop.settle import never_served, pictures, settle
from groundlook.loop.snapshot import read_snapshot, snapshots_of
from groundlook.loop.trigger import EDITED, LEARNED, LEARNED_AT

NOTHING_NEW = "nothing new"
_READ, _TRAINED = 0.1, 0.85
"""Of the progress: when annotations are read, and when training is done."""


@dataclass(frozen=True, slots=True)
class Learned:
    """What came of it: "promoted", "refused", "needs a person" or "nothing new", and why. `report`: (JSON, HTML)."""

    outcome: str
    message: str
    card: ModelCard | None = None
    verdict: Verdict | None = None
    report: tuple[Path, Path] | None = None


def learn(loop: Loop, project_id: int, progress: Progress) -> str:
    """The job: train on what is labelled, promote if not worse, and let the new version look at the open tasks."""
    done = learn_now(loop, project_id, progress, LIMITS[loop.settings.gate])
    loop.jobs.submit("refresh", project_id)
    loop.jobs.submit("sync", project_id)  # annotations that arrived meanwhile may be enough for the next training
    return done.message


def learn_now(loop: Loop, project_id: int, progress: Progress, limits: Limits) -> Learned:
    """Whoever asks, one learning of a project runs at a time: raises Busy. What `progress` raises ends it; the next one
    goes on from there."""
    project = loop.store.project(project_id)
    with _alone(loop.home / "training", project_id):
        edited = loop.store.value(project_id, EDITED)
        snapshot, said = read_snapshot(
            loop.labels, project, snapshots_of(loop.home, project_id), _part(progress, 0.0, _READ)
        )
        _remember(loop, project, snapshot, said)
        done = _learned(loop, project, snapshot, limits, progress)
        answers = sum(not a.skipped for one in said for a in one.annotations)
        loop.store.put_value(project_id, LEARNED, answers)
        loop.store.put_value(project_id, LEARNED_AT, loop.clock())
        loop.store.put_value(project_id, EDITED, max(0.0, loop.store.value(project_id, EDITED) - edited))
    return done


def _remember(loop: Loop, project: Project, snapshot: Snapshot, said: list[Said]) -> None:
    keep_truth(loop.features, project, [annotation for one in said for annotation in one.annotations])
    loop.store.put_value(project.id, labels_key(snapshot.id), len(snapshot.examples))


def _learned(loop: Loop, project: Project, snapshot: Snapshot, limits: Limits, progress: Progress) -> Learned:
    before = [card for card in loop.registry.cards(project.id) if card.snapshot == snapshot.id]
    if before:
        return _finished(loop, project, snapshot, before[-1], limits, progress)
    for side, ground in (("train", "training"), ("val", "held-out")):
        if not any(e.regions for e in snapshot.examples if e.task.split == side):
            return Learned(NOTHING_NEW, f"waiting: no object is labelled yet on {ground} ground")
    champion = loop.registry.serving(project.id)
    out = loop.home / "training" / str(project.id) / f"{snapshot.id[:16]}-{champion.version.digest if champion else ''}"
    _leave_only(out)
    weights, kind, arch = _trained(loop, project, snapshot, champion, out, _part(progress, _READ, _TRAINED))
    card = _card(loop, project, snapshot, champion, (weights, kind, arch))
    settled = settle(loop, project, snapshot, card, weights, limits, _part(progress, _TRAINED, 1.0))
    shutil.rmtree(out, ignore_errors=True)
    card, verdict = settled.card, settled.verdict
    quality = f"{measure_of(card.metrics)} {card.metrics['quality']:.3f}"
    return Learned(
        verdict.outcome, f"{card.version} {verdict.outcome}, {quality}: {verdict.reason}", card, verdict, settled.report
    )


def _finished(
    loop: Loop, project: Project, snapshot: Snapshot, card: ModelCard, limits: Limits, progress: Progress
) -> Learned:
    """A snapshot that was learned already. One that the gate let pass but that never served was about to when somebody
    was killed: it is judged against what serves now, and promoted where that holds."""
    if card.verdict == "promoted" and never_served(loop, project.id, card.version):
        weights = loop.registry.weights(project.id, card)
        settled = settle(loop, project, snapshot, card, weights, limits, _part(progress, _TRAINED, 1.0))
        told = f"{card.version} {settled.verdict.outcome}: {settled.verdict.reason}"
        return Learned(settled.verdict.outcome, told, settled.card, settled.verdict, settled.report)
    return Learned(NOTHING_NEW, f"snapshot {snapshot.id[:12]} was learned already: {card.version} {card.verdict}", card)


def _trained(
    loop: Loop, project: Project, snapshot: Snapshot, champion: ModelCard | None, out: Path, progress: Progress
) -> tuple[Path, str, str]:
    """The weights, kind and arch. What the version before has learned already is shown in part only."""
    kind, trainer, start = loop.models.trainer(project, champion)
    rng = np.random.default_rng(loop.settings.seed)
    train = snapshot.part("train")
    lesson = rehearse(train, _known(loop, project, champion), loop.settings.rehearsal or len(train), rng)
    progress(0.0, f"training on {lesson}")
    weights = trainer.train(pictures(loop, project, lesson.examples), snapshot.labels, start, out, progress)
    return weights, kind, trainer.arch


def _known(loop: Loop, project: Project, champion: ModelCard | None) -> dict[int, tuple[int, ...]]:
    """Task id → annotation ids of what the champion's snapshot held; nothing where that is not known any more."""
    path = snapshots_of(loop.home, project.id) / f"{champion.snapshot if champion else ''}.json"
    if champion is None or not champion.snapshot or not path.exists():
        return {}
    return {e.task.id: e.annotation_ids for e in load_snapshot(path).part("train")}


def _card(
    loop: Loop, project: Project, snapshot: Snapshot, champion: ModelCard | None, trained: tuple[Path, str, str]
) -> ModelCard:
    weights, kind, arch = trained
    digest = file_sha256(weights)
    return ModelCard(
        version=version_of(kind, [snapshot.id, __version__, arch, digest]),
        kind=kind,
        arch=arch,
        labels=snapshot.labels,
        sha256=digest,
        snapshot=snapshot.id,
        parent="" if champion is None else str(champion.version),
        created=loop.clock(),
        code=f"groundlook {__version__}",
        licence=licence_of(kind, champion, str(project.settings.get("licence") or "")),
    )


def _leave_only(out: Path) -> None:
    """What trainings of other snapshots began is of no use any more; of this one it is gone on from."""
    out.mkdir(parents=True, exist_ok=True)
    for other in out.parent.iterdir():
        if other != out:
            shutil.rmtree(other, ignore_errors=True)


@contextmanager
def _alone(folder: Path, project_id: int) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{project_id}.lock").open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy(f"project {project_id} is being trained already; wait for it, or cancel it") from None
        yield


def _part(progress: Progress, start: float, end: float) -> Progress:
    return lambda share, text: progress(start + (end - start) * share, text)
