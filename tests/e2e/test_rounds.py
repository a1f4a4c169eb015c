"""Five rounds of labelling and learning on real buildings through a real Label Studio, and what the gate keeps out."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from groundlook.core.geometry import Box
from groundlook.core.types import Example, ModelCard, Project, Region, Snapshot
from groundlook.demo.annotators import Annotator, Served
from groundlook.demo.backend import Backend
from groundlook.demo.data import Dataset, load_dataset
from groundlook.demo.hand import drawn
from groundlook.demo.house import ARCH, create_project
from groundlook.demo.studio import Studio
from groundlook.learning.gate import USUAL
from groundlook.learning.registry import file_sha256, version_of
from groundlook.loop.learn import Learned, learn_now
from groundlook.loop.refresh import refresh
from groundlook.loop.settle import Settled, measure, pictures, settle
from groundlook.loop.snapshot import read_snapshot, snapshots_of
from groundlook.service.wiring import Wired, decode_task, encode_region, wire
from groundlook.service.wiring.retrain import Asked, retrain
from tests.e2e.owner import call

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(3600)]
ROUNDS, EACH = 5, 24
EPOCHS = "12"
JITTER_PX = 1.0
SHARE, LEAST, MOST = 0.2, 0.5, 1.0
"""The poison: this share of the boxes is moved in a random direction, by this much of its own size."""


@dataclass
class Row:
    """A round: what came of it, and what served afterwards, on all held-out tiles against the truth."""

    labels: int
    done: Learned
    quality: float
    seconds: float

    def __str__(self) -> str:
        gate = self.done.card.metrics if self.done.card else {}
        seen = f"{gate.get('champion_quality', 0.0):.3f} → {gate.get('quality', 0.0):.3f}"
        return f"{self.labels:>6}  {seen:>15}  {self.done.outcome:<10}  {self.quality:>7.3f}  {self.seconds:>5.0f} s"


@dataclass
class Rounds:
    """A project on the shared server, one person who labels it, and our side in this process."""

    studio: Studio
    dataset: Dataset
    wired: Wired
    number: int
    person: Annotator
    served: list[Served] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    @property
    def project(self) -> Project:
        return self.wired.store.project(self.number)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        return call(self.studio, method, path, body)

    def label(self, rng: np.random.Generator) -> None:
        """The next tasks of the queue, as they are served."""
        for _ in range(EACH):
            served = self.person.next_task(self.number)
            assert served is not None
            self.served.append(served)
            tile = decode_task({"id": served.task_id, "data": served.data}, self.project).tile
            assert tile is not None
            truth = [drawn(r, rng, JITTER_PX, tile.size) for r in self.dataset.truth_for(tile)]
            self.person.submit(served.task_id, self.number, self.result(truth), 1.0)

    def result(self, regions: Sequence[Region]) -> list[dict[str, Any]]:
        return [dict(encode_region(region, self.project.config, (256, 256))) for region in regions]

    def snapshot(self) -> Snapshot:
        return read_snapshot(
            self.wired.client, self.project, snapshots_of(self.wired.settings.home, self.number), quiet
        )[0]

    def serving(self) -> ModelCard:
        card = self.wired.registry.serving(self.number)
        assert card is not None
        return card

    def quality(self) -> float:
        """Of what serves, on all held-out tiles against the truth."""
        loop, card = self.wired.loop, self.serving()
        held_out = [task for task in self.wired.client.tasks(self.project) if task.split == "val" and task.tile]
        examples = [Example(task, tuple(self.dataset.truth_for(task.tile))) for task in held_out if task.tile]
        return measure(loop, self.project, card, self.wired.registry.weights(self.number, card), examples)["map50"]

    def trained(self, name: str, examples: Sequence[Example], snapshot: Snapshot) -> Settled:
        """A challenger that goes on from what serves, and learns `examples` only, before the gate."""
        loop, out = self.wired.loop, self.wired.settings.home / name
        kind, trainer, start = loop.models.trainer(self.project, self.serving())
        weights = trainer.train(pictures(loop, self.project, examples), snapshot.labels, start, out, quiet)
        digest = file_sha256(weights)
        card = ModelCard(version_of(kind, [name, digest]), kind, trainer.arch, snapshot.labels, digest, name)
        return settle(loop, self.project, snapshot, card, weights, USUAL, quiet)


def quiet(share: float, text: str) -> None:
    """Progress for nobody."""


@pytest.fixture(scope="module")
def rounds(studio: Studio, data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rounds]:
    """After five rounds. Site by site is told apart: the folder that a picture comes from."""
    folder = tmp_path_factory.mktemp("rounds")
    dataset = load_dataset("oam", folder)
    project = create_project(studio, "Rounds", dataset.config_xml)
    token = {"GROUNDLOOK_LABEL_STUDIO_URL": studio.url, "GROUNDLOOK_TOKEN": studio.token}
    more = {"GROUNDLOOK_EPOCHS": EPOCHS, "GROUNDLOOK_WINDOW": str(EACH + 6)}
    roots = sorted({path.parent for path in dataset.paths})
    backend = Backend(folder / "home", roots, {**token, **more})  # its command line only: nothing learns by itself
    size = ("--tile", "256", "--overlap", "0", "--block", str(dataset.block), *dataset.ingest_options)
    backend.run("ingest", *map(str, dataset.paths), "--project", str(project), *size)
    with Annotator(studio.url, "rounds@groundlook.local", "password1") as person, wire(backend.settings) as wired:
        found = Rounds(studio, dataset, wired, project, person)
        start = data_dir / "weights" / "yolov5n_state_dict.pt"
        asked = Asked(project, url=studio.url, token=studio.token, weights=str(start), arch=ARCH)
        retrain(backend.settings, asked, quiet)  # nothing is labelled yet
        for task in wired.client.tasks(found.project):
            data = found.call("GET", f"/api/tasks/{task.id}/")["data"]
            site = Path(data["geo"]["source"]["uri"]).parent.name
            found.call("PATCH", f"/api/tasks/{task.id}/", {"data": {**data, "site": f"site {site}"}})
        refresh(wired.loop, project, quiet)
        wired.client.update_project(found.project, sampling="Uncertainty sampling")
        for number in range(ROUNDS):
            began = time.monotonic()
            found.label(np.random.default_rng(number))
            done = retrain(backend.settings, asked, quiet)
            found.rows.append(Row(len(found.served), done, found.quality(), time.monotonic() - began))
        yield found


def told(rounds: Rounds) -> str:
    head = "labels  gate, same tiles  verdict     all val      time"
    return "\n".join(["", head, *map(str, rounds.rows)])


def test_five_rounds_make_it_better_and_never_worse(rounds: Rounds, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(told(rounds))
    assert len({served.task_id for served in rounds.served}) == ROUNDS * EACH, "nobody is served a task twice"
    assert {row.done.outcome for row in rounds.rows} <= {"promoted", "refused"}
    for row in rounds.rows:
        assert row.done.card is not None
        metrics = row.done.card.metrics
        if row.done.outcome == "promoted":
            assert metrics["quality"] >= metrics.get("champion_quality", 0.0)
    assert rounds.rows[-1].quality > rounds.rows[0].quality
    passed = {
        str(row.done.card.version) for row in rounds.rows[:-1] if row.done.outcome == "promoted" and row.done.card
    }
    shown = {(served.model_version or "").partition("+w")[0] for served in rounds.served}
    assert shown == {"untrained@000000000000", *passed}, "every version that served made the next queue"


def test_a_challenger_that_learned_poisoned_labels_is_refused(
    rounds: Rounds, capsys: pytest.CaptureFixture[str]
) -> None:
    """A fifth of the boxes of every training tile, moved; held-out tiles keep their labels."""
    before, rng = rounds.serving(), np.random.default_rng(0)
    made = []
    for example in rounds.snapshot().part("train"):
        result = rounds.result(poisoned(example.regions, rng))
        body = {"result": result, "lead_time": 1.0}
        made.append(rounds.call("POST", f"/api/tasks/{example.task.id}/annotations/", body)["id"])
    done = learn_now(rounds.wired.loop, rounds.number, quiet, USUAL)
    with capsys.disabled():
        print(f"\npoisoned: {done.message}")
    for annotation in made:
        rounds.call("DELETE", f"/api/annotations/{annotation}/")
    assert done.outcome == "refused"
    assert rounds.serving() == before


def test_a_challenger_that_learned_a_single_site_is_refused(rounds: Rounds, capsys: pytest.CaptureFixture[str]) -> None:
    before, snapshot = rounds.serving(), rounds.snapshot()
    only = [example for example in snapshot.part("train") if example.task.site == "site 3"]
    done = rounds.trained("single", only, snapshot)
    with capsys.disabled():
        print(f"\nsingle site, {len(only)} tiles: {done.verdict.outcome}: {done.verdict.reason}")
    assert done.verdict.outcome == "refused"
    assert rounds.serving() == before


def poisoned(regions: Sequence[Region], rng: np.random.Generator) -> list[Region]:
    return [moved(region, rng) if rng.random() < SHARE else region for region in regions]


def moved(region: Region, rng: np.random.Generator) -> Region:
    box, angle = region.shape, rng.uniform(0, 2 * np.pi)
    assert isinstance(box, Box)
    step = np.array([np.cos(angle), np.sin(angle)])
    step *= rng.uniform(LEAST, MOST) / np.abs(step).max()
    x = float(np.clip(box.x + step[0] * box.width, 0, 256 - box.width))
    y = float(np.clip(box.y + step[1] * box.height, 0, 256 - box.height))
    return replace(region, shape=Box(x, y, box.width, box.height))
