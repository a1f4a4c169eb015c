"""The whole loop with simulated people, who see only what Label Studio's own HTTP interface shows them."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from groundlook.core.errors import GroundlookError
from groundlook.core.types import Example, ModelCard, Project, Window
from groundlook.demo.annotators import Annotator, Served
from groundlook.demo.hand import answer
from groundlook.demo.house import House, Say
from groundlook.loop.audit import kendall_tau
from groundlook.loop.settle import measure
from groundlook.service.wiring import Wired, decode_task, encode_region, wire

LEARN_SECONDS = 1200.0
LEAD_SECONDS = 0.3
JITTER_PX = 1.0
PATCH_SECONDS = 1.0
"""A window is current a little before the call that publishes it returns."""


@dataclass(slots=True)
class Record:
    """What happened: every serving and when it was asked for, every annotation's id, and what served after each
    round."""

    served: list[Served] = field(default_factory=list)
    asked: list[float] = field(default_factory=list)
    annotations: list[int] = field(default_factory=list)
    cards: list[ModelCard | None] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


def run_headless(
    house: House,
    annotators: int,
    rounds: int,
    seed: int,
    say: Say,
    on: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Run the rounds, each `house.each` annotations long, and tell how it went. `on` hears of each step as it
    begins: "annotate 1", "learn 1", …"""
    wired = wire(house.backend.settings)
    record = Record()
    people = [
        Annotator(house.studio.url, f"annotator{i}@groundlook.local", "groundlook-demo") for i in range(annotators)
    ]
    try:
        for number in range(1, rounds + 1):
            say(f"round {number} of {rounds}: {annotators} people label {house.each} tasks")
            on(f"annotate {number}")
            with house.timed("annotate"):
                _annotate(house, wired, people, record, seed + number)
            say(f"round {number}: learning from {len(record.annotations)} annotations")
            on(f"learn {number}")
            with house.timed("learn"):
                _await_learned(wired, house.project, len(record.annotations), say)
            record.cards.append(wired.registry.serving(house.project))
        on("export")
        with house.timed("export"):
            out = house.work / "labels.gpkg"
            words = ("--project", str(house.project), "--out", str(out), "--overwrite", "--merge", "none")
            exported = house.backend.run("export", *words)  # unmerged: every region is compared with what was drawn
        with house.timed("measure"):
            map50 = _map50(house, wired, record)
        return _summary(house, wired, record, map50, int(exported["written"]))
    finally:
        for person in people:
            person.close()
        wired.close()


def _annotate(house: House, wired: Wired, people: list[Annotator], record: Record, seed: int) -> None:
    tickets = threading.Semaphore(house.each)
    project = wired.store.project(house.project)
    rngs = np.random.default_rng(seed).spawn(len(people))

    def work(person: Annotator, rng: np.random.Generator) -> None:
        while tickets.acquire(blocking=False):
            _one(house, project, person, rng, record)

    with ThreadPoolExecutor(len(people)) as pool:
        for done in [pool.submit(work, p, rng) for p, rng in zip(people, rngs, strict=True)]:
            done.result()


def _one(house: House, project: Project, person: Annotator, rng: np.random.Generator, record: Record) -> None:
    asked = time.time()
    served = _next(house, person)
    task = decode_task({"id": served.task_id, "data": served.data}, project)
    if task.tile is None:
        raise GroundlookError(f"task {served.task_id} lost its tile")
    size = task.tile.size
    truth = house.dataset.truth_for(task.tile)
    result = answer(truth, rng, JITTER_PX, lambda region: encode_region(region, project.config, size), size)
    time.sleep(LEAD_SECONDS)
    annotation = person.submit(served.task_id, house.project, result, LEAD_SECONDS)
    with record.lock:
        record.served.append(served)
        record.asked.append(asked)
        record.annotations.append(annotation)


def _next(house: House, person: Annotator) -> Served:
    for _ in range(60):
        served = person.next_task(house.project)
        if served is not None:
            return served
        time.sleep(0.5)
    raise GroundlookError(f"Label Studio has no task left for {person.email}")


def _outside(windows: Sequence[Window], record: Record) -> int:
    """Servings of a task that was in no window which was current at any moment between the asking and the answer."""
    ends = [w.published for w in windows[1:]] + [math.inf]
    spans = zip(windows, ends, strict=True)
    current = [(w.published - PATCH_SECONDS, end, {t.task_id for t in w.tasks}) for w, end in spans]
    return sum(
        not any(start <= s.time and asked <= end and s.task_id in tasks for start, end, tasks in current)
        for s, asked in zip(record.served, record.asked, strict=True)
    )


def _await_learned(wired: Wired, project: int, annotations: int, say: Say) -> None:
    """Until the training over these annotations is judged and the pool has been looked at by what serves now."""
    end = time.monotonic() + LEARN_SECONDS
    last = ""
    while time.monotonic() < end:
        jobs = wired.jobs.jobs(project)
        busy = [j for j in jobs if j.state in ("queued", "running")]
        failed = next((j for j in jobs if j.state == "failed"), None)
        if failed is not None:
            raise GroundlookError(f"{failed.kind} failed: {failed.message}")
        serving, window = wired.registry.serving(project), wired.store.current_window(project)
        fresh = window is not None and (serving is None or window.model == serving.version)
        if wired.store.value(project, "learned") >= annotations and fresh and not busy:
            return
        text = "; ".join(f"{j.kind} {j.progress:.0%} {j.message}" for j in busy if j.state == "running")
        if text and text != last:
            say(text)
            last = text
        time.sleep(0.5)
    raise GroundlookError(f"the training did not end within {LEARN_SECONDS:.0f} s; see {wired.settings.home}/serve.log")


def _map50(house: House, wired: Wired, record: Record) -> list[float]:
    """Of what served after each round, on all held-out tiles against the truth, the same tiles for every round."""
    project = wired.store.project(house.project)
    held_out = [t for t in wired.client.tasks(project) if t.split == "val"]
    examples = [Example(t, tuple(house.dataset.truth_for(t.tile))) for t in held_out if t.tile is not None]
    known: dict[str, float] = {}
    for card in record.cards:
        if card is not None and str(card.version) not in known:
            weights = wired.registry.weights(house.project, card)
            known[str(card.version)] = measure(wired.loop, project, card, weights, examples)["map50"]
    return [0.0 if card is None else round(known[str(card.version)], 4) for card in record.cards]


def _summary(house: House, wired: Wired, record: Record, map50: list[float], exported: int) -> dict[str, Any]:
    project = wired.store.project(house.project)
    annotations = wired.client.annotations(project)
    verdicts = Counter(card.verdict for card in wired.registry.cards(house.project))
    times = Counter(s.task_id for s in record.served)
    return {
        "data": house.dataset.name,
        "tasks": house.tasks,
        "annotations": len(annotations),
        "lost": len(set(record.annotations) - {a.id for a in annotations}),
        "served_twice": sum(n - 1 for n in times.values()),
        "served_outside_window": _outside(wired.store.windows(house.project), record),
        "order_tau": round(_tau(record.served), 4),
        "map50": map50,
        "promoted": verdicts["promoted"],
        "refused": verdicts["refused"],
        "exported_features": exported,
        "regions": sum(len(a.regions) for a in annotations),
        "max_rss_mb": round(house.backend.max_rss_mb, 1),
        "seconds": house.seconds,
    }


def _tau(served: list[Served]) -> float:
    """Served order against planned order within each window, weighted by the number of pairs."""
    windows: dict[str, list[tuple[float, float]]] = {}
    for one in served:
        if one.model_version is not None and one.score is not None:
            windows.setdefault(one.model_version, []).append((one.score, one.time))
    weights = [len(p) * (len(p) - 1) / 2 for p in windows.values()]
    return float(np.average([kendall_tau(p) for p in windows.values()], weights=weights)) if sum(weights) else 1.0
