"""What bulk prediction costs beyond the model: 10,000 tasks through the real refresh, store and feature files.

The model is a stub that computes for a known time a tile, pictures are made on the spot, and Label Studio is one that
only takes an import. The peer is the model's own time in the same run, and that one import call.
"""

from __future__ import annotations

import cProfile
import pstats
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groundlook.core.geo import Tile
from groundlook.core.geometry import Box
from groundlook.core.types import Prediction, Project, Region, Task, Window
from groundlook.loop.parts import LoopSettings
from groundlook.loop.refresh import refresh
from groundlook.scoring.score import score_calibrated
from groundlook.service.bench import Goal, Result
from groundlook_adapters.store.features import FeatureFiles
from groundlook_adapters.store.sqlite import SqliteStore

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.loop.house import CONFIG, House

TILE_S = 0.002
"""What the stub computes for each tile: less than any network takes, so that what else there is shows."""
IMPORT_S = 0.25
"""What the stand-in for Label Studio takes for a window."""
PICTURE = np.zeros((8, 8, 3), np.uint8)
SPREAD = np.ones((6, 4), np.float32)
DIMENSIONS = 512


@dataclass(slots=True)
class Bulk:
    """Stands in for pictures, model, embedder and queue, and counts what they took. `spent`: seconds, by part."""

    version: Any = None
    spent: dict[str, float] = field(default_factory=lambda: {"model": 0.0, "import": 0.0})
    imports: int = 0
    name: str = "bulk-1"

    def read(self, project: Project, task: Task) -> Tile:
        return Tile(PICTURE, task.tile)

    def serving(self, project: Project, version: Any, image: str = "") -> Bulk:
        self.version = version
        return self

    def predict(self, tiles: Sequence[Tile]) -> list[Prediction]:
        start = time.perf_counter()
        found = [self._said(t) for t in tiles]
        time.sleep(max(0.0, TILE_S * len(tiles) - (time.perf_counter() - start)))
        self.spent["model"] += time.perf_counter() - start
        return found

    def _said(self, tile: Tile) -> Prediction:
        """Six boxes, as many as a street has."""
        assert tile.ref is not None
        rng = np.random.default_rng(abs(hash(tile.ref.window)))
        proba = rng.random((6, 2)).astype(np.float32)
        regions = tuple(Region(Box(float(i), 2.0, 3.0, 4.0), "House", float(p.max())) for i, p in enumerate(proba))
        return Prediction(self.version, regions, proba, peak=float(proba.max()), spread=SPREAD)

    def embed(self, tiles: Sequence[Tile]) -> NDArray[np.float32]:
        return np.random.default_rng(len(tiles)).normal(size=(len(tiles), DIMENSIONS)).astype(np.float32)

    def publish(self, project: Project, window: Window, predictions: Mapping[int, Prediction]) -> None:
        start = time.perf_counter()
        time.sleep(IMPORT_S)
        self.imports += 1
        self.spent["import"] += time.perf_counter() - start


def bulk(quick: bool) -> Iterator[Result]:
    """One case. Raises RuntimeError where a window took more than one import."""
    count = 1000 if quick else 10_000
    with tempfile.TemporaryDirectory(prefix="groundlook-bench-") as folder:
        yield _measured(Path(folder), count)


def _measured(folder: Path, count: int, around: Callable[[Callable[[], Any]], Any] = lambda work: work()) -> Result:
    stub = Bulk()
    house = House(config=CONFIG, settings=LoopSettings(window=100))
    house.add(count)
    house.promote("aa")
    with closing(SqliteStore(folder / "store.db")) as store:
        store.put_project(house.project)
        house.store, house.features = store, FeatureFiles(folder / "features")  # type: ignore[assignment]
        loop = house.made(
            images=stub, models=stub, queue=stub, embedder=stub, score=score_calibrated, settings=house.settings
        )
        start = time.perf_counter()
        around(lambda: refresh(loop, 7, lambda share, text: None))
        wall = time.perf_counter() - start
        seen = len(store.scores(7, house.cards[-1].version))
        windows = len(store.windows(7))
    if (stub.imports, seen) != (windows, count):
        raise RuntimeError(f"{stub.imports} imports for {windows} windows; {seen} of {count} tasks have a score")
    bare = sum(stub.spent.values())
    case = f"bulk prediction of {count:,} tasks, {count / wall:,.0f}/s"
    return Result(case, wall, "s", Goal("ratio", "<", 1.2), 1, bare, "the model's own time and one import")


def profiled(count: int) -> None:
    """What our part of it goes to."""
    profile = cProfile.Profile()
    with tempfile.TemporaryDirectory(prefix="groundlook-bench-") as folder:
        print(_measured(Path(folder), count, profile.runcall).body())
    pstats.Stats(profile).sort_stats("cumulative").print_stats(45)


if __name__ == "__main__":
    profiled(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
