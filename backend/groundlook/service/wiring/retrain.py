"""One round of learning on demand: for an admin, and for a scheduler that knows nothing but a URL and a token."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from groundlook.core.errors import InvalidInput, NotFound
from groundlook.core.ports import Progress
from groundlook.core.types import UNTRAINED_VERSION, ModelVersion, Project
from groundlook.learning.gate import LIMITS
from groundlook.loop.clean import clean
from groundlook.loop.learn import Learned, learn_now
from groundlook.loop.refresh import refresh
from groundlook.loop.route import plan_of
from groundlook.service.settings import Settings
from groundlook.service.wiring.connect import Choices, find_project, use_weights
from groundlook.service.wiring.parts import Wired, wire
from groundlook_adapters.labelstudio.queue.window import SAMPLING

log = logging.getLogger("groundlook")

REPORT = ("report.json", "report.html")


@dataclass(frozen=True, slots=True)
class Asked:
    """`gate`: "usual" or "strict". `report`: the folder that gets the gate's report. `publish`: let what serves
    afterwards look at the open tasks, and make the queue anew. `first`: begin anew where the version that Label Studio
    serves is not known here. `url`, `token`: of Label Studio, where the project is not connected here. `weights`,
    `sha256`, `arch`: what the first training starts from, as for `connect`."""

    project: int
    gate: str = "usual"
    report: Path | None = None
    publish: bool = True
    first: bool = False
    url: str | None = None
    token: str | None = None
    weights: str | None = None
    sha256: str | None = None
    arch: str | None = None


def retrain(settings: Settings, asked: Asked, progress: Progress) -> Learned:
    """The whole round: annotations, training, gate, promotion, new predictions, new queue; where nothing is promoted,
    what serves looks at new tasks, and refills the queue. Raises InvalidInput, NotFound, LabelStudioError, Busy where
    a training of the project runs, TrainingFailed."""
    if asked.gate not in LIMITS:
        raise InvalidInput(f"--gate {asked.gate!r}: use one of {', '.join(LIMITS)}")
    with wire(settings) as wired:
        project = _described(wired, asked)
        hosts = (*settings.image_hosts, *_backends(wired, project))
    with wire(replace(settings, image_hosts=hosts)) as wired:
        done = learn_now(wired.loop, project.id, _part(progress, 0.0, 0.9), LIMITS[asked.gate])
        _copy(done, asked.report)
        if asked.publish and wired.registry.serving(project.id) is not None:
            # Also where the new version was refused: the queue may run dry.
            wired.client.update_project(project, sampling=SAMPLING)
            refresh(wired.loop, project.id, _part(progress, 0.9, 1.0))
            clean(wired.loop, project.id, lambda share, text: None)
    return done


def _described(wired: Wired, asked: Asked) -> Project:
    """The project, kept in this home from now on, with what Label Studio says of it now."""
    project = find_project(wired, asked.project, asked.url, asked.token)
    state = wired.client.state(project)
    project = replace(project, config=state.config)
    _same_line(wired, project, state.version, asked.first)
    if asked.weights:
        project, _ = use_weights(wired, project, Choices(asked.weights, asked.sha256, arch=asked.arch))
    if project != _kept(wired, project.id):
        wired.store.put_project(project)
    return project


def _kept(wired: Wired, project: int) -> Project | None:
    try:
        return wired.store.project(project)
    except NotFound:
        return None


def _same_line(wired: Wired, project: Project, queue: str, first: bool) -> None:
    """A new version is compared with the one that serves. Where Label Studio serves a trained version of ours of which
    this home knows nothing, there is nothing to compare with, and whatever came of it might be worse. `queue`: the
    version of the window that Label Studio serves."""
    served = ModelVersion.parse(queue.rpartition("+w")[0])
    known = {card.version for card in wired.registry.cards(project.id)}
    known |= {version.under(plan_of(project).digest) for version in known}
    known |= {window.model for window in wired.store.windows(project.id)}
    if len(served.digest) != 12 or served in known:
        return
    if served.name != UNTRAINED_VERSION.name and not first:
        raise InvalidInput(
            f"Label Studio serves {served} in project {project.id}, which is not in {wired.settings.home}: set "
            "GROUNDLOOK_HOME to the home that has it, or begin anew with --first"
        )
    told = "the queue of project %s (%s) comes from another home, whose service, if one runs, will put it back: %s"
    log.warning(told, project.id, queue, "set GROUNDLOOK_HOME to that home where the new queue is to stay")


def _backends(wired: Wired, project: Project) -> list[str]:
    """The hosts of the project's own ML backends: they serve the pictures of its tasks, and whoever may administer the
    project chose them."""
    found = [urlsplit(url).netloc for url in wired.client.backends(project)]
    return [host for host in found if host]


def _copy(done: Learned, folder: Path | None) -> None:
    if folder is None or done.report is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    for source, name in zip(done.report, REPORT, strict=True):
        shutil.copyfile(source, folder / name)


def _part(progress: Progress, start: float, end: float) -> Progress:
    return lambda share, text: progress(start + (end - start) * share, text)
