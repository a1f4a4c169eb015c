"""A project's annotations as GIS data or as a training dataset, with a manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from groundlook import __version__
from groundlook.core.errors import GroundlookError, InvalidInput
from groundlook.core.ports import Progress
from groundlook.core.types import UNTRAINED_VERSION, Project
from groundlook.service.wiring.export_read import Reading
from groundlook.service.wiring.parts import Wired
from groundlook_adapters.rasters.reading.read import copyright_of
from groundlook_adapters.vectors.datasets import FORMS, Form, export_dataset
from groundlook_adapters.vectors.export.gis import Merging, export, refuse_existing
from groundlook_adapters.vectors.export.manifest import (
    About,
    SceneFacts,
    file_facts,
    leftovers,
    listed_facts,
    manifest,
    manifest_path,
    write_manifest,
)
from groundlook_adapters.vectors.export.write import DRIVERS
from groundlook_adapters.vectors.names import scene_name

GIS_FORMATS = tuple(DRIVERS)
ON_THE_MAP = frozenset({"mask-cog", "stac-label"})
"""Datasets that only take what is georeferenced."""


@dataclass(frozen=True, slots=True)
class Choices:
    """`instances` (join what several tiles show) and `dissolve` (labels of surfaces) are for GIS formats,
    `image_format` for datasets with pictures. `licence`: of the labels, goes into the manifest. `created`: the moment
    that the manifest names."""

    form: str
    created: datetime
    instances: bool = True
    dissolve: tuple[str, ...] = ()
    licence: str | None = None
    image_format: str = "jpg"
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export did. `written`: features, or regions of a dataset; `tasks`: those that people looked at,
    `empty`: those of them where they found nothing; `skipped`: what was left out, by reason (`tile_…`, `task_…` count
    those, the rest regions); `problems`: the first of these in words."""

    path: Path
    format: str
    written: int
    layers: Mapping[str, int]
    files: tuple[Path, ...]
    manifest: Path
    tasks: int
    annotations: int
    regions: int
    empty: int
    merged: int
    originals: int
    repaired: int
    labels: Mapping[str, int]
    skipped: Mapping[str, int]
    problems: tuple[str, ...] = ()


def export_project(wired: Wired, project: Project, path: Path, choices: Choices, progress: Progress) -> Exported:
    """Write every region that people submitted (skipped tasks left out), with where it comes from. GIS formats hold
    what everybody said; a dataset holds the newest annotation of each task. Raises InvalidInput for a format that does
    not exist, a label to dissolve that the project does not have, and all that `export` and `export_dataset` refuse.
    """
    if choices.form not in (*GIS_FORMATS, *FORMS):
        raise InvalidInput(f"export format {choices.form!r}: use one of {', '.join((*GIS_FORMATS, *FORMS))}")
    _check_dissolve(project, choices)
    reading = Reading(wired, project, wired.client.state(project).annotations)
    if choices.form in GIS_FORMATS:
        return _gis(wired, project, path, choices, reading, progress)
    return _dataset(wired, project, path, choices, reading, progress)


def _check_dissolve(project: Project, choices: Choices) -> None:
    known = labels_of(project)
    for label in choices.dissolve:
        if choices.form not in GIS_FORMATS:
            raise InvalidInput(
                f"--dissolve {label!r} is for {', '.join(GIS_FORMATS)}; {choices.form} keeps tiles apart"
            )
        if label not in known:
            raise InvalidInput(f"--dissolve {label!r} is not a label of project {project.id}: {', '.join(known)}")


def labels_of(project: Project) -> tuple[str, ...]:
    """The labels of every control that we read, each once, in the config's order."""
    every = [label for control in project.config.controls for label in control.labels]
    return tuple(dict.fromkeys(every or project.config.labels))


def _gis(
    wired: Wired, project: Project, path: Path, choices: Choices, reading: Reading, progress: Progress
) -> Exported:
    listing = manifest_path(path, is_folder=False)
    refuse_existing([path, listing], choices.overwrite)
    features = reading.features(lambda share, text: progress(share / 2, text))
    report = export(
        path,
        choices.form,
        features,
        merging=Merging(choices.instances, choices.dissolve),
        overwrite=choices.overwrite,
        progress=lambda share, text: progress(0.5 + share / 2, text) if share else None,
    )
    done = Exported(
        path=path,
        format=choices.form,
        written=report.written,
        layers=report.layers,
        files=report.files,
        manifest=listing,
        tasks=reading.tasks,
        empty=reading.empty,
        annotations=reading.annotations,
        regions=reading.regions,
        merged=report.merged,
        originals=report.originals,
        repaired=report.repaired,
        labels=report.labels,
        skipped=dict(reading.skipped + Counter(report.skipped)),
        problems=tuple(reading.problems),
    )
    settings = {"merge": "instances" if choices.instances else "none", "dissolve": list(choices.dissolve)}
    old = leftovers(listing, path, report.files)
    _write_manifest(
        wired,
        project,
        choices,
        done,
        reading,
        settings,
        [file_facts(path.parent, f, report.parts) for f in report.files],
    )
    for leftover in old:
        leftover.unlink(missing_ok=True)
    return done


def _dataset(
    wired: Wired, project: Project, path: Path, choices: Choices, reading: Reading, progress: Progress
) -> Exported:
    report = export_dataset(
        path,
        cast(Form, choices.form),
        reading.tiles(lambda share, text: progress(0.9 * share, text), choices.form in ON_THE_MAP),
        labels_of(project),
        reading.picture,
        choices.image_format,
        choices.overwrite,
        lambda share, text: progress(share, text) if share > 0.9 else None,
        size_of=reading.size_of,
        exported=choices.created,
    )
    listing = manifest_path(path, is_folder=True)
    done = Exported(
        path=path,
        format=choices.form,
        written=report.regions,
        layers={},
        files=(report.listing,),
        manifest=listing,
        tasks=reading.tasks,
        empty=reading.empty,
        annotations=reading.annotations,
        regions=reading.regions,
        merged=0,
        originals=0,
        repaired=0,
        labels={},
        skipped=dict(reading.skipped + Counter(report.skipped)),
        problems=(*reading.problems, *report.problems),
    )
    settings = {"image_format": choices.image_format, "tiles": report.tiles, "images": report.images}
    _write_manifest(wired, project, choices, done, reading, settings, listed_facts(path, report.listing))
    return done


def _write_manifest(
    wired: Wired,
    project: Project,
    choices: Choices,
    done: Exported,
    reading: Reading,
    settings: Mapping[str, Any],
    files: Sequence[Mapping[str, Any]],
) -> None:
    counts = ("tasks", "empty", "annotations", "regions", "written", "merged", "originals", "repaired")
    about = About(
        version=__version__,
        format=choices.form,
        created=choices.created.isoformat(timespec="seconds"),
        project=project.id,
        title=project.title,
        url=project.url,
        labels=labels_of(project),
        licence=choices.licence,
        models=_models(wired, project) if reading.predicted else (),
        settings=settings,
        counts={**{n: getattr(done, n) for n in counts}, "labels": dict(done.labels), "skipped": dict(done.skipped)},
        scenes=[_scene(wired, scene) for scene in reading.scenes],
    )
    write_manifest(done.manifest, manifest(about, files))


def _models(wired: Wired, project: Project) -> list[str]:
    """The versions whose predictions were published to annotators."""
    versions = {str(w.model) for w in wired.store.windows(project.id) if w.model != UNTRAINED_VERSION}
    return sorted(versions)


def _scene(wired: Wired, scene: SceneFacts) -> SceneFacts:
    """With the copyright that its file states, where that is still the same file; and without the folders it is in."""
    owner, settings = None, wired.settings
    with suppress(GroundlookError):  # gone, moved or replaced: not known
        owner = copyright_of(scene.source, settings.roots, etag=scene.etag, hosts=settings.raster_hosts)
    return replace(scene, source=scene_name(scene.source), copyright=owner)
