"""Scenes → what a model finds in them, as GIS data in the scenes' own CRS."""

from __future__ import annotations

import hashlib
import itertools
import tempfile
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from groundlook.core.errors import GroundlookError, InvalidInput, InvalidWeights
from groundlook.core.geo import Tile, TileRef
from groundlook.core.plan import ModelSpec
from groundlook.core.ports import Model, Progress
from groundlook.core.tiling import grid
from groundlook.loop.scene import Read, SceneTally, predict_scene
from groundlook.service.brought import Brought
from groundlook.service.settings import Settings
from groundlook.service.wiring.journal import Journal
from groundlook.service.wiring.shards import shards_of
from groundlook_adapters.rasters.pictures.render import Render
from groundlook_adapters.rasters.reading.read import Scene, read_rgb
from groundlook_adapters.rasters.tiling.ingest import AS_IS, scan, tile_of, walk
from groundlook_adapters.rasters.tiling.tile_size import tile_size
from groundlook_adapters.store.encodings import EncodingCache
from groundlook_adapters.vectors.export.gis import ExportReport, Feature, Merging, export, refuse_existing
from groundlook_adapters.vectors.export.write import DRIVERS
from groundlook_adapters.vectors.seams.found import Found, Seams

__all__ = ["DRIVERS", "Elsewhere", "Options", "Predicted", "loaded_model", "predict_scenes", "reader"]

ANY = 1e-9
"""Windows with a pixel of data are looked at."""
_PATIENCE = 3600.0
"""Nobody waits at the other end: finding out the fastest runtime may take its minutes."""


@dataclass(frozen=True, slots=True)
class Options:
    """`form`: one of DRIVERS. `tile`, `overlap`: px, or both from `object_size`, metres. `dissolve`: surfaces' labels,
    joined where they touch; all labels of a segmentation are. `crs`, `xyz`: of rasters that lack a georeference.
    `choice`: what the model sees. `created`: the moment that the features name. `resume`: go on where an earlier run
    was cut short that asked the model the same (`asked`: its settings), and leave a file to go on from."""

    form: str
    created: datetime
    tile: int = 640
    overlap: int = 128
    object_size: float | None = None
    dissolve: tuple[str, ...] = ()
    crs: str | None = None
    xyz: str | None = None
    choice: Any = AS_IS
    overwrite: bool = False
    resume: bool = False
    asked: str = ""


class Elsewhere(Protocol):
    """Others who can look at windows for us."""

    def look(self, version: str, shards: Sequence[str], total: int, journal: Journal, progress: Progress) -> int:
        """Put what the model of `version` says of the windows of `shards` (see `shards.py`), `total` in all, into the
        journal as it comes; of how many that was."""


@dataclass(slots=True)
class Predicted:
    """What a run did. `scenes`: looked at to the end; `windows`: that the model saw, `remembered`: that an earlier run
    saw, `empty`: left out for want of data; `regions`: found in all windows; `written`: features they came to,
    `merged`: of them made of several regions. `failed`: a line for each scene that could not be used, or not to its
    end."""

    path: str
    format: str
    model: str
    runtime: str
    scenes: int = 0
    windows: int = 0
    remembered: int = 0
    empty: int = 0
    regions: int = 0
    written: int = 0
    merged: int = 0
    labels: dict[str, int] = field(default_factory=dict)
    layers: dict[str, int] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


@contextmanager
def loaded_model(settings: Settings, spec: ModelSpec, confidence: float) -> Iterator[Model]:
    """The model of `spec`, for the labels that its label map names, or its own. Its network runs in what is fastest on
    this machine, where its kind can. Raises InvalidWeights, InvalidConfig, InvalidInput."""
    if "://" in spec.weights and not spec.sha256:
        raise InvalidWeights(f"weights from a URL need --sha256, so that nobody can swap them: {spec.weights}")
    with closing(EncodingCache(settings.home / "encodings", settings.encodings_mb, 0)) as encodings:
        brought = Brought(None, encodings, settings.home / "models", settings.runtime, patience=_PATIENCE)
        yield brought.made(spec, tuple(dict.fromkeys(spec.label_map.values())) or None, confidence)


def reader(settings: Settings, render: str) -> Read:
    """What reads windows of scenes that are shown by `render`."""
    shown, roots, hosts = Render.parse(render), settings.roots, settings.raster_hosts

    def read(tile: TileRef) -> Tile:
        return Tile(read_rgb(tile.source, tile.window, shown, roots, etag=tile.etag, hosts=hosts), tile)

    return read


def predict_scenes(
    settings: Settings,
    model: Model,
    paths: Sequence[str],
    out: Path,
    options: Options,
    progress: Progress,
    elsewhere: Elsewhere | None = None,
) -> Predicted:
    """Look at every scene through windows, merge what several windows show, and write it, all or nothing: features have
    the columns of every export; `annotators` names the model. A scene that can't be used is a line in `failed`, the
    rest goes on. `elsewhere`: looks at them first, so that only merging is left to do here. Raises InvalidInput for
    options that fit no raster at all, where no scene could be used, and what the model raises."""
    _check(out, options)
    report = Predicted(str(out), options.form, str(model.version), str(getattr(model, "runtime", "")))
    run = _Run(settings, model, options, report, progress)
    with (
        closing(_journal(out, model, options, elsewhere is not None)) as journal,
        closing(run.features(run.scenes(paths, journal, elsewhere), journal)) as features,
    ):
        # The first prediction says of what kind they are, before the file is begun
        first = next(features, None)
        surfaces = _labels(model) if "segmentation" in run.kinds else ()
        written = export(
            out,
            options.form,
            itertools.chain(() if first is None else (first,), features),
            merging=Merging(False, tuple(dict.fromkeys((*surfaces, *options.dissolve)))),
            overwrite=options.overwrite,
            progress=lambda share, text: progress(share, text) if share else None,
        )
        journal.done()
    return run.told(written)


def _check(out: Path, options: Options) -> None:
    if options.form not in DRIVERS:
        raise InvalidInput(f"--format {options.form!r}: use one of {', '.join(DRIVERS)}")
    if not 0 <= options.overlap < options.tile:
        raise InvalidInput(
            f"--tile {options.tile} with --overlap {options.overlap}: the overlap must be smaller than the tile"
        )
    if not out.parent.is_dir():
        raise InvalidInput(f"{out.parent} is not a folder; make it first")
    refuse_existing([out], options.overwrite)


def _journal(out: Path, model: Model, options: Options, needed: bool) -> Journal:
    # A window's own name says its file, place, size and stretch
    path = out.with_name(f".{out.name}.unfinished") if options.resume else _passing(out) if needed else None
    return Journal(path, f"{model.version}|{options.asked}", options.resume)


def _passing(out: Path) -> Path:
    """A file beside the output, where there is room."""
    with tempfile.NamedTemporaryFile(prefix=f".{out.name}.", dir=out.parent, delete=False) as file:
        return Path(file.name)


def _labels(model: Model) -> tuple[str, ...]:
    return tuple(getattr(model, "labels", ()))


class _Run:
    """One run over several scenes."""

    def __init__(
        self, settings: Settings, model: Model, options: Options, report: Predicted, progress: Progress
    ) -> None:
        self._settings, self._model, self._options = settings, model, options
        self._report, self._progress = report, progress
        self._afar = 0
        self.kinds: set[str] = set()

    def scenes(
        self, paths: Sequence[str], journal: Journal, elsewhere: Elsewhere | None
    ) -> Iterable[Scene | GroundlookError]:
        """What `paths` name; looked at `elsewhere` where that is given."""
        options, settings = self._options, self._settings
        found = scan(
            paths, settings.roots, options.xyz, crs=options.crs, choice=options.choice, hosts=settings.raster_hosts
        )
        if elsewhere is None:
            return found
        scenes = list(found)
        shards: list[str] = []
        total = 0
        for scene in scenes:
            if isinstance(scene, Scene) and scene.georef is not None:
                for count, shard in self._unseen(scene, journal):
                    shards.append(shard)
                    total += count
                    self._progress(0.0, f"{total:,} windows to look at")
        if shards:
            self._afar = elsewhere.look(str(self._model.version), shards, total, journal, self._progress)
        return scenes

    def _unseen(self, scene: Scene, journal: Journal) -> Iterator[tuple[int, str]]:
        """Shards of the windows that nobody looked at yet. What is wrong with the scene is told when it is its turn."""
        whole = tile_of(scene, (0, 0, scene.width, scene.height))
        with suppress(GroundlookError):
            yield from shards_of(whole, (t.window for t in self._tiles(scene) if t is not None and not journal.has(t)))

    def features(self, scenes: Iterable[Scene | GroundlookError], journal: Journal) -> Generator[Feature]:
        """What is found in each scene. Raises InvalidInput at the end where none could be used."""
        for scene in scenes:
            tally = SceneTally(kinds=self.kinds)
            try:
                if isinstance(scene, GroundlookError):
                    raise scene
                yield from self._scene(scene, tally, journal)
                if tally.failed:
                    raise InvalidInput(
                        f"{tally.unread[0]} ({tally.failed} windows of it could not be read, the others were looked at)"
                    )
                self._report.scenes += 1
            except GroundlookError as error:
                self._report.failed.append(_line(error))
            finally:
                self._count(tally)
        if not self._report.scenes and not self._report.windows + self._report.remembered:
            first, *others = self._report.failed or ["no scene was given"]
            raise InvalidInput(first + (f" (and {len(others)} others)" if others else ""))

    def _scene(self, scene: Scene, tally: SceneTally, journal: Journal) -> Iterator[Feature]:
        if scene.georef is None:
            raise InvalidInput(
                f"{scene.source} has no georeference, so what is found in it has no place on a map; give --crs or --xyz"
            )
        size, overlap = self._size(scene)
        found = predict_scene(
            self._model,
            self._tiles(scene),
            reader(self._settings, scene.render.text()),
            Seams((scene.width, scene.height)),
            tally,
            memory=journal if journal.kept else None,
            progress=self._shown(scene, tally),
            total=sum(1 for _ in grid(scene.width, scene.height, size, overlap)),
        )
        with closing(found):
            for number, thing in enumerate(found):
                self._report.merged += thing.views > 1
                yield self._feature(scene, number, thing)

    def _size(self, scene: Scene) -> tuple[int, int]:
        """Of a window and the overlap, px."""
        options = self._options
        return (options.tile, options.overlap) if options.object_size is None else tile_size(scene, options.object_size)

    def _tiles(self, scene: Scene) -> Iterator[TileRef | None]:
        roots, hosts = self._settings.roots, self._settings.raster_hosts
        return walk(scene, *self._size(scene), ANY, roots=roots, hosts=hosts)

    def _feature(self, scene: Scene, number: int, thing: Found) -> Feature:
        uid = hashlib.sha256(f"{scene.id}|{self._model.version}|{number}".encode()).hexdigest()[:16]
        region = replace(thing.region, uid=uid, origin="prediction")
        return Feature(region, thing.tile, 0, 0, str(self._model.version), self._options.created.timestamp())

    def _shown(self, scene: Scene, tally: SceneTally) -> Progress:
        name = Path(scene.source).name[:40]

        def show(share: float, text: str) -> None:
            self._progress(share, f"{name}: {text}, {tally.regions:,} found")

        return show

    def _count(self, tally: SceneTally) -> None:
        report = self._report
        report.windows += tally.looked
        report.remembered += tally.remembered
        report.empty += tally.empty
        report.regions += tally.regions

    def told(self, report: ExportReport) -> Predicted:
        """With what was written."""
        mine = self._report
        mine.windows, mine.remembered = mine.windows + self._afar, mine.remembered - self._afar
        mine.written, mine.labels, mine.layers = report.written, dict(report.labels), dict(report.layers)
        mine.merged += report.merged
        mine.files = [str(file) for file in report.files]
        return mine


def _line(error: GroundlookError) -> str:
    """On one line, whatever a file is called."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(error))
