"""Vector files → regions that annotators find on the tasks they open.

The regions are kept in the store, by task, and nothing is imported into Label Studio here. An annotator sees the
predictions of `project.model_version` only, and that is the version of the window, which changes at every refill: an
import under a version of its own would be seen by nobody, or would stop the queue. So the loop answers with what was
loaded wherever it publishes or is asked (`loop.parts.known_answers`), under the version that is served, with the
regions' ids as they were made here. At the end a `refresh` is asked for, which publishes a new window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from typing import Any

from groundlook.core.errors import GroundlookError, InvalidInput
from groundlook.core.geo import TileRef
from groundlook.core.types import ModelVersion, Prediction, Project
from groundlook.service.wiring.parts import Wired
from groundlook_adapters.rasters.reading.files import resolve
from groundlook_adapters.vectors.load.place import Counts, Labelling, Loaded, Placer
from groundlook_adapters.vectors.load.read import read
from groundlook_adapters.vectors.load.source import look_at
from groundlook_adapters.vectors.load.vectorfile import Source

LOADED = ModelVersion("loaded", "vectors")
_CHUNK = 4096


@dataclass(frozen=True, slots=True)
class Options:
    """`layer`, `crs`: of every file, where it doesn't say or has several. `min_visible`: see `Placer`."""

    label: str | None = None
    label_column: str | None = None
    label_map: Mapping[str, str] = field(default_factory=dict)
    layer: str | None = None
    crs: str | None = None
    min_visible: float = 0.1


@dataclass(slots=True)
class FileReport:
    """What became of one file. `features`: all it has, -1 unknown; `replaced`: regions that an earlier load of it
    had left; `unreached`: CRSs of tiles that nothing leads to from the file's."""

    file: str
    features: int
    counts: Counts
    replaced: int = 0
    unreached: list[str] = field(default_factory=list)

    def data(self) -> dict[str, Any]:
        """JSON values; `tasks` is their number."""
        counts = {k: v for k, v in asdict(self.counts).items() if k != "tasks"}
        body = {"file": self.file, "features": self.features, "tasks": len(self.counts.tasks), **counts}
        return {**body, "replaced": self.replaced, "unreached": self.unreached}


@dataclass(slots=True)
class Report:
    """What a load did. `tiles`: georeferenced tasks of the project. `failed`: one line per file not used.
    `connected`: whether a service publishes for this project, without which nobody sees anything."""

    tiles: int = 0
    connected: bool = False
    files: list[FileReport] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def load(
    wired: Wired, project: Project, paths: Sequence[str], options: Options, progress: Callable[[str], None]
) -> Report:
    """Put every file's features on the project's tasks, in place of what an earlier load of the same file and layer
    put there. A file that can't be used is a line in `failed`; the rest goes on. Raises InvalidInput where no file
    could be placed: labels that the config doesn't have, no georeferenced task."""
    project = replace(project, config=wired.client.state(project).config)
    labelling = Labelling(options.label, options.label_column, options.label_map).checked(project.config)
    targets = [(t.id, t.tile) for t in wired.client.tasks(project) if t.tile is not None and t.tile.georef is not None]
    if not targets:
        raise InvalidInput(f"project {project.id} has no georeferenced task; run: groundlook ingest … first")
    report = Report(len(targets), any(p.id == project.id for p in wired.store.projects()))
    for path in paths:
        try:
            report.files.append(_file(wired, project, targets, path, options, labelling, progress))
        except GroundlookError as error:
            report.failed.append(str(error))
    if report.files and report.connected:
        wired.jobs.submit("refresh", project.id)
    return report


def _file(
    wired: Wired,
    project: Project,
    targets: Sequence[tuple[int, TileRef]],
    path: str,
    options: Options,
    labelling: Labelling,
    progress: Callable[[str], None],
) -> FileReport:
    source = look_at(resolve(path, wired.settings.roots), options.layer, options.crs)
    placer = Placer(project.id, targets, project.config, labelling, options.min_visible)
    report = FileReport(source.name, source.count, placer.counts, unreached=placer.ground.unreached(source.crs))
    rows = _kept(wired, project.id, _placed(placer, source, progress))
    report.replaced = wired.store.put_loaded(project.id, source.key, rows)
    return report


def _placed(placer: Placer, source: Source, progress: Callable[[str], None]) -> Iterator[Loaded]:
    for features in read(source, placer.ground.bounds(source.crs), placer.labelling.column):
        yield from placer.place(source, features)
        counts = placer.counts
        progress(f"{source.name}: {counts.read} features near the tiles, {counts.regions} regions on them")


def _kept(wired: Wired, project_id: int, found: Iterator[Loaded]) -> Iterator[tuple[int, Prediction]]:
    """Originals first, by the chunk; then the regions made of them."""
    while chunk := list(islice(found, _CHUNK)):
        wired.store.put_originals(project_id, {item.region.uid: item.original for item in chunk})
        for item in chunk:
            yield item.task, Prediction(LOADED, (item.region,), size=item.size)
