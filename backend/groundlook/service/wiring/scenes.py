"""The scenes of a project with the state of every tile, for the pages. Label Studio is the source of truth."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from groundlook.core.errors import NotFound
from groundlook.core.geo import TileRef
from groundlook.core.ports import Labels, Store
from groundlook.core.types import Annotation, SceneRow, Task
from groundlook.service.pages.view import ProjectLink, ProjectView, SceneView, State, TileView
from groundlook.service.tiles_api import QUICKLOOK, WHOLE
from groundlook_adapters.rasters.signing import sign
from groundlook_adapters.rasters.tiling.footprint import ground_size


@dataclass(frozen=True, slots=True)
class SceneBoard:
    """Implements `service.pages.view.Board`. `key` signs the addresses of quick-looks."""

    labels: Labels
    store: Store
    key: bytes

    def projects(self) -> list[ProjectLink]:
        """Every connected project."""
        return [ProjectLink(p.id, p.title or f"Project {p.id}", p.url) for p in self.store.projects()]

    def project(self, project_id: int) -> ProjectView:
        """Its scenes by name. Raises NotFound, LabelStudioError, InvalidInput (a task that somebody edited)."""
        project = self.store.project(project_id)
        tasks = self.labels.tasks(project)
        answers = task_states(self.labels.annotations(project))
        window = self.store.current_window(project_id)
        queued = {task.task_id for task in window.tasks} if window is not None else set[int]()
        by_scene: dict[str, list[Task]] = {}
        for task in tasks:
            if task.tile is not None:
                by_scene.setdefault(task.tile.scene_id or task.tile.source, []).append(task)
        scenes = [self._scene(mine, answers, queued) for mine in by_scene.values()]
        return ProjectView(
            id=project.id,
            title=project.title or f"Project {project.id}",
            url=project.url.rstrip("/") if urlsplit(project.url).scheme in ("http", "https") else "",
            scenes=tuple(sorted(scenes, key=lambda s: (_natural(s.name), s.id))),
            foreign=sum(task.tile is None for task in tasks),
        )

    def _scene(self, tasks: Sequence[Task], answers: Mapping[int, State], queued: set[int]) -> SceneView:
        places = [(task, task.tile) for task in tasks if task.tile is not None]
        tiles = tuple(
            TileView(task.id, tile.window, answers.get(task.id, "next" if task.id in queued else "waiting"), task.split)
            for task, tile in places
        )
        first = places[0][1]
        row = self._row(first.scene_id)
        width, height = (row.width, row.height) if row else _extent(tile for _, tile in places)
        path = f"scenes/{first.scene_id}/quicklook.jpg?sig={sign(self.key, first.scene_id, WHOLE, QUICKLOOK)}"
        return SceneView(
            id=first.scene_id,
            name=_file_name(first.source),
            width=width,
            height=height,
            tiles=tiles,
            crs=_crs_name(first.georef.crs) if first.georef else "",
            gsd=ground_size(first),
            acquired=first.acquired or "",
            quicklook=path if row else "",
            note="" if row else "This service never ingested the scene, so it has no picture; ingest it here.",
        )

    def _row(self, scene_id: str) -> SceneRow | None:
        try:
            return self.store.scene(scene_id)
        except NotFound:
            return None


def task_states(annotations: Iterable[Annotation]) -> dict[int, State]:
    """Task id → what people said of it. What somebody drew counts for more than an empty answer, and that for more
    than a skip."""
    order: tuple[State, ...] = ("skipped", "empty", "labelled")
    found: dict[int, State] = {}
    for annotation in annotations:
        state: State = "skipped" if annotation.skipped else "labelled" if annotation.regions else "empty"
        known = found.get(annotation.task_id, "skipped")
        found[annotation.task_id] = max(known, state, key=order.index)
    return found


def _extent(tiles: Iterable[TileRef]) -> tuple[int, int]:
    ends = [(t.window[0] + t.window[2], t.window[1] + t.window[3]) for t in tiles]
    return max(x for x, _ in ends), max(y for _, y in ends)


def _file_name(source: str) -> str:
    """The last part of a path or URL, without a query: that may hold a token."""
    path = urlsplit(source).path if "://" in source else source
    return PurePosixPath(path.replace("\\", "/")).name or source[:80]


def _crs_name(crs: str) -> str:
    """A code as it is; of WKT the name."""
    match = re.match(r'[A-Za-z_]+\s*\[\s*"([^"]{1,80})"', crs)
    return match[1] if match else crs[:80]


def _natural(name: str) -> list[tuple[int, int, str]]:
    """A key that sorts tile_9 before tile_10."""
    parts = re.split(r"(\d{1,18})", name.casefold())
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts if p]
