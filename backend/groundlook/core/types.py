"""The values that flow through the loop. All frozen; see the table of words in DESIGN.md."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from groundlook.core.geo import TileRef
from groundlook.core.geometry import Shape
from groundlook.core.tiling import Split


@dataclass(frozen=True, slots=True)
class Region:
    """One labelled thing in tile pixels. `score` is a model's confidence 0…1, None for a person's region.
    `uid` is the id it has in Label Studio; `origin`: manual, prediction,
    or prediction-changed, as Label Studio says. `note`: shown beside it: the vector feature it was made of.
    `control`: the tag it is meant for, "" lets shape and label decide. `frame`: (width, height) of its picture where
    that is not the task's first. What a Number or Rating says is a WholeTile whose label is the number as text."""

    shape: Shape
    label: str
    score: float | None = None
    uid: str = ""
    origin: str = "manual"
    note: str = ""
    control: str = ""
    frame: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """A Label Studio task that shows one tile. `image` is the URL in its data; `tile` is None for foreign tasks.
    `others`: the URLs of its further pictures, by image tag. `site`, `sensor`: where it was taken and with what, as its
    data says; "" where that says nothing."""

    id: int
    image: str
    tile: TileRef | None = None
    split: Split = "train"
    labelled: bool = False
    others: Mapping[str, str] = field(default_factory=dict)
    site: str = ""
    sensor: str = ""


@dataclass(frozen=True, slots=True)
class Annotation:
    """What one person said of one task. `created`: seconds since the epoch; `lead_time`: seconds spent.
    No regions means "looked at, empty", unless `skipped`. `ground_truth`: somebody marked it as the right answer."""

    id: int
    task_id: int
    regions: tuple[Region, ...]
    author: str = ""
    created: float = 0.0
    lead_time: float = 0.0
    skipped: bool = False
    ground_truth: bool = False


@dataclass(frozen=True, slots=True)
class Said:
    """All that people submitted of one task, oldest first. `problems`: why the task, or more that was said of it, can't
    be read."""

    task: Task
    annotations: tuple[Annotation, ...]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A name and the first 12 hex digits of sha256 over (snapshot, code, weights)."""

    name: str
    digest: str

    def __str__(self) -> str:
        return f"{self.name}@{self.digest}"

    @classmethod
    def parse(cls, text: str) -> ModelVersion:
        """Inverse of `str`."""
        name, _, digest = text.partition("@")
        return cls(name, digest)

    def under(self, plan: str) -> ModelVersion:
        """This version as part of a plan, by the plan's digest: what is predicted depends on both."""
        if not plan:
            return self
        return ModelVersion(self.name, hashlib.sha256(f"{self.digest}|{plan}".encode()).hexdigest()[:12])


UNTRAINED_VERSION = ModelVersion("untrained", "000000000000")
"""What serves a project that has no model yet."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The regions of one task by one ModelVersion. No regions is a valid answer: "empty".

    `proba`: float32 (M, C), independent class probabilities of every detection down to a low threshold, more than
    there are regions, for scoring. `peak`: the highest class probability anywhere in the tile, 0…1.
    `knows` is False for a model that has not learned yet: its answer is no answer, not "empty".
    `size`: (width, height) in pixels of the tile, filled in by the loop.
    `kind` says how `proba` is to be read: of a "segmentation" it is float32 (M, C + 1), the mean class probabilities of
    M cells of a regular grid over the tile, background first, rows sum to 1; of a "classification" float32 (1, C), rows
    sum to 1, or independent ones where several classes may hold ("classification-multiple").
    `spread`: float32 (M, 4) or None: of each detection in `proba`, the standard deviation in px of its left, top, right
    and bottom side, out of the distribution that the network gives of it (DFL).
    `masks`: float64 (K, 3) or None: of each mask that a segmenter cut out, the IoU that it expects, its stability and
    its disagreement with those not chosen, NaN unknown (`prompts.mask_terms`).
    """

    version: ModelVersion
    regions: tuple[Region, ...]
    proba: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 1), dtype=np.float32))
    peak: float = 0.0
    knows: bool = True
    size: tuple[int, int] = (0, 0)
    kind: Literal["detection", "segmentation", "classification", "classification-multiple"] = "detection"
    spread: NDArray[np.float32] | None = None
    masks: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """How worth labelling: higher = sooner, finite; None = unknown. `terms` says how it was put together."""

    value: float | None
    terms: Mapping[str, float] = field(default_factory=dict)


Stream = Literal["chosen", "random", "held out", "left over"]


@dataclass(frozen=True, slots=True)
class RankedTask:
    """A task's place in a queue (0 = first) and why it has it. `stream`: how it got there: "chosen" by the strategy;
    "random", drawn from all open tasks alike, so that what is measured on such tasks holds for all; "held out" for the
    gate; "left over", which can't be used for training or not be read."""

    task_id: int
    rank: int
    score: float | None
    reason: str
    stream: Stream = "chosen"


@dataclass(frozen=True, slots=True)
class Window:
    """The top of a ranking, as published to Label Studio's queue. `version` is `<model>@<hash>+w<number>`. `strategy`:
    the name of what chose the batch; `fallback`: why that failed, and the last good order went on; "" where it did
    not."""

    number: int
    model: ModelVersion
    tasks: tuple[RankedTask, ...]
    published: float = 0.0
    strategy: str = ""
    fallback: str = ""

    @property
    def version(self) -> str:
        """What the predictions of this window carry, and `project.model_version` while it is served."""
        return f"{self.model}+w{self.number}"

    def place(self, task_id: int) -> float:
        """A task's place in the queue as Label Studio's prediction score: lowest first, in [0, 1); 1 for a task
        outside the window, so that it is served last."""
        rank = next((t.rank for t in self.tasks if t.task_id == task_id), None)
        return 1.0 if rank is None else rank / len(self.tasks)


@dataclass(frozen=True, slots=True)
class Example:
    """One annotated tile of a snapshot. `annotation_ids`: what was said of it, as far as it went in; `annotators`: who
    said each. `ground_truth`: it was marked as the right answer."""

    task: Task
    regions: tuple[Region, ...]
    annotation_ids: tuple[int, ...] = ()
    annotators: tuple[str, ...] = ()
    ground_truth: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An immutable dataset made of annotations at one moment; `id` is the sha256 of its content."""

    id: str
    project: int
    labels: tuple[str, ...]
    examples: tuple[Example, ...]

    def part(self, split: Split) -> tuple[Example, ...]:
        """The examples of one fold."""
        return tuple(e for e in self.examples if e.task.split == split)


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What a model version is and where it comes from. `arch` names the network, `labels` its classes in order,
    `sha256` its weights file; `verdict` of the gate: promoted, refused or needs a person, imported where it came from
    outside; `metrics` are what it went by; `judged`: how often it was judged, the last time stands. `parent`: the
    version that it was trained from; `code`: what trained it; `licence`: that its weights are under, "" unknown."""

    version: ModelVersion
    kind: str
    arch: str
    labels: tuple[str, ...]
    sha256: str
    snapshot: str = ""
    parent: str = ""
    verdict: str = ""
    created: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)
    code: str = ""
    licence: str = ""
    judged: int = 0


@dataclass(frozen=True, slots=True)
class Control:
    """One control tag of a label config. `type`: its tag, "PolygonLabels"; `labels` in the config's order, none of a
    Number or Rating. `image`, `data_key`: the image tag it is on, and where a task's data holds that image's URL.
    `smart`: its tool asks the backend. `several`: Choices of which more than one may hold. `most`: the highest number
    that a Number or Rating takes, None for no limit; `least` the lowest."""

    name: str
    type: str
    labels: tuple[str, ...]
    image: str = ""
    data_key: str = ""
    smart: bool = False
    several: bool = False
    least: float | None = None
    most: float | None = None


@dataclass(frozen=True, slots=True)
class LabelConfig:
    """The part of a project's labelling config that we serve: one control on one image tag, and its labels.

    `control` and `image` are the tags' names, `data_key` is where a task's data holds the image's URL.
    `controls`: every control on that image whose regions we read and write, in the config's order; the served one is
    among them. `others`: those on further images, which get predictions only. `unserved`: (tag, name) of the others.
    """

    control: str
    control_type: str
    image: str
    data_key: str
    labels: tuple[str, ...]
    controls: tuple[Control, ...] = ()
    others: tuple[Control, ...] = ()
    unserved: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class SceneRow:
    """What is kept of an ingested scene, to show it again. `etag`: the file's at ingest; `width`, `height`: px."""

    id: str
    source: str
    etag: str
    render: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Original:
    """A vector feature behind one region that was sent as pre-annotation. `geometry`: WKB in `crs`, x first, not
    clipped. `shape`: what was sent, in tile pixels: a region that comes back like this was not edited. `source`:
    where it comes from, "buildings.gpkg:houses/12"; the pieces of one feature in several tiles share it."""

    geometry: bytes
    crs: str
    shape: Shape
    source: str


@dataclass(frozen=True, slots=True)
class Project:
    """A connected Label Studio project. `settings` are the choices made at `connect` (weights, label map, …)."""

    id: int
    url: str
    token: str = field(repr=False)
    config: LabelConfig
    title: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ProjectState:
    """What Label Studio says of a project now. `annotations` counts skipped ones too; `version` is the one whose
    predictions make the queue; `config` is the label config of now."""

    tasks: int
    annotations: int
    version: str
    config: LabelConfig


JobState = Literal["queued", "running", "done", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class Job:
    """A unit of background work. `state`: "failed" was given up after many tries and waits for a person (a dead
    letter). `priority`: higher first. `key`: of jobs with the same (kind, project, key) one runs at most,
    and one waits for its first attempt at most.
    `payload`: what its handler needs to know beside them; `body`: what it gave back. `progress` 0…1; `worker`: who
    runs it; `started`: when the last attempt did. Seconds since the epoch."""

    id: int
    kind: str
    project: int
    state: JobState
    progress: float = 0.0
    message: str = ""
    attempts: int = 0
    created: float = 0.0
    finished: float | None = None
    priority: int = 0
    key: str = ""
    payload: bytes = field(default=b"", repr=False)
    body: bytes = field(default=b"", repr=False)
    worker: str = ""
    started: float | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """What a handler ends with: a closing message, and what whoever submitted the job waits for."""

    message: str
    body: bytes = field(default=b"", repr=False)
