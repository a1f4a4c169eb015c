"""What the pages show, as plain values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from groundlook.core.geo import WindowPx
from groundlook.core.tiling import Split

State = Literal["labelled", "empty", "skipped", "next", "waiting"]
"""`empty`: looked at, nothing there. `next`: in the window that is served now."""

STATES: tuple[State, ...] = get_args(State)

STATE_WORDS: Mapping[str, str] = {
    "labelled": "labelled",
    "empty": "reviewed empty",
    "skipped": "skipped",
    "next": "next in the queue",
    "waiting": "waiting",
}
SPLIT_WORDS: Mapping[str, str] = {"val": "held out", "margin": "margin"}


@dataclass(frozen=True, slots=True)
class TileView:
    """One task over the scene. `window`: px of the scene."""

    task_id: int
    window: WindowPx
    state: State
    split: Split

    @property
    def title(self) -> str:
        """In words, "task 12: labelled, held out"."""
        words = [STATE_WORDS[self.state], SPLIT_WORDS.get(self.split, "")]
        return f"task {self.task_id}: {', '.join(w for w in words if w)}"


@dataclass(frozen=True, slots=True)
class Counts:
    """How many tiles are in each state, and how many are held out or margin."""

    states: Mapping[str, int]
    splits: Mapping[str, int]

    @classmethod
    def of(cls, tiles: Iterable[TileView]) -> Counts:
        """Counted."""
        states, splits = Counter[str](), Counter[str]()
        for tile in tiles:
            states[tile.state] += 1
            splits[tile.split] += 1
        return cls({s: states[s] for s in STATES}, {s: splits[s] for s in SPLIT_WORDS})

    @property
    def total(self) -> int:
        """Tiles."""
        return sum(self.states.values())

    @property
    def reviewed(self) -> int:
        """Tiles that somebody answered: labelled or empty."""
        return self.states["labelled"] + self.states["empty"]


@dataclass(frozen=True, slots=True)
class SceneView:
    """One scene and the tiles that one project has of it. `width`, `height`: px. `crs`: a code or a name, "" for a
    plain image. `gsd`: metres per pixel on the ground. `quicklook`: path and query of its picture, relative to the
    page, "" where it can't be shown; `note` then says why."""

    id: str
    name: str
    width: int
    height: int
    tiles: tuple[TileView, ...]
    crs: str = ""
    gsd: float | None = None
    acquired: str = ""
    quicklook: str = ""
    note: str = ""

    @property
    def counts(self) -> Counts:
        """Of its tiles."""
        return Counts.of(self.tiles)


@dataclass(frozen=True, slots=True)
class ProjectLink:
    """A connected project, by what is known without asking Label Studio."""

    id: int
    title: str
    url: str


@dataclass(frozen=True, slots=True)
class ProjectView:
    """A project with its scenes, by name. `url`: Label Studio's. `foreign`: tasks that show no scene of ours."""

    id: int
    title: str
    url: str
    scenes: tuple[SceneView, ...]
    foreign: int = 0

    @property
    def counts(self) -> Counts:
        """Of the tiles of all scenes."""
        return Counts.of(tile for scene in self.scenes for tile in scene.tiles)

    def task_url(self, task_id: int) -> str:
        """Where Label Studio shows a task."""
        return f"{self.url}/projects/{self.id}/data?task={task_id}"


class Board(Protocol):
    """Where the pages get it from. Called in threads."""

    def projects(self) -> list[ProjectLink]: ...

    def project(self, project_id: int) -> ProjectView:
        """Raises NotFound, LabelStudioError."""
