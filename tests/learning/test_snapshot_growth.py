"""Four times as many annotated tasks are four times the work: nothing of a snapshot looks at pairs of tasks."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from groundlook.core.geo import GeoRef, TileRef
from groundlook.core.geometry import Box, Polygon
from groundlook.core.mask import Mask
from groundlook.core.types import Annotation, Control, LabelConfig, Project, Region, Said, Snapshot, Task
from groundlook.learning.snapshot import load_snapshot, save_snapshot
from groundlook.learning.snapshot.diff import diff
from groundlook.learning.snapshot.leaks import leaks
from groundlook.learning.snapshot.resolve import Rule
from groundlook.learning.snapshot.stats import stats
from groundlook.loop.snapshot import read_snapshot

CONFIG = LabelConfig("l", "PolygonLabels", "i", "i", ("A", "B"), (Control("l", "PolygonLabels", ("A", "B")),))
PROJECT = Project(1, "http://127.0.0.1", "t", CONFIG)
SMALL, TIMES = 200, 4
MOST = 1.15
"""Of calls, over what is in proportion: logarithms, and pages that are not full."""


class Server:
    """Tasks side by side on the map, each by two people; one legend beside all of them."""

    def __init__(self, count: int) -> None:
        self.tasks = {n: said(n) for n in range(1, count + 1)}

    def marks(self, project: Project) -> dict[int, str]:
        return dict.fromkeys(self.tasks, "m")

    def said(self, project: Project, tasks: list[int]) -> list[Said]:
        return [self.tasks[n] for n in tasks]


def said(number: int) -> Said:
    place = GeoRef("EPSG:32631", (1.0, 0, 500_000 + 100.0 * (number % 20), 0, -1.0, 5_400_000 - 100.0 * (number // 20)))
    tile = TileRef("/s.tif", "e", (100 * (number % 20), 100 * (number // 20), 100, 100), place, "s")
    split = "val" if number % 4 == 0 else "train"
    task = Task(number, f"u{number}", tile, split, True, {"legend": "http://x/legend.png"}, f"site{number % 3}")
    x = number % 50
    regions = (
        Region(Box(x, 1, 20, 10), "A"),
        Region(Polygon(((x, 20), (x + 9, 20), (x, 40))), "B"),
        Region(Mask.of(np.eye(9, dtype=bool)), "A"),
    )
    people = (
        Annotation(2 * number, number, regions, "ann", 1.0),
        Annotation(2 * number + 1, number, regions, "ben", 2.0),
    )
    return Said(task, people)


def on_the_map(tile: TileRef) -> Any:
    return shapely.Polygon(tile.outline())


def calls(work: Callable[[], object]) -> int:
    """How many functions `work` calls, of Python's and of others."""
    seen = 0

    def note(frame: Any, event: str, what: Any) -> None:
        nonlocal seen
        seen += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return seen


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, int]]:
    """By step: its calls for few tasks, and for `TIMES` as many."""
    counted: dict[str, list[int]] = {}
    for count in (SMALL, SMALL * TIMES):
        server, folder = Server(count), tmp_path_factory.mktemp("home")
        taken: list[Snapshot] = []

        def take(server: Any = server, folder: Path = folder, taken: list[Snapshot] = taken) -> None:
            taken.append(read_snapshot(server, PROJECT, folder, lambda *_: None, Rule("majority"))[0])

        steps: dict[str, Callable[[], object]] = {
            "first": take,
            "unchanged": take,
            "load": lambda folder=folder, taken=taken: load_snapshot(folder / f"{taken[0].id}.json"),  # type: ignore[misc]
            "stats": lambda taken=taken: stats(taken[0], lambda tile: 100.0),  # type: ignore[misc]
            "leaks": lambda taken=taken: leaks(taken[0], on_the_map),  # type: ignore[misc]
            "same": lambda taken=taken: diff(*taken),  # type: ignore[misc]
            "other": lambda taken=taken: diff(taken[0], relabelled(taken[0])),  # type: ignore[misc]
        }
        for name, work in steps.items():
            counted.setdefault(name, []).append(calls(work))
    return {name: (few, many) for name, (few, many) in counted.items()}


def relabelled(snapshot: Snapshot) -> Snapshot:
    examples = (replace(e, regions=tuple(replace(r, label="B") for r in e.regions)) for e in snapshot.examples)
    return replace(snapshot, examples=tuple(examples))


@pytest.mark.parametrize("step", ["first", "unchanged", "load", "stats", "leaks", "same", "other"])
def test_work_grows_as_tasks_do(shots: dict[str, tuple[int, int]], step: str) -> None:
    few, many = shots[step]
    assert many < few * TIMES * MOST


def test_a_file_is_written_without_being_in_memory(tmp_path: Path) -> None:
    snapshot, _ = read_snapshot(Server(SMALL * TIMES), PROJECT, tmp_path / "read", lambda *_: None)  # type: ignore[arg-type]
    tracemalloc.start()
    try:
        path = save_snapshot(snapshot, tmp_path / "written")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < path.stat().st_size / 4
