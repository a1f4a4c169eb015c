"""Snapshots on the command line: taken, looked at, compared, and written as datasets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import shapely

from groundlook.core.errors import GroundlookError, InvalidInput
from groundlook.core.geo import TileRef
from groundlook.core.ports import Progress
from groundlook.core.types import Project, Snapshot, Task
from groundlook.learning.snapshot import find_snapshot, list_snapshots, load_snapshot, rule_of
from groundlook.learning.snapshot.diff import Diff, diff
from groundlook.learning.snapshot.leaks import Leak, leaks
from groundlook.learning.snapshot.resolve import Rule, parse_rule
from groundlook.learning.snapshot.stats import Stats, stats
from groundlook.loop.snapshot import read_snapshot, snapshots_of
from groundlook.service.wiring.parts import Wired
from groundlook_adapters.rasters.tiling.ground import grounds, square_metres, tile_square_metres
from groundlook_adapters.vectors.datasets import DatasetTile, Form, export_dataset
from groundlook_adapters.vectors.datasets.table import write_table

VIEWS = ("coco", "yolo", "yolo-obb", "parquet")
_PROBLEMS = 20


@dataclass(frozen=True, slots=True)
class Report:
    """What a snapshot holds. `ground_m2`: the ground that its tiles cover, overlaps once; None off the map. `rule`: how
    several annotations of a task were resolved; `new`: whether it was not kept before; `skipped`: annotated tasks that
    are not in it; `problems`: what can't be read: of a snapshot that is only looked at, none of these is known."""

    snapshot: Snapshot
    stats: Stats
    leaks: tuple[Leak, ...]
    ground_m2: float | None
    rule: str = ""
    new: bool = False
    skipped: int = 0
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class View:
    """What was written. `skipped`: tiles and regions left out, by reason; `problems`: the first of them in words."""

    path: Path
    form: str
    regions: int
    images: int
    skipped: dict[str, int]
    problems: tuple[str, ...] = ()


def take(wired: Wired, project: Project, resolve: str | None, progress: Progress) -> Report:
    """Read the project's annotations into a snapshot. Raises LabelStudioError; run again, it goes on there. Raises
    InvalidInput for a rule that does not exist, or names somebody who annotated nothing."""
    folder = snapshots_of(wired.settings.home, project.id)
    before = {path.stem for path in list_snapshots(folder)}
    rule = rule_of(project) if resolve is None else named_rule(wired, project, resolve)
    snapshot, said = read_snapshot(wired.client, project, folder, progress, rule)
    report = look(snapshot)
    return replace(
        report,
        rule=str(rule),
        new=snapshot.id not in before,
        skipped=len(said) - len(snapshot.examples),
        problems=tuple(problem for one in said for problem in one.problems),
    )


def look(snapshot: Snapshot) -> Report:
    """Count, measure, and look for leaks."""
    tiles = list(dict.fromkeys(e.task.tile for e in snapshot.examples if e.task.tile is not None))
    places = dict(zip(tiles, grounds(tiles), strict=True))
    square = {tile: None if place is None else square_metres(place) for tile, place in places.items()}
    known = [place for place in places.values() if place is not None]
    covered = square_metres(shapely.union_all(known)) if known else None
    return Report(snapshot, stats(snapshot, square.get), tuple(leaks(snapshot, places.get)), covered)


def named_rule(wired: Wired, project: Project, text: str) -> Rule:
    """A rule in which an annotator may go by their e-mail address, since annotations have ids. Raises InvalidInput."""
    rule = parse_rule(text)
    people = {address: str(who) for who, address in wired.client.people(project).items()} if "@" in rule.name else {}
    return replace(rule, name=people.get(rule.name.lower(), rule.name))


def keep_rule(wired: Wired, project: Project, rule: str) -> None:
    """From now on trainings resolve by it, too."""
    wired.store.put_project(replace(project, settings={**project.settings, "resolve": rule}))


def kept(wired: Wired, project: int) -> list[dict[str, Any]]:
    """Id, moment (seconds since the epoch), tiles and regions of each snapshot of a project, oldest first."""
    rows = []
    for path in list_snapshots(snapshots_of(wired.settings.home, project)):
        snapshot = load(path)
        count = sum(len(e.regions) for e in snapshot.examples)
        row = {"snapshot": snapshot.id, "saved": path.stat().st_mtime, "tiles": len(snapshot.examples)}
        rows.append({**row, "regions": count})
    return rows


def found(wired: Wired, start: str) -> Snapshot:
    """The snapshot of any project whose id begins with `start`. Raises NotFound, InvalidInput."""
    return load(find_snapshot(wired.settings.home / "snapshots", start))


def load(path: Path) -> Snapshot:
    """Raises InvalidInput for a file that was changed."""
    try:
        return load_snapshot(path)
    except ValueError as error:
        raise InvalidInput(f"{error}; restore it from a backup, or take the snapshot anew") from None


def compared(wired: Wired, before: str, after: str) -> tuple[Snapshot, Snapshot, Diff]:
    """Two snapshots by the beginnings of their ids, and what happened between them. Raises NotFound, InvalidInput."""
    one, other = found(wired, before), found(wired, after)
    if one.project != other.project:
        raise InvalidInput(
            f"snapshot {one.id[:12]} is of project {one.project}, {other.id[:12]} of {other.project}: choose two of one"
        )
    return one, other, diff(one, other)


def write_view(
    wired: Wired,
    project: Project,
    snapshot: Snapshot,
    form: str,
    out: Path,
    images: bool,
    overwrite: bool,
    progress: Progress,
) -> View:
    """Write a snapshot of `project` as a dataset. `images`: with its pictures. Raises InvalidInput: a view that does
    not exist, something in the way."""
    if form not in VIEWS:
        raise InvalidInput(f"view {form!r}: use one of {', '.join(VIEWS)}")
    if form == "parquet":
        if images:
            raise InvalidInput("--images is for coco and yolo; a table has no pictures")
        return View(out, form, write_table(out, snapshot, tile_square_metres, overwrite), 0, {})
    tiles = _Tiles(wired, project, snapshot)
    report = export_dataset(
        out,
        cast(Form, form),
        tiles,
        snapshot.labels,
        tiles.picture if images else None,
        overwrite=overwrite,
        progress=progress,
        total=len(snapshot.examples),
        exported=datetime.now(UTC),
    )
    skipped = dict(tiles.skipped + Counter(report.skipped))
    return View(out, form, report.regions, report.images, skipped, (*tiles.problems, *report.problems))


class _Tiles:
    """The examples of a snapshot, as datasets take them. A foreign task's picture is fetched, for its size."""

    def __init__(self, wired: Wired, project: Project, snapshot: Snapshot) -> None:
        self._wired, self._project, self._snapshot = wired, project, snapshot
        self._last: tuple[TileRef, Any] | None = None
        self.skipped: Counter[str] = Counter()
        self.problems: list[str] = []

    def __iter__(self) -> Iterator[DatasetTile]:
        for example in self._snapshot.examples:
            task = example.task
            try:
                tile = self._fetched(task) if task.tile is None else task.tile
            except GroundlookError as error:
                self.skipped["tile_without_picture"] += 1
                if len(self.problems) < _PROBLEMS:
                    self.problems.append(str(error))
                continue
            yield DatasetTile(tile, example.regions, task.id, max(example.annotation_ids, default=0), task.split)

    def picture(self, tile: TileRef) -> Any:
        """As annotators saw it."""
        if self._last is not None and self._last[0] is tile:
            return self._last[1]
        return self._wired.images.read(self._project, Task(0, tile.source, tile if tile.etag else None)).pixels

    def _fetched(self, task: Task) -> TileRef:
        pixels = self._wired.images.read(self._project, task).pixels
        tile = TileRef(task.image, "", (0, 0, int(pixels.shape[1]), int(pixels.shape[0])))
        self._last = (tile, pixels)
        return tile
