"""The whole house of the demo: a real Label Studio, our service, a project with imagery, connected."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from groundlook.core.errors import LabelStudioError, NotFound
from groundlook.demo.backend import Backend
from groundlook.demo.data import Dataset, load_dataset, real_data
from groundlook.demo.studio import Studio

Say = Callable[[str], None]
ARCH = "yolov5n.yaml"


@dataclass(slots=True)
class House:
    """What stands once the doors are open. `seconds`: per stage, as they are finished.
    `each`: how many annotations start a training."""

    studio: Studio
    backend: Backend
    dataset: Dataset
    project: int
    tasks: int
    work: Path
    seconds: dict[str, float] = field(default_factory=dict)
    each: int = 0

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the time of the block to `seconds[stage]`."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds[stage] = round(self.seconds.get(stage, 0.0) + time.monotonic() - started, 2)


@contextmanager
def open_house(
    work: Path,
    data: str,
    environ: Mapping[str, str],
    say: Say,
    port: int | None = None,
    studio_port: int | None = None,
    retrain_every: Callable[[int], int] = lambda tasks: 24,
) -> Iterator[House]:
    """Start everything under `work`, and end it all when the block is left, however it is left. `retrain_every`: how
    many annotations start a training, out of the number of tasks."""
    seconds: dict[str, float] = {}
    started = time.monotonic()

    def stage(name: str) -> None:
        nonlocal started
        seconds[name] = round(time.monotonic() - started, 2)
        started = time.monotonic()

    say(f"making the data ({data})")
    dataset = load_dataset(data, work)
    stage("data")
    say("starting Label Studio (installed on first use, which takes minutes)")
    with Studio(work / "label-studio", port=studio_port, progress=lambda _, text: say(text)) as studio:
        stage("studio")
        roots = sorted({p.parent for p in dataset.paths})
        token = {"GROUNDLOOK_LABEL_STUDIO_URL": studio.url, "GROUNDLOOK_TOKEN": studio.token}
        login = {"GROUNDLOOK_USER": "label-studio", "GROUNDLOOK_PASSWORD": studio.token}
        with Backend(work / "home", roots, {**token, **login, **environ}, port) as backend:
            stage("service")
            project = create_project(studio, f"Groundlook demo ({data})", dataset.config_xml)
            house = House(studio, backend, dataset, project, 0, work, seconds)
            _fill(house, say, stage, retrain_every)
            yield house


def _fill(house: House, say: Say, stage: Callable[[str], None], retrain_every: Callable[[int], int]) -> None:
    dataset, project = house.dataset, str(house.project)
    say(f"ingesting {len(dataset.paths)} rasters")
    size = ["--tile", str(dataset.tile_size), "--overlap", str(dataset.overlap), "--block", str(dataset.block)]
    paths = [str(p) for p in dataset.paths]
    report = house.backend.run("ingest", *paths, "--project", project, *size, *dataset.ingest_options)
    house.tasks = int(report["tasks"])
    stage("ingest")
    say("connecting Label Studio and Groundlook")
    house.each = retrain_every(house.tasks)
    house.backend.run("connect", "--project", project, "--retrain-every", str(house.each), *_weights())
    stage("connect")


def _weights() -> list[str]:
    """The COCO start makes a few labelled images enough; without it the first model learns from nothing."""
    try:
        path = real_data("weights") / "yolov5n_state_dict.pt"
    except NotFound:
        return []
    return ["--weights", str(path), "--arch", ARCH] if path.is_file() else []


def create_project(studio: Studio, title: str, config: str) -> int:
    """A new labelling project; its id."""
    answer = httpx.post(
        f"{studio.url}/api/projects",
        json={"title": title, "label_config": config, "show_collab_predictions": True},
        headers={"Authorization": f"Token {studio.token}"},
        timeout=60.0,
        trust_env=False,
    )
    if answer.status_code != 201:
        raise LabelStudioError(f"the project could not be made: {answer.text[:200]}", answer.status_code)
    body: dict[str, Any] = answer.json()
    return int(body["id"])
