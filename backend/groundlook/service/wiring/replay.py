"""replay: a labelled set on disk, the strategies by name, and what comes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from groundlook.core.errors import InvalidInput
from groundlook.core.ports import Embedder, Progress, Strategy, Study
from groundlook.evaluation.metrics import average_precision50
from groundlook.evaluation.replay import Replay, Setup, replay
from groundlook.evaluation.replay.baselines import ForegroundRandom
from groundlook.evaluation.replay.peers import peers
from groundlook.evaluation.replay.report import write
from groundlook.evaluation.replay.summary import Summary, summarise, targets_of
from groundlook.models.embedders.named import embedder_of
from groundlook.models.studies.classification import HEADS
from groundlook.scoring.score import score_prediction
from groundlook.strategies.catalog import DEFAULTS, strategies, strategy_of

_REFERENCE, _TRUTH = "random", "foreground-random"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a replay is asked; `task` "" is guessed from the layout of `data`; `names`: strategies, none for all that
    there are; `peers`: those of other packages too; `subject`: the one on trial, "" for the kind's default; `head`:
    what learns classes, "" for the usual one."""

    data: Path
    task: str
    names: tuple[str, ...]
    peers: bool
    seeds: int
    setup: Setup
    targets: tuple[str, ...]
    embedder: str
    jobs: int
    out: Path
    subject: str = ""
    head: str = ""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of it; `files`: by format."""

    found: Replay
    summary: Summary
    files: dict[str, Path]


def run(asked: Asked, command: str, progress: Progress) -> Replayed:
    """Replay, and write the report to `asked.out`. Raises InvalidInput, InvalidConfig."""
    targets_of(asked.targets, full=1.0)  # what is wrong is said now, not after hours
    study = open_study(asked, progress)
    chosen = _chosen(study, asked)
    if asked.subject and asked.subject not in chosen:
        raise InvalidInput(f"strategy {asked.subject!r} was not among those replayed: {', '.join(chosen)}")
    found = replay(study, chosen, range(asked.seeds), asked.setup, asked.out, asked.jobs, progress)
    trial = asked.subject or DEFAULTS.get(study.kind, "")
    summary = summarise(found, asked.targets, _REFERENCE, trial if trial in found.strategies else "")
    return Replayed(found, summary, write(found, summary, command, asked.out))


def open_study(asked: Asked, progress: Progress) -> Study:
    """The labelled set at `asked.data`. Raises InvalidInput."""
    if not asked.data.is_dir():
        raise InvalidInput(f"{asked.data} is no folder; name one with --data")
    task = asked.task or guess(asked.data)
    if task not in STUDIES:
        raise InvalidInput(f"there is no task {task!r}; there are: {', '.join(STUDIES)}")
    return STUDIES[task](asked, embedder_of(asked.embedder), asked.out / "features", progress)


def _classes(asked: Asked, embedder: Embedder, cache: Path, progress: Progress) -> Study:
    from groundlook.models.studies.folders import open_study

    study = open_study(asked.data, embedder, cache, progress)
    if not asked.head:
        return study
    if asked.head not in HEADS:
        raise InvalidInput(f"there is no head {asked.head!r}; there are: {', '.join(HEADS)}")
    return replace(study, head=HEADS[asked.head]())


def _boxes(asked: Asked, embedder: Embedder, cache: Path, progress: Progress) -> Study:
    from groundlook.models.studies.detection import open_study

    return open_study(
        asked.data,
        embedder,
        cache,
        progress,
        backbone=asked.embedder,
        scored=score_prediction,
        judged=average_precision50,
    )


def _outlines(asked: Asked, embedder: Embedder, cache: Path, progress: Progress) -> Study:
    from groundlook.models.studies.segmentation import open_study

    return open_study(asked.data, embedder, cache, progress, backbone=asked.embedder, scored=score_prediction)


STUDIES: dict[str, Callable[[Asked, Embedder, Path, Progress], Study]] = {
    "classification": _classes,
    "detection": _boxes,
    "segmentation": _outlines,
}
"""What opens a labelled set, by task."""


def guess(data: Path) -> str:
    """The task that a folder is for: sites with a labels.geojson and folders of Pascal-VOC boxes are detection, class
    folders are classification. Raises InvalidInput."""
    if any(any(data.glob(f"{at}{name}")) for name in ("labels.geojson", "*.xml") for at in ("", "*/", "*/*/")):
        return "detection"
    if any(p.is_dir() for p in data.glob("*")):
        return "classification"
    raise InvalidInput(f"{data} is none of the layouts known (class folders, labels.geojson, *.xml); give --task")


def _chosen(study: Study, asked: Asked) -> dict[str, Strategy]:
    truth: dict[str, Strategy] = {} if study.foreground.all() else {_TRUTH: ForegroundRandom(study.foreground)}
    theirs = peers(study.kind)
    names: Sequence[str] = asked.names or (*strategies(), *truth)
    if asked.peers:
        names = (*names, *theirs)
    return {n: truth.get(n) or theirs.get(n) or strategy_of(n) for n in dict.fromkeys((_REFERENCE, *names))}
