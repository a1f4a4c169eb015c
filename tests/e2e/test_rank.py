"""The queue as people get it: five of them on a real Label Studio, several windows, a trained detector behind."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from scipy.stats import binomtest

from groundlook.core.types import RankedTask, Window
from groundlook.demo.annotators import Annotator, Served
from groundlook.demo.backend import Backend
from groundlook.demo.house import create_project
from groundlook.demo.studio import Studio
from groundlook.loop.audit import QueueRow, audit, order_tau
from groundlook.loop.pool import positions
from groundlook.loop.said import counts_name
from groundlook.service.wiring import Wired, wire
from tests.e2e.owner import call
from tests.waiting import until
from tests.weights.make_yolo import SIDE, town

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]

WEIGHTS = Path(__file__).resolve().parents[1] / "weights" / "yolo_detect.safetensors"
XML = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
    '<Label value="building"/><Label value="car"/></RectangleLabels></View>'
)
PEOPLE, EACH = 5, 16
SHARE, EMPTIES, ALIKE = 0.15, 0.2, 0.999
COLUMNS, ROWS = 14, 12
UNSURE = 1e-3
"""Of a binomial test, one in a thousand."""


@dataclass
class Street:
    """A project of 168 tiles: towns, some of them three times, and empty grass."""

    backend: Backend
    wired: Wired
    project: int
    served: list[Served] = field(default_factory=list)
    asked: list[float] = field(default_factory=list)
    turn: threading.Lock = field(default_factory=threading.Lock)

    def rank(self, *words: str) -> dict[str, Any]:
        return self.backend.run("rank", "--project", str(self.project), *words)

    def windows(self) -> list[Window]:
        return self.wired.store.windows(self.project)


def scene(path: Path) -> None:
    """A third is grass, a third are towns that stand there once, a third are 19 towns three times each."""
    count = COLUMNS * ROWS
    seeds = [8 * i + 7 for i in range(count // 3)]  # every eighth town is empty
    seeds += [i for i in range(2 * count) if i % 8 != 7][: count // 3]
    seeds += [1000 + 8 * (i // 3) for i in range(count - len(seeds))]
    order = np.random.default_rng(5).permutation(seeds)
    pixels = np.zeros((ROWS * SIDE, COLUMNS * SIDE, 3), np.uint8)
    for i, seed in enumerate(order):
        row, column = divmod(i, COLUMNS)
        pixels[row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE] = town(int(seed))[0].pixels
    place = rasterio.Affine(0.2, 0, 500000, 0, -0.2, 5400000)
    profile = {"driver": "GTiff", "count": 3, "dtype": "uint8", "width": pixels.shape[1], "height": pixels.shape[0]}
    with rasterio.open(path, "w", crs="EPSG:32631", transform=place, **profile) as out:
        out.write(pixels.transpose(2, 0, 1))


@pytest.fixture(scope="module")
def street(studio: Studio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    """After everybody has labelled."""
    folder = tmp_path_factory.mktemp("street")
    scene(folder / "scene.tif")
    project = create_project(studio, "Rank", XML)
    environ = {
        "GROUNDLOOK_LABEL_STUDIO_URL": studio.url,
        "GROUNDLOOK_TOKEN": studio.token,
        "GROUNDLOOK_WINDOW": "60",
        "GROUNDLOOK_RETRAIN_EVERY": "100000",
        "GROUNDLOOK_RECONCILE": "600",
        "GROUNDLOOK_DEBOUNCE": "0.2",
        "GROUNDLOOK_RANDOM_SHARE": str(SHARE),
        "GROUNDLOOK_EMPTIES": str(EMPTIES),
        "GROUNDLOOK_ALIKE": str(ALIKE),
    }
    with Backend(folder / "home", [folder], environ) as backend:
        words = ("--tile", str(SIDE), "--overlap", "0", "--block", "64")
        backend.run("ingest", str(folder / "scene.tif"), "--project", str(project), *words)
        backend.run("connect", "--project", str(project), "--weights", str(WEIGHTS))
        with wire(backend.settings) as wired:
            made = Street(backend, wired, project)
            _label(studio, made)
            yield made


def _label(studio: Studio, street: Street) -> None:
    emails = [f"street{i}@groundlook.local" for i in range(PEOPLE)]
    with ExitStack() as open_:
        people = [open_.enter_context(Annotator(studio.url, e, "password1", turn=nullcontext())) for e in emails]

        def work(person: Annotator) -> None:
            pace = random.Random(person.email)
            for _ in range(EACH):
                task = _next(person, street)
                time.sleep(pace.uniform(0.5, 1.5))  # looks at it, each for a time of their own
                person.submit(task.task_id, street.project, [], time.time() - task.time)

        with ThreadPoolExecutor(PEOPLE) as pool:
            for done in [pool.submit(work, person) for person in people]:
                done.result()
    until(lambda: len(street.wired.store.served(street.project)) >= PEOPLE * EACH)


def _next(person: Annotator, street: Street) -> Served:
    """One person at a time, so that the order is known. People press "next" again when there is nothing while the
    window is refilled."""
    for _ in range(60):
        with street.turn:
            asked = time.time()
            task = person.next_task(street.project)
            if task is not None:
                street.served.append(task)
                street.asked.append(asked)
                return task
        time.sleep(0.25)
    raise AssertionError(f"no task for {person.email}")


def picked(street: Street) -> list[QueueRow]:
    """In which window's order each task was picked, by what Label Studio showed with it, not by anybody's clock.

    It picks a task, and then shows it with what the project's version said of it. So the last task of a window may be
    shown as one of the next, which was published in between, or bare where that one does not hold it. One person is
    served at a time: it happens to one task a window, and the next one is of the next window."""
    windows = {w.version: w for w in street.windows()}
    rows: list[QueueRow] = []
    current, last, late = "", -1, False
    for number, served in enumerate(street.served):
        shown = served.model_version
        if shown is not None:
            place = _place(windows[shown], served)
            assert served.score == pytest.approx(place / len(windows[shown].tasks))
        if current and shown != current and not late and (before := _place(windows[current], served)) > last:
            place, late = before, True
        else:
            assert shown is not None, f"{served} is of no window, and not the last of {current}"
            assert shown != current or not late, f"{served} is of {current}, after one was shown of the next window"
            if shown != current:
                assert not current or windows[shown].number > windows[current].number
                current, last, late = shown, -1, False
        assert place > last, f"{served} after place {last}"
        last = place
        rows.append(QueueRow(served.task_id, current, place, number, served.user, None, ""))
    return rows


def test_everything_is_served_in_the_order_that_was_planned(street: Street) -> None:
    assert len({s.model_version for s in street.served}) >= 2, "the window was refilled while people worked"
    assert order_tau(picked(street)) > 0.9
    assert not any(w.fallback for w in street.windows())


def test_the_audit_tells_what_label_studio_showed(street: Street) -> None:
    """Of every task that was not served while a window was published: the audit has nothing but times."""
    told = {r.task_id: r for r in audit(street.wired.loop, street.project)}
    answers = {a.task_id: a for a in street.wired.store.served(street.project)}
    sure = 0
    for asked, row in zip(street.asked, picked(street), strict=True):
        at = answers[row.task_id].created - answers[row.task_id].lead_time
        if not any(asked <= w.published <= at + 1.0 for w in street.windows()):
            assert (told[row.task_id].window, told[row.task_id].planned) == (row.window, row.planned)
            sure += 1
    assert sure > PEOPLE * EACH / 2


def _place(window: Window, served: Served) -> int:
    """-1 for none."""
    return next((t.rank for t in window.tasks if t.task_id == served.task_id), -1)


def test_no_task_is_served_twice(street: Street) -> None:
    assert max(Counter(s.task_id for s in street.served).values()) == 1
    annotations = street.wired.client.annotations(street.wired.store.project(street.project))
    assert len(annotations) == len({a.task_id for a in annotations}) == PEOPLE * EACH
    for window in street.windows():
        assert len({t.task_id for t in window.tasks}) == len(window.tasks)


def _chosen(window: Window) -> list[RankedTask]:
    return [t for t in window.tasks if t.stream == "chosen"]


def test_empties_are_within_their_cap(street: Street) -> None:
    project = street.wired.store.project(street.project)
    ids, rows = street.wired.loop.features.get(project.id, counts_name(project, street.windows()[-1].model))
    empty = dict(zip(ids.tolist(), (rows[:, 0] > 0.5).tolist(), strict=True))
    assert 0.2 < np.mean(list(empty.values())) < 0.6, "a good part of the scene is empty, and known to be"
    for window in street.windows():
        assert sum(empty[t.task_id] for t in _chosen(window)) <= EMPTIES * len(window.tasks)


def test_near_duplicates_are_not_in_one_window(street: Street) -> None:
    ids, vectors = street.wired.loop.features.get(street.project, street.wired.loop.embedder.name)
    unit = np.asarray(vectors, np.float32)
    unit = unit / np.linalg.norm(unit, axis=1, keepdims=True)
    alike = (unit @ unit.T >= ALIKE).sum(axis=1) > 1
    assert alike.mean() > 0.25, "a third of the scene is there three times"
    for window in street.windows():
        chosen = np.array([t.task_id for t in _chosen(window) if "for want of others" not in t.reason], np.int64)
        own = unit[positions(ids, chosen)]
        assert ((own @ own.T) >= ALIKE).sum() == len(chosen)


def test_the_random_streams_share_is_what_was_asked_for(street: Street) -> None:
    streams = Counter(t.stream for w in street.windows() for t in w.tasks if t.stream != "left over")
    assert binomtest(streams["random"], sum(streams.values()), SHARE).pvalue > UNSURE
    rows = [r for r in audit(street.wired.loop, street.project) if r.served is not None]
    assert binomtest(sum(r.stream == "random" for r in rows), len(rows), SHARE).pvalue > UNSURE
    assert all(r.reason.startswith("random: drawn from all") for r in rows if r.stream == "random")


def test_the_reason_stands_in_the_prediction_and_never_in_an_empty_one(street: Street, studio: Studio) -> None:
    window = street.windows()[-1]
    seen = Counter[bool]()
    for task in window.tasks[:20]:
        said = call(studio, "GET", f"/api/tasks/{task.task_id}/")["predictions"]
        (own,) = [p for p in said if p["model_version"] == window.version]
        seen[bool(own["result"])] += 1
        for i, item in enumerate(own["result"]):
            assert (item.get("meta") or {}).get("text") == ([f"{task.reason} ({window.model})"] if i == 0 else None)
    assert seen[True]


def test_rank_by_hand_goes_the_same_way(street: Street) -> None:
    project = street.wired.store.project(street.project)
    before = street.wired.client.state(project).version
    would = street.rank("--strategy", "k-center", "--batch", "12", "--dry-run")
    assert not would["published"]
    assert street.wired.client.state(project).version == before
    done = street.rank("--strategy", "k-center", "--batch", "12", "--keep")
    assert (done["published"], done["strategy"], done["fallback"]) == (True, "k-center", "")
    assert done["tasks"] == would["tasks"]
    assert street.wired.client.state(project).version == done["window"]
    assert len(done["tasks"]) == 12
    assert street.wired.store.project(street.project).settings["strategy"] == "k-center"
    queue = street.backend.run("queue", "--project", str(street.project))
    assert (queue["window"], queue["strategy"]) == (done["window"], "k-center")
