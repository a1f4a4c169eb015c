"""A whole scene through a model: windows in, things out, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from groundlook.core.errors import GroundlookError
from groundlook.core.geo import Tile, TileRef
from groundlook.core.ports import Model, Progress
from groundlook.core.types import Prediction

W = TypeVar("W")

Read = Callable[[TileRef], Tile]
"""The pixels of a window. Raises InvalidRaster, NotAllowed."""

AHEAD = 2
"""Batches that are read while the model looks at one."""


class Seams(Protocol[W]):
    """Makes one thing of what several windows show of it."""

    def add(self, tile: TileRef, prediction: Prediction) -> None:
        """What the model says of one window; windows come row by row."""

    def finished(self, top: int | None) -> list[W]:
        """What can't change once all further windows begin at row `top` or below; all that is left without."""


class Memory(Protocol):
    """Predictions of an earlier run that was cut short."""

    def get(self, tile: TileRef) -> Prediction | None:
        """What was kept of a window."""

    def put(self, tile: TileRef, prediction: Prediction) -> None:
        """Keep it, for a run that goes on where this one ended."""


@dataclass(slots=True)
class SceneTally:
    """What a run did so far. `looked`: windows that the model saw, `remembered`: those that an earlier run had seen;
    `empty`: windows left out for want of data; `regions`: what was found in them, before merging; `kinds`: of the
    predictions; `unread`: why a window could not be read, the first of each reason; `failed`: how many."""

    looked: int = 0
    remembered: int = 0
    empty: int = 0
    failed: int = 0
    regions: int = 0
    kinds: set[str] = field(default_factory=set)
    unread: list[str] = field(default_factory=list)

    @property
    def windows(self) -> int:
        """Windows that were dealt with."""
        return self.looked + self.remembered + self.empty + self.failed


def predict_scene(
    model: Model,
    tiles: Iterable[TileRef | None],
    read: Read,
    seams: Seams[W],
    tally: SceneTally,
    *,
    batch: int = 4,
    memory: Memory | None = None,
    progress: Progress = lambda _fraction, _text: None,
    total: int = 0,
) -> Generator[W]:
    """The things of one scene, as soon as no later window can show them any more.

    `tiles`: the windows, row by row; None for one without data. The next ones are read, in a thread of their own, while
    the model looks at `batch` of them in another, and the caller deals with what was found before. What can't be read
    is counted; the rest goes on. `total`: how many windows there are, for progress. Memory does not grow with the
    scene. Raises what the model raises.
    """
    row: int | None = None
    with closing(_ahead(tiles, read, batch, memory, tally)) as groups, closing(_looked(model, groups)) as looked:
        for group, said in looked:
            for tile, prediction in _in_order(group, said, tally, memory):
                if row is not None and tile.window[1] != row:
                    yield from seams.finished(tile.window[1])
                row = tile.window[1]
                tally.regions += len(prediction.regions)
                tally.kinds.add(prediction.kind)
                seams.add(tile, prediction)
            progress(min(1.0, tally.windows / max(total, tally.windows, 1)), f"{tally.windows:,} of {total:,} windows")
    yield from seams.finished(None)


_Step = tuple[TileRef, Tile | Prediction]


def _looked(model: Model, groups: Iterable[list[_Step]]) -> Generator[tuple[list[_Step], list[Prediction]]]:
    """Batches with what the model says of those of their windows that it has to look at: at the next batch while the
    caller deals with one."""
    with ThreadPoolExecutor(1, "model") as looking:
        before: tuple[list[_Step], Future[list[Prediction]]] | None = None
        for group in groups:
            fresh = [thing for _, thing in group if isinstance(thing, Tile)]
            now = group, looking.submit(lambda seen: model.predict(seen) if seen else [], fresh)
            if before is not None:
                yield before[0], before[1].result()
            before = now
        if before is not None:
            yield before[0], before[1].result()


def _in_order(
    group: list[_Step], said: list[Prediction], tally: SceneTally, memory: Memory | None
) -> Iterator[tuple[TileRef, Prediction]]:
    """The predictions of a batch."""
    found = iter(said)
    for tile, thing in group:
        if isinstance(thing, Prediction):
            tally.remembered += 1
            yield tile, thing
            continue
        prediction = next(found)
        tally.looked += 1
        if memory is not None:
            memory.put(tile, prediction)
        yield tile, prediction


def _ahead(
    tiles: Iterable[TileRef | None], read: Read, batch: int, memory: Memory | None, tally: SceneTally
) -> Generator[list[_Step]]:
    """Batches of windows that were read, `AHEAD` of them in advance. One thread asks for windows and reads them, so
    that looking for data in them takes no time of the model's either."""
    source, over = iter(tiles), object()

    def step() -> object:
        tile = next(source, over)
        if not isinstance(tile, TileRef):
            return tile
        known = None if memory is None else memory.get(tile)
        if known is not None:
            return tile, known
        try:
            return tile, read(tile)
        except GroundlookError as error:
            return error

    with ThreadPoolExecutor(1, "read ahead") as reader:
        waiting: deque[Future[object]] = deque(reader.submit(step) for _ in range(AHEAD * batch))
        group: list[_Step] = []
        try:
            while (got := waiting.popleft().result()) is not over:
                waiting.append(reader.submit(step))
                if isinstance(got, GroundlookError):
                    tally.failed += 1
                    if len(tally.unread) < 3 and str(got) not in tally.unread:
                        tally.unread.append(str(got))
                elif isinstance(got, tuple):
                    group.append(got)
                else:
                    tally.empty += 1
                if len(group) == batch:
                    yield group
                    group = []
            if group:
                yield group
        finally:
            for future in waiting:
                future.cancel()
            if isinstance(source, Generator):  # it may hold a raster open, which belongs to that thread
                reader.submit(source.close).result()
