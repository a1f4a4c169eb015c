"""What people submitted, read from Label Studio page by page, as the exports take it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import GroundlookError, InvalidInput, NotFound
from groundlook.core.geo import TileRef
from groundlook.core.geometry import WholeTile
from groundlook.core.ports import Progress
from groundlook.core.types import Annotation, Project, Region, Task
from groundlook.service.wiring.parts import Wired
from groundlook_adapters.vectors.datasets import DatasetTile
from groundlook_adapters.vectors.export.gis import Feature, Reviewed
from groundlook_adapters.vectors.export.manifest import SceneFacts

_PROBLEMS = 20
_SAY_EVERY = 20


class Reading:
    """One pass over a project's annotations, and the tally of it. `expected`: how many annotations there are, for
    progress. `skipped`: tasks and annotations that can't be understood; `problems`: the first of them in words."""

    def __init__(self, wired: Wired, project: Project, expected: int) -> None:
        self._wired, self._project, self._expected = wired, project, expected
        self._picture: tuple[TileRef, NDArray[np.uint8]] | None = None
        self.tasks = self.annotations = self.regions = self.empty = self.predicted = 0
        self.skipped: Counter[str] = Counter()
        self.problems: list[str] = []
        self._scenes: dict[tuple[str, str, str | None], SceneFacts] = {}

    @property
    def scenes(self) -> list[SceneFacts]:
        """The rasters behind the tiles seen, without their copyright."""
        return list(self._scenes.values())

    def features(self, progress: Progress) -> Iterator[Feature | Reviewed]:
        """Every region of every annotation, and every look at a tile. A foreign task's tile has no georeference."""
        for task, said in self._annotated(progress):
            tile = task.tile or TileRef(task.image, "", (0, 0, 1, 1))
            sent = self._sent(task.id)
            regions = [region.uid for annotation in said for region in annotation.regions if region.uid]
            originals = self._wired.store.originals(self._project.id, [*sent, *regions])
            for opinion, annotation in enumerate(said, start=1):
                who, count = annotation.author, len(annotation.regions)
                # By value: the same file loaded from another folder has other ids
                kept = {originals[r.uid] for r in annotation.regions if r.uid in originals}
                gone = tuple(originals[uid] for uid in sent if originals[uid] not in kept)
                yield Reviewed(tile, task.id, not count, who, count, task.split, self._project.id, opinion, gone)
                for region in annotation.regions:
                    yield Feature(
                        _named(region),
                        tile,
                        task.id,
                        annotation.id,
                        who,
                        annotation.created,
                        annotation.lead_time,
                        task.split,
                        self._project.id,
                        originals.get(region.uid),
                        opinion,
                    )

    def tiles(self, progress: Progress, on_the_map: bool) -> Iterator[DatasetTile]:
        """Every task with its newest annotation. `on_the_map`: only those that are georeferenced; else a foreign task
        is an image of its own, which is fetched to know its size."""
        for task, said in self._annotated(progress):
            newest = said[-1]
            tile = task.tile
            if on_the_map and (tile is None or tile.georef is None):
                self._skip("tile_without_georef", "")
                continue
            if tile is None:
                try:
                    tile = self._fetched(task)
                except GroundlookError as error:
                    self._skip("tile_without_picture", str(error))
                    continue
            yield DatasetTile(tile, newest.regions, task.id, newest.id, task.split)

    def picture(self, tile: TileRef) -> NDArray[np.uint8]:
        """The tile as annotators saw it."""
        if self._picture is not None and self._picture[0] is tile:
            return self._picture[1]
        return self._read(Task(0, tile.source, tile if tile.etag else None))

    def size_of(self, tile: TileRef) -> tuple[int, int]:
        """(width, height) in pixels of the scene that a tile was cut from. Raises NotFound."""
        scene = self._wired.store.scene(tile.scene_id)
        if scene.etag != tile.etag:
            raise NotFound(f"{tile.source} was ingested again since this task was made; ingest it into this project")
        return scene.width, scene.height

    def _sent(self, task: int) -> list[str]:
        """The ids of the regions that vector data put on a task, as far as the config has their labels."""
        found = self._wired.store.loaded(self._project.id, [task])
        shown = {label for control in self._project.config.controls for label in control.labels}
        return [region.uid for loaded in found.values() for region in loaded.regions if region.label in shown]

    def _annotated(self, progress: Progress) -> Iterator[tuple[Task, tuple[Annotation, ...]]]:
        for task, found in self._wired.client.iter_annotations(self._project):
            if isinstance(task, InvalidInput):
                self._skip("task_unreadable", str(task))
                continue
            annotations = tuple(a for a in found if not a.skipped)
            if not annotations:
                continue
            self.tasks += 1
            self.annotations += len(annotations)
            self.regions += sum(len(a.regions) for a in annotations)
            self.predicted += sum(r.origin != "manual" for a in annotations for r in a.regions)
            self.empty += not any(a.regions for a in annotations)
            if task.tile is not None:
                self._note_scene(task.tile)
            if self.tasks % _SAY_EVERY == 0:
                share = min(1.0, self.annotations / max(self._expected, self.annotations))
                progress(share, f"{self.annotations:,} annotations read, {self.regions:,} regions")
            yield task, annotations

    def _note_scene(self, tile: TileRef) -> None:
        crs = None if tile.georef is None else tile.georef.crs
        key = (tile.source, tile.etag, crs)
        if key not in self._scenes:
            self._scenes[key] = SceneFacts(tile.source, tile.scene_id, tile.etag, crs, tile.acquired)

    def _fetched(self, task: Task) -> TileRef:
        pixels = self._read(task)
        tile = TileRef(task.image, "", (0, 0, int(pixels.shape[1]), int(pixels.shape[0])))
        self._picture = (tile, pixels)
        return tile

    def _read(self, task: Task) -> NDArray[np.uint8]:
        pixels: NDArray[np.uint8] = self._wired.images.read(self._project, task).pixels
        return pixels

    def _skip(self, reason: str, problem: str) -> None:
        self.skipped[reason] += 1
        if problem and len(self.problems) < _PROBLEMS:
            self.problems.append(problem)


def _named(region: Region) -> Region:
    """What a Number or Rating says, with the name of what it counts: "7" alone would be a class of that name."""
    number = isinstance(region.shape, WholeTile) and region.control
    return replace(region, label=f"{region.control} {region.label}") if number else region
