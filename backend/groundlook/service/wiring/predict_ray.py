"""`predict --engine ray`: the windows of scenes, looked at by actors of Ray, into the journal.

What they say is kept window by window, as by a run that was cut short; the run itself then goes on from there, merges
and writes. So the two engines give the same, and either goes on where the other stopped.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from groundlook.core.errors import InvalidWeights
from groundlook.core.geo import TileRef
from groundlook.core.plan import ModelSpec
from groundlook.core.ports import Progress
from groundlook.core.types import Prediction
from groundlook.loop.pieces import time_left
from groundlook.loop.scene import SceneTally, predict_scene
from groundlook.service.settings import Settings
from groundlook.service.wiring.journal import Journal, said_text
from groundlook.service.wiring.predict import loaded_model, reader
from groundlook.service.wiring.shards import tiles_of
from groundlook_adapters.jobs.ray_data import each

log = logging.getLogger("groundlook.service")


@dataclass(frozen=True, slots=True)
class OnRay:
    """Implements `predict.Elsewhere`. `spec`, `confidence`: of the model that every actor loads; `address`, `actors`:
    see `ray_data.each`. Rasters and weights have to be found under the same names where the actors are."""

    settings: Settings
    spec: ModelSpec
    confidence: float
    address: str = ""
    actors: int = 0

    def look(self, version: str, shards: Sequence[str], total: int, journal: Journal, progress: Progress) -> int:
        """See `predict.Elsewhere`. Windows that can't be read there are left to the run itself, and told of."""
        make = partial(Looker, self.settings, _found_from_anywhere(self.spec), self.confidence, version)
        done = kept = 0
        began = 0.0
        unread: list[str] = []
        progress(0.0, f"{total:,} windows: Ray starts")
        with closing(each(shards, make, self.address, self.actors)) as brought:
            for text in brought:
                body = json.loads(text)
                journal.put_texts(body["said"])
                kept += len(body["said"])
                done += body["windows"]
                unread += body["unread"]
                began = began or time.monotonic() - body["seconds"]
                left = time_left(done, total, time.monotonic() - began)
                progress(done / total, f"{done:,} of {total:,} windows, on Ray{left}")
        if kept < total:
            why = f" ({unread[0]})" if unread else ""
            log.warning(
                "%s of %s windows could not be read where Ray ran%s; this process tries", total - kept, total, why
            )
        return kept


class Looker:
    """Looks at shards, in a process of its own. Raises InvalidWeights where it finds another model than the one who
    asks has, and what loading it raises."""

    def __init__(self, settings: Settings, spec: ModelSpec, confidence: float, version: str) -> None:
        self._settings = settings
        self._open = ExitStack()  # until the process ends
        self._model = self._open.enter_context(loaded_model(settings, spec, confidence))
        if str(self._model.version) != version:
            raise InvalidWeights(f"{spec.weights} is {self._model.version} on one machine and {version} on another")

    def __call__(self, shard: str) -> str:
        began = time.monotonic()
        tiles = tiles_of(shard)
        tally, said = SceneTally(), _Said()
        for _ in predict_scene(self._model, tiles, reader(self._settings, tiles[0].render), said, tally):
            pass
        body = {"windows": len(tiles), "said": said.rows, "unread": tally.unread, "seconds": time.monotonic() - began}
        return json.dumps(body)


@dataclass(slots=True)
class _Said:
    """Implements `loop.scene.Seams`: nothing is merged, `rows` are for the journal."""

    rows: list[tuple[str, str]] = field(default_factory=list)

    def add(self, tile: TileRef, prediction: Prediction) -> None:
        self.rows.append((tile.uid, said_text(prediction)))

    def finished(self, top: int | None) -> list[None]:
        return []


def _found_from_anywhere(spec: ModelSpec) -> ModelSpec:
    """An actor's working folder is not ours."""
    return spec if "://" in spec.weights else replace(spec, weights=str(Path(spec.weights).expanduser().resolve()))
