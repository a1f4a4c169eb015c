"""What the loop needs of the world, as Protocols. Adapters and models implement them; `service/wiring` joins."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from groundlook.core.geo import Tile, TileRef
from groundlook.core.plan import Route
from groundlook.core.pool import Fitted, Pool, Ranking
from groundlook.core.prompts import Cut, Picture, Prompts
from groundlook.core.types import (
    Annotation,
    Control,
    Done,
    Job,
    JobState,
    ModelCard,
    ModelVersion,
    Original,
    Prediction,
    Project,
    ProjectState,
    Region,
    Said,
    SceneRow,
    Score,
    Task,
    Window,
)

Progress = Callable[[float, str], None]
"""Called with the fraction done (0…1) and a short message. Raising from it cancels the work."""

Handler = Callable[[Job, Progress], str | Done]
"""Does a job; returns the closing message. Cancelled raised by the progress goes through it."""


class Strategy(Protocol):
    """Pool → order."""

    @property
    def name(self) -> str: ...

    def rank(self, pool: Pool, count: int, rng: np.random.Generator) -> Ranking:
        """Every task of `pool`, most worth labelling first; the first `count` (all, where there are fewer) are chosen
        as a batch. Same pool and rng state, same order. Raises EmptyPool, and InvalidInput that says what the pool
        lacks: nothing is reordered by halves."""


class Study(Protocol):
    """A set that is labelled already, and a model that learns from any part of it: what a replay runs on."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str:
        """Of `Pool.kind`."""

    @property
    def measure(self) -> str:
        """What `Fitted.quality` is: "accuracy", "mAP50", "IoU"."""

    @property
    def labels(self) -> NDArray[np.float64]:
        """Float64 (N,): how many labels each task costs that may be asked for: 1 for a class, its boxes or outlines."""

    @property
    def seconds(self) -> NDArray[np.float64]:
        """Float64 (N,): how long a person takes for each."""

    @property
    def foreground(self) -> NDArray[np.bool_]:
        """Bool (N,): whether anything is on it."""

    def fit(self, labelled: NDArray[np.int64], seed: int) -> Fitted:
        """Learn from rows `labelled` (K,) only, from scratch, and look at all others; of no rows, what is known
        without a label. The same rows and seed give the same."""


class Model(Protocol):
    """Tile → Prediction."""

    @property
    def version(self) -> ModelVersion: ...

    def predict(self, tiles: Sequence[Tile]) -> list[Prediction]:
        """One prediction per tile, in order. Thread-safe: nothing of one call is seen by another."""


class Segmenter(Protocol):
    """Prompts → masks: the model behind smart tools."""

    @property
    def version(self) -> ModelVersion: ...

    def segment(self, picture: Picture, prompts: Sequence[Prompts]) -> list[Cut]:
        """One mask per object pointed at, in order. Thread-safe, and a pure function of (pixels, prompts): nothing of
        one call is seen by another. Raises InvalidInput that names the prompt, and what `picture.read` raises."""

    def propose(self, picture: Picture, progress: Progress) -> list[Cut]:
        """Everything in the tile that looks like one object, without duplicates, best first."""

    def encode(self, picture: Picture) -> bool:
        """Make and keep what `segment` needs of the picture. False where it was kept already."""


class Segmenters(Protocol):
    """The models behind smart tools, loaded once."""

    def interactive(self, project: Project) -> Segmenter | None:
        """The one that answers clicks in `project`; None where it has none. Raises NotFound, InvalidWeights."""


class Encodings(Protocol):
    """What was made of pictures at great cost: kept in memory, on disk, and with Redis for other machines."""

    def get(
        self, key: str, make: Callable[[], Mapping[str, NDArray[np.float16]]], bulk: bool = False
    ) -> Mapping[str, NDArray[np.float16]]:
        """What is kept under `key`, or what `make` gives, kept from then on. Of callers that ask for the same key at
        the same time, in this process and in others, one makes it and all get it. What `make` raises, they all get, and
        nothing is kept. `bulk`: while somebody waits for an answer, this one waits with `make`."""

    def has(self, key: str) -> bool: ...


class Embedder(Protocol):
    """Tile → a vector in which near means alike."""

    @property
    def name(self) -> str: ...

    def embed(self, tiles: Sequence[Tile]) -> NDArray[np.float32]:
        """Float32 (N, D), finite; the same tile gives the same row."""


class Trainer(Protocol):
    """Examples → weights, in a process of its own."""

    @property
    def arch(self) -> str: ...

    def train(
        self,
        examples: Iterable[tuple[Tile, Sequence[Region]]],
        labels: Sequence[str],
        start: Path | None,
        out: Path,
        progress: Progress,
    ) -> Path:
        """Fit to `examples`, from the weights at `start` where they fit; return the weights file, under `out`.
        Raises TrainingFailed."""


class Labels(Protocol):
    """Label Studio, the source of truth for tasks and annotations."""

    def tasks(self, project: Project) -> list[Task]:
        """Every task of the project, in id order."""

    def annotations(self, project: Project) -> list[Annotation]:
        """Every submitted annotation, skipped ones included, oldest first."""

    def marks(self, project: Project) -> dict[int, str]:
        """Of every task that something was submitted of, skips included, in id order: its id, and a mark that changes
        when the task or what was said of it does."""

    def said(self, project: Project, tasks: Sequence[int]) -> list[Said]:
        """Those of `tasks` that exist, in id order, with all that was submitted of them."""

    def state(self, project: Project) -> ProjectState:
        """Counts and the served version; one cheap call."""


class Queue(Protocol):
    """The order in which people are served."""

    def publish(self, project: Project, window: Window, predictions: Mapping[int, Prediction]) -> None:
        """Make `window` the one that is served. `predictions`: per task id, shown as pre-annotations.
        Raises LabelStudioError when not all of it was kept."""

    def held(self, project: Project) -> list[str]:
        """The versions whose predictions Label Studio holds, those of windows and others."""

    def forget(self, project: Project, version: str) -> int:
        """Delete the predictions of a version that is not served any more; how many there were."""


class Images(Protocol):
    """The pixels of a task."""

    def read(self, project: Project, task: Task) -> Tile:
        """The tile as annotators see it: uint8 RGB (H, W, 3). Raises InvalidImage, InvalidRaster, NotAllowed."""

    def picture(self, project: Project, task: Task, image: str = "") -> Picture:
        """The same, read when it is asked for. `image`: the tag of one of the task's `others`, "" for its first.
        Raises at once where the file behind it was changed or is gone."""


class Shapes(Protocol):
    """What the controls of a label config take."""

    def target(self, controls: Sequence[Control], region: Region) -> Control | None:
        """The control that a region goes to when nobody says which: by its shape and its label; None for none."""

    def fit(
        self, region: Region, control: Control, route: Route, place: TileRef | None, size: tuple[int, int]
    ) -> list[Region]:
        """The regions that stand for `region` in `control`, each with its name: one, several where a mask has parts,
        none where nothing is left. `size`: (width, height) of the picture in px; `place` gives metres their length."""


class Models(Protocol):
    """Model versions, ready to predict; loaded once."""

    def serving(self, project: Project, version: ModelVersion, image: str = "") -> Model:
        """A version of the registry (or the untrained one) and what the project's plan puts beside it, as annotators
        get it: the answers for the controls of one `image` tag, "" for the first. Raises NotFound, InvalidWeights."""

    def candidate(self, project: Project, card: ModelCard, weights: Path) -> Model:
        """A version for evaluation: not kept, and with its least sure answers too."""

    def trainer(self, project: Project, champion: ModelCard | None) -> tuple[str, Trainer, Path | None]:
        """The kind of this project's next version, what trains it, and the weights to start from."""


class Store(Protocol):
    """What we derive and keep: it can be rebuilt from Label Studio, the rasters and the model files."""

    def put_project(self, project: Project) -> None: ...
    def project(self, project_id: int) -> Project:
        """Raises NotFound, naming `groundlook connect`."""

    def projects(self) -> list[Project]: ...

    def put_predictions(
        self, project: int, version: ModelVersion, rows: Mapping[int, tuple[Prediction, Score]]
    ) -> None: ...
    def put_scene(self, scene: SceneRow) -> None: ...
    def scene(self, scene_id: str) -> SceneRow:
        """Raises NotFound, naming `groundlook ingest`."""

    def scenes(self) -> list[SceneRow]: ...

    def put_originals(self, project: int, rows: Mapping[str, Original]) -> None:
        """`rows`: by the uid of the region that was sent."""

    def originals(self, project: int, uids: Sequence[str]) -> dict[str, Original]:
        """Those of `uids` that came from vector data."""

    def put_loaded(self, project: int, file: str, rows: Iterable[tuple[int, Prediction]]) -> int:
        """Keep regions of vector data: (task id, its regions), a task as often as need be. Their originals are put
        first. All of it takes the place of what was kept under `file` before, at the end, or nothing does where
        `rows` raises. How many regions that dropped."""

    def loaded(self, project: int, tasks: Sequence[int]) -> dict[int, Prediction]:
        """The loaded regions of those of `tasks` that have any, of all files."""

    def scores(self, project: int, version: ModelVersion) -> dict[int, Score]:
        """Task id → Score of that model version."""

    def predictions(self, project: int, version: ModelVersion, tasks: Sequence[int]) -> dict[int, Prediction]:
        """What was predicted for those of `tasks` that have a prediction, without its probabilities."""

    def add_window(self, project: int, window: Window) -> None: ...
    def windows(self, project: int) -> list[Window]:
        """Every window published, oldest first."""

    def published(self, project: int) -> int:
        """How many windows those are: unlike their numbers, the same whatever was killed on the way."""

    def current_window(self, project: int) -> Window | None: ...

    def add_served(self, project: int, annotations: Sequence[Annotation]) -> None:
        """Record that tasks were served and answered; the same annotation twice counts once."""

    def drop_served(self, project: int, annotation_ids: Sequence[int]) -> None:
        """Forget deleted annotations."""

    def served(self, project: int) -> list[Annotation]:
        """In the order in which they were served (created − lead time), without their regions."""

    def next_number(self, project: int, key: str) -> int:
        """1, 2, 3, …: never the same twice, whatever crashes."""

    def put_value(self, project: int, key: str, value: float) -> None: ...
    def value(self, project: int, key: str, default: float = 0.0) -> float: ...


class Features(Protocol):
    """A vector for each task, of every kind that has a name: what an embedder gives, class probabilities, counts. They
    can be rebuilt. Shared by service, worker and command line."""

    def put(self, project: int, name: str, ids: NDArray[np.int64], vectors: NDArray[np.floating]) -> None:
        """Keep `vectors` (K, D), float16 or float32, of tasks `ids` (K,): all of them or, if we are killed, none. What
        was kept of a task before is replaced; of the same id twice the last counts. Raises InvalidInput for another D
        than was kept under `name`, and shapes that don't fit each other."""

    def get(self, project: int, name: str) -> tuple[NDArray[np.int64], NDArray[np.floating]]:
        """All that is kept: ids (N,), each once, and vectors (N, D) of the dtype that came first; a memory map, read
        where it is touched. Later puts don't change it. (0,) and (0, 0) where nothing is kept."""


class Jobs(Protocol):
    """Background work that survives a restart. At least once: every handler may run again, and has to leave what one
    run would have left."""

    def submit(
        self, kind: str, project: int, delay: float = 0.0, *, priority: int = 0, key: str = "", payload: bytes = b""
    ) -> int:
        """Ask for the work, at the earliest after `delay` seconds; its id. While one of the same (kind, project, key)
        is queued that one is meant, and asking again changes nothing but that it may become more urgent."""

    def job(self, job: int) -> Job:
        """Raises NotFound."""

    def states(self, jobs: Sequence[int]) -> dict[int, JobState]:
        """Of those of `jobs` that are known; without reading what they carry."""

    def jobs(self, project: int | None = None) -> list[Job]:
        """Newest first, at most 500, without payload and body."""

    def cancel(self, job: int) -> bool:
        """A queued job never starts; a running one is told at its next progress. False where it had ended."""

    def retry(self, job: int) -> bool:
        """Queue again what failed or was cancelled. False where there is nothing to do."""


class Exchange(Protocol):
    """Weights on their way to workers that don't share our home."""

    def offer(self, sha256: str, weights: Path) -> None:
        """Let others take it; again changes nothing."""

    def take(self, sha256: str) -> AbstractContextManager[Path | None]:
        """A file with that hash for as long as the block lasts, None where nobody offers it."""


class Registry(Protocol):
    """The model versions of each project."""

    def save(self, project: int, card: ModelCard, weights: Path) -> None:
        """Keep a version with a copy of its weights; one that is kept already is left as it is."""

    def judged(self, project: int, card: ModelCard) -> None:
        """Keep what the gate said of a version last: the verdict and the metrics of `card`. Raises NotFound."""

    def cards(self, project: int) -> list[ModelCard]:
        """Every version kept, oldest first."""

    def weights(self, project: int, card: ModelCard) -> Path:
        """Its weights file, whose hash was checked. Raises InvalidWeights."""

    def serving(self, project: int) -> ModelCard | None:
        """The promoted version, None before the first."""

    def promote(self, project: int, version: ModelVersion, over: ModelVersion | None) -> None:
        """Let `version` serve, at once and for everybody, in the place of `over`. Raises NotFound, and Conflict where
        another one serves by now: what was compared with `over` says nothing of that one."""

    def rollback(self, project: int, version: ModelVersion | None = None) -> ModelCard:
        """Let `version` serve again, by default the one before; the one that served is withdrawn. Raises NotFound."""

    def served(self, project: int) -> frozenset[ModelVersion]:
        """Every version that serves or ever did, withdrawn ones too."""

    def withdrawn(self, project: int, version: ModelVersion) -> bool:
        """Whether a rollback took it out of service, so that nothing of it may be shown any more."""


class Tracker(Protocol):
    """Where model versions are told of outside, for people who compare experiments there."""

    def track(self, project: Project, versions: Sequence[tuple[ModelCard, str, Sequence[Path]]]) -> int:
        """Write those that are not there yet, or were judged again since, with the files of their reports, and of all
        their state: "serving", "withdrawn" or "kept"; how many were written. Again changes nothing. Raises Busy where
        nobody answers."""
