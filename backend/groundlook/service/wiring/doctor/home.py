"""The home: disk, rasters, weights, worker, jobs."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from groundlook.core.errors import InvalidWeights
from groundlook.core.types import Job
from groundlook.learning.registry import file_sha256
from groundlook.loop import LANES
from groundlook.service.finding import Finding, fail, fine, skip, warn
from groundlook.service.settings import Settings
from groundlook.service.wiring.parts import Wired
from groundlook_adapters.rasters.reading.opened import place_of

LEAST_FREE = 2_000_000_000
"""Bytes: a training's pictures and a handful of model versions."""


def home_writable(settings: Settings) -> Finding:
    """Whether files can be made in the home, or the home in its parent."""
    if settings.home.exists():
        with tempfile.TemporaryFile(dir=settings.home) as file:
            file.write(b"groundlook")
            file.flush()
        return fine(f"{settings.home} can be written to")
    parent = _nearest(settings.home)
    if not os.access(parent, os.W_OK):
        return fail(f"{settings.home} does not exist and can't be made", f"make it, or give this user {parent}")
    return warn(f"{settings.home} is new", "if you expected projects in it, correct GROUNDLOOK_HOME")


def space(settings: Settings) -> Finding:
    """Free bytes of the disk that the home lies on."""
    folder = _nearest(settings.home)
    free = shutil.disk_usage(folder).free
    says = f"{free / 1e9:.1f} GB free at {folder}"
    if free < LEAST_FREE:
        return warn(says, f"make room: trainings and models need {LEAST_FREE / 1e9:.0f} GB, or set GROUNDLOOK_HOME")
    return fine(says)


def roots(wired: Wired) -> Finding:
    """Whether the folders that rasters may be read from are there."""
    gone = [str(r) for r in wired.settings.roots if not r.is_dir() or not os.access(r, os.R_OK | os.X_OK)]
    if gone:
        return fail(
            f"not a folder that this user may read: {', '.join(gone)}", "mount or make it, or correct GROUNDLOOK_ROOTS"
        )
    if not wired.settings.roots:
        return fail("no folder may be read", "set GROUNDLOOK_ROOTS to the folders of your rasters")
    return fine(", ".join(str(r) for r in wired.settings.roots))


def scenes(wired: Wired) -> Finding:
    """Whether every ingested scene can still be read, where it may be read."""
    sources = sorted({scene.source for scene in wired.store.scenes()})
    if not sources:
        return skip("no raster was ingested yet")
    bad = [why for why in (_unreadable(s, wired) for s in sources) if why]
    if bad:
        more = f", and {len(bad) - 1} more" if len(bad) > 1 else ""
        return fail(
            f"{len(bad)} of {len(sources)} scenes can't be read: {bad[0]}{more}",
            "put the files back, or name their folders in GROUNDLOOK_ROOTS",
        )
    return fine(f"{len(sources)} scenes are where they were ingested from")


def _unreadable(source: str, wired: Wired) -> str:
    try:
        place_of(source, wired.settings.roots, wired.settings.raster_hosts)
    except Exception as error:
        return " ".join(str(error).split())
    return ""


def weights(wired: Wired) -> Finding:
    """Whether every kept model still has its hash, and the weights that trainings start from theirs."""
    bad, count = [], 0
    for project in wired.store.projects():
        serving = wired.registry.serving(project.id)
        for card in wired.registry.cards(project.id):
            count += 1
            try:
                wired.registry.weights(project.id, card)
            except InvalidWeights as error:
                mark = " (it serves)" if serving is not None and card.version == serving.version else ""
                bad.append(f"project {project.id}{mark}: {error}")
        start = project.settings.get("start")
        if start and (not Path(str(start)).is_file() or file_sha256(Path(str(start))) != Path(str(start)).stem):
            bad.append(f"project {project.id}: the weights that trainings start from are gone or changed: {start}")
    if bad:
        return fail("; ".join(bad), "restore the file from a backup, or connect again with --weights")
    return fine(f"{count} model versions have their checksums")


def worker(wired: Wired) -> Finding:
    """Whether some process runs the jobs, of every lane."""
    idle = wired.jobs.unworked()
    if not idle:
        return fine("a worker runs the jobs")
    whose = "the jobs" if idle == sorted(set(LANES.values())) else f"the jobs of the lanes {', '.join(idle)}"
    return fail(f"no worker runs {whose}", "start `groundlook serve` (or `groundlook worker` beside `--no-worker`)")


def jobs(wired: Wired) -> Finding:
    """Whether jobs were given up, or the last of each kind and project is tried again and again."""
    dead = wired.jobs.dead()
    if dead:
        return fail(_told(dead), "put right what the message says, then `groundlook jobs retry --failed`")
    found = wired.jobs.jobs()
    retried = [j for j in found if j.state == "queued" and j.attempts > 0]
    if retried:
        return warn(_told(retried), "put right what the message says; it is tried again by itself")
    return fine(f"{sum(j.state in ('queued', 'running') for j in found)} waiting or running, none failed")


def _told(jobs: list[Job]) -> str:
    told = [f"job {j.id}, {j.kind} of project {j.project} ({j.attempts} attempts): {j.message}" for j in jobs[:5]]
    return "; ".join([*told, f"and {len(jobs) - 5} more"] if len(jobs) > 5 else told)


def _nearest(path: Path) -> Path:
    return next(p for p in (path, *path.parents) if p.exists())


HOME_CHECKS: tuple[tuple[str, str, Callable[[Wired], Finding]], ...] = (
    ("roots", "correct GROUNDLOOK_ROOTS", roots),
    ("scenes", "put the files back, or correct GROUNDLOOK_ROOTS", scenes),
    ("weights", "connect again with --weights", weights),
    ("worker", "start `groundlook serve`", worker),
    ("jobs", "see groundlook jobs", jobs),
)
"""Name, remedy where the check itself breaks, check."""
