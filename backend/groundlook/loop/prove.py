"""Prove: train on what was drawn at random and on what was chosen, alike otherwise, and see which taught more."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from groundlook import __version__
from groundlook.core.errors import InvalidInput
from groundlook.core.geo import Tile
from groundlook.core.ports import Progress
from groundlook.core.types import Example, ModelCard, Project, Region, Snapshot
from groundlook.evaluation.replay.curve import labels_to
from groundlook.evaluation.savings import Estimate
from groundlook.learning.registry import file_sha256, version_of
from groundlook.learning.snapshot import make_snapshot
from groundlook.loop.parts import Loop
from groundlook.loop.savings import first_answers, place_of
from groundlook.loop.settle import measure

LEAST = 20
"""Tasks at random in each half, below which a training says nothing."""
_SHARES = (0.125, 0.25, 0.5, 1.0)


@dataclass(frozen=True, slots=True)
class Half:
    """A training on `labels` tasks at random came to `random`, measured on as many others; the first `sizes` of the
    chosen tasks came to `chosen`, on the same. `ratio`: the chosen tasks that came to `random`, over `labels`; inf
    where even as many did not."""

    labels: int
    random: float
    sizes: tuple[int, ...]
    chosen: tuple[float, ...]
    ratio: float


@dataclass(frozen=True, slots=True)
class Proof:
    """Both halves, each once learned from and once measured on. `random_labels`: what random would have needed for what
    `spent` chosen tasks came to, if the ratio stays as it is at `labels`; its interval is that of the halves, no more.
    None where chosen tasks taught less than random ones, on one half or both."""

    halves: tuple[Half, ...]
    spent: int
    random_labels: Estimate | None


def prove(loop: Loop, project_id: int, progress: Progress, seed: int = 0) -> Proof:
    """Unlike the count of mistakes this asks what labels teach, at the price of ten trainings. What was drawn at random
    is the random stream and held-out tasks, which come in random order too. They lie on ground of their own, so that
    random gets no worse a chance than it would have had. Every training starts as a project's first does. Raises
    InvalidInput for too few tasks, TrainingFailed."""
    project = loop.store.project(project_id)
    snapshot = make_snapshot(project, loop.labels.tasks(project), loop.labels.annotations(project))
    random, chosen = _streams(loop, project, snapshot)
    half = len(random) // 2
    if half < LEAST or len(chosen) < half:
        raise InvalidInput(
            f"{len(random)} tasks at random and {len(chosen)} chosen ones were answered; a proof needs {2 * LEAST} at "
            "random and half as many chosen ones: go on labelling"
        )
    order = np.random.default_rng(seed).permutation(len(random))
    one, two = ([random[i] for i in part] for part in (order[:half], order[half : 2 * half]))
    halves = (
        _half(loop, project, snapshot, (one, two, chosen), lambda share, text: progress(share / 2, text)),
        _half(loop, project, snapshot, (two, one, chosen), lambda share, text: progress(0.5 + share / 2, text)),
    )
    return Proof(halves, len(chosen), _in_all([h.ratio for h in halves], len(chosen)))


def _in_all(ratios: Sequence[float], spent: int) -> Estimate | None:
    if not all(np.isfinite(ratios)):
        return None
    both = [spent / r for r in ratios]
    return Estimate(float(np.exp(np.mean(np.log(both)))), min(both), max(both))


def _streams(loop: Loop, project: Project, snapshot: Snapshot) -> tuple[list[Example], list[Example]]:
    """Examples that were drawn at random, and those that a strategy chose, each in the order of service."""
    windows = loop.store.windows(project.id)
    examples = {e.task.id: e for e in snapshot.examples}
    random: list[Example] = []
    chosen: list[Example] = []
    for answer in first_answers(loop, project):
        place = place_of(windows, answer)
        example = examples.get(answer.task_id)
        if place is None or example is None:
            continue
        if place[1].stream in ("random", "held out"):
            random.append(example)
        elif place[1].stream == "chosen":
            chosen.append(example)
    return random, chosen


def _half(
    loop: Loop,
    project: Project,
    snapshot: Snapshot,
    parts: tuple[list[Example], list[Example], list[Example]],
    progress: Progress,
) -> Half:
    """`parts`: at random to learn from, at random to measure on, chosen."""
    learned, measured, chosen = parts
    sizes = tuple(sorted({max(round(len(learned) * share), 1) for share in _SHARES}))
    qualities = []
    for count, examples in enumerate([learned, *(chosen[:n] for n in sizes)]):
        progress(count / (len(sizes) + 1), f"training on {len(examples)} tasks")
        qualities.append(_quality(loop, project, snapshot, examples, measured))
    ratio = labels_to(np.array(sizes, np.float64), np.array(qualities[1:]), qualities[0]) / len(learned)
    return Half(len(learned), qualities[0], sizes, tuple(qualities[1:]), ratio)


def _quality(
    loop: Loop, project: Project, snapshot: Snapshot, examples: Sequence[Example], measured: Sequence[Example]
) -> float:
    """0 where nothing that was learned from holds an object."""
    if not any(e.regions for e in examples):
        return 0.0
    kind, trainer, start = loop.models.trainer(project, None)
    out = loop.home / "training" / f"{project.id}-proof"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    try:
        weights = trainer.train(_pictures(loop, project, examples), snapshot.labels, start, out, lambda _, __: None)
        digest = file_sha256(weights)
        version = version_of(kind, [snapshot.id, __version__, trainer.arch, digest])
        card = ModelCard(version, kind, trainer.arch, snapshot.labels, digest)
        return measure(loop, project, card, weights, measured)["quality"]
    finally:
        shutil.rmtree(out, ignore_errors=True)


def _pictures(loop: Loop, project: Project, examples: Sequence[Example]) -> Iterator[tuple[Tile, Sequence[Region]]]:
    for example in examples:
        yield loop.images.read(project, example.task), example.regions
