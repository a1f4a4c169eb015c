"""A worker that runs whole rounds of learning on a home and a Label Studio in files, until nothing is left to do.

    python -m tests.faults.round_worker FOLDER

Everything that keeps something is the product's own (job engine, store, features, registry, snapshots); what learns is
a toy (tests/loop/learner.py), slowed down so that a kill can fall anywhere. What it does is written to `phases`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from groundlook.core.geo import Tile
from groundlook.core.ports import Handler, Progress
from groundlook.core.types import Done, Job, Region
from groundlook.learning.registry import FileRegistry
from groundlook.loop import LANES, Loop, LoopSettings, handlers
from groundlook_adapters.jobs.embedded import EmbeddedJobs
from groundlook_adapters.store.features import FeatureFiles
from groundlook_adapters.store.sqlite import SqliteStore
from tests.faults.studio_file import StudioFile
from tests.loop.house import CONFIG, House, Plain
from tests.loop.learner import Learner, Shelf

SETTINGS = LoopSettings(window=12, random_share=0.0, retrain_every=40, debounce=0.0)
SLOW = 0.004


@dataclass
class Slow(Learner):
    def train(
        self,
        examples: Iterable[tuple[Tile, Sequence[Region]]],
        labels: Sequence[str],
        start: Path | None,
        out: Path,
        progress: Progress,
    ) -> Path:
        def step(share: float, text: str) -> None:
            time.sleep(SLOW)
            progress(share, text)

        return super().train(examples, labels, start, out, step)


@dataclass
class SlowShelf(Shelf):
    def trainer(self, *given: Any) -> Any:
        kind, _, start = super().trainer(*given)
        return kind, Slow(), start

    def serving(self, *given: Any) -> Any:
        model = super().serving(*given)
        return _SlowModel(model)

    def candidate(self, *given: Any) -> Any:
        return _SlowModel(super().candidate(*given))


@dataclass
class _SlowModel:
    model: Any

    @property
    def version(self) -> Any:
        return self.model.version

    def predict(self, tiles: Sequence[Tile]) -> Any:
        time.sleep(SLOW * len(tiles))
        return self.model.predict(tiles)


class _NoClicks:
    def interactive(self, project: object) -> None:
        return None


@dataclass
class Site:
    """A home and a Label Studio in `folder`."""

    folder: Path
    jobs: EmbeddedJobs = field(init=False)
    store: SqliteStore = field(init=False)
    studio: StudioFile = field(init=False)
    loop: Loop = field(init=False)

    def __post_init__(self) -> None:
        home = self.folder / "home"
        home.mkdir(parents=True, exist_ok=True)
        self.jobs, self.store = EmbeddedJobs(home / "jobs.db", LANES), SqliteStore(home / "store.db")
        self.studio = StudioFile(self.folder / "studio.db", CONFIG)
        registry = FileRegistry(home / "models")
        house = House(settings=SETTINGS)
        self.loop = house.made(
            labels=self.studio,
            queue=self.studio,
            jobs=self.jobs,
            store=self.store,
            features=FeatureFiles(home / "features"),
            registry=registry,
            models=SlowShelf(registry),
            home=home,
            strategies=lambda name: Plain(),
            clock=time.time,
            segmenters=_NoClicks(),
        )

    def close(self) -> None:
        self.jobs.close()
        self.store.close()


def main(folder: Path) -> None:
    site = Site(folder)
    phases = (folder / "phases").open("a", buffering=1)

    def told(kind: str, handler: Handler) -> Handler:
        def run(job: Job, progress: Progress) -> str | Done:
            def heard(share: float, text: str) -> None:
                phases.write(f"{kind}: {text}\n")
                progress(share, text)

            phases.write(f"{kind}: begins\n")
            done = handler(job, heard)
            phases.write(f"{kind}: ended\n")
            return done

        return run

    with site.jobs.working({kind: told(kind, h) for kind, h in handlers(site.loop).items()}, wait=5.0):
        site.jobs.submit("sync", 7)
        calm = 0
        while calm < 5:
            time.sleep(0.05)
            busy = any(j.state in ("queued", "running") for j in site.jobs.jobs(7))
            calm = 0 if busy else calm + 1
    site.close()
    phases.close()
    (folder / "done").write_text("yes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
