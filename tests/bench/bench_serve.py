"""`groundlook bench serve`: what the service costs beyond the model, and whether it keeps what it should let go of.

The peer is the bare model in this process, on the same tiles, in turns with the requests. Every task id is new, so
that nothing comes out of the store.

On a machine that others use too, the difference of two neighbouring measurements swings by more than the overhead
itself. Therefore the same requests are also made of a project without a model: what they take is ours alone.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil

from groundlook.service.bench import Goal, Result, Turns, in_turns, percentile

sys.path.insert(0, str(Path(__file__).parent))
from serve_house import MODELLESS, ServeHouse, serve_house

MODEL = "bare YoloModel.predict"
WARM = 100


def run(quick: bool) -> Iterator[Result]:
    """The cases, one after the other, against one service."""
    with tempfile.TemporaryDirectory(prefix="groundlook-bench-") as folder, serve_house(Path(folder)) as house:
        ids = itertools.count(1)
        yield from _one_by_one(house, ids, 150 if quick else 1000, 30 if quick else WARM)
        yield from _batches(house, ids, 3 if quick else 25)
        yield _webhooks(house, ids, 40 if quick else 300)


def _one_by_one(house: ServeHouse, ids: Iterator[int], requests: int, warm: int) -> Iterator[Result]:
    """Batch 1: the slope of the memory, and the overhead of each request over its tile's model time."""
    mine = psutil.Process()
    for i in itertools.islice(ids, warm):
        house.predict([i])
        house.bare([i])
    memory: list[tuple[int, int]] = []

    def ours(at: int) -> None:
        house.predict([next(ids)])
        memory.append((house.process.memory_info().rss, mine.memory_info().rss))

    turns = in_turns(ours, lambda at: house.bare([at]), requests, warm=0)
    slopes = [_slope([row[k] for row in memory]) for k in (0, 1)]
    name = f"RSS slope over {requests} predict requests, batch 1"
    yield Result(name, slopes[0], "MB/100", Goal("ours", "<", 1.0), requests, slopes[1], f"{MODEL}, this process")
    yield from _overhead("batch 1", turns, 1)
    yield _without_model(house, ids, requests)


def _overhead(what: str, turns: Turns, tasks: int) -> Iterator[Result]:
    """Of the paired differences. The peer's figure is the model's own time."""
    extra = [d * 1000 / tasks for d in turns.differences]
    model = [s * 1000 / tasks for s in turns.peer]
    for name, share in (("median", 0.5), ("p95", 0.95)):
        case, goal = f"{name} of request - model per task, {what}", Goal("ours", "<", 10.0)
        peer = percentile(model, share)
        yield Result(case, percentile(extra, share), "ms", goal, len(extra), peer, f"model, {name}", min(extra))


def _without_model(house: ServeHouse, ids: Iterator[int], requests: int) -> Result:
    """The request alone; the peer reads the same tile's pixels, which no service could do without."""
    turns = in_turns(lambda at: house.predict([next(ids)], MODELLESS), house.read, requests, warm=10)
    ours, peer = (percentile(seconds, 0.95) * 1000 for seconds in (turns.ours, turns.peer))
    name, goal = "p95 of a request without a model, batch 1", Goal("ours", "<", 10.0)
    return Result(name, ours, "ms", goal, requests, peer, "read_rgb of the tile", min(turns.ours) * 1000)


def _batches(house: ServeHouse, ids: Iterator[int], repeats: int) -> Iterator[Result]:
    def ours(at: int) -> None:
        house.predict(list(itertools.islice(ids, 30)))

    turns = in_turns(ours, lambda at: house.bare(list(range(30))), repeats, warm=1)
    yield from _overhead("batch 30", turns, 30)


def _webhooks(house: ServeHouse, ids: Iterator[int], events: int) -> Result:
    """Label Studio waits for the webhook inside the annotator's Submit, here while predictions are asked for."""
    stop = threading.Event()
    failed: list[Exception] = []
    load = threading.Thread(target=_load, args=(house, ids, stop, failed), name="load")
    load.start()
    try:
        turns = in_turns(lambda i: _event(house, i), lambda i: _health(house), events, warm=2)
    finally:
        stop.set()
        load.join()
    if failed:
        raise failed[0]
    ours, peer = (percentile(seconds, 0.95) * 1000 for seconds in (turns.ours, turns.peer))
    name = "p95 of a webhook while predictions run"
    return Result(name, ours, "ms", Goal("ours", "<", 50.0), events, peer, "GET /health then", min(turns.ours) * 1000)


def _load(house: ServeHouse, ids: Iterator[int], stop: threading.Event, failed: list[Exception]) -> None:
    try:
        while not stop.is_set():
            house.predict([next(ids)])
    except Exception as error:
        failed.append(error)


def _event(house: ServeHouse, i: int) -> None:
    annotation = {"id": 1000 + i, "completed_by": 1, "result": [], "created_at": "2026-11-20T10:00:00Z", "lead_time": 3}
    body = {"action": "ANNOTATION_CREATED", "project": {"id": 1}, "task": {"id": 1}, "annotation": annotation}
    _once(house, "POST", "/webhook", body)


def _health(house: ServeHouse) -> None:
    _once(house, "GET", "/health", None)


def _once(house: ServeHouse, method: str, path: str, body: object) -> None:
    """On a connection of its own, as Label Studio does."""
    house.http.request(method, path, json=body, headers={"Connection": "close"}, timeout=10.0).raise_for_status()


def _slope(rss: list[int]) -> float:
    """MB per 100 requests, by least squares; below 0.1 kB it is the fit's own rounding."""
    return round(float(np.polyfit(np.arange(len(rss)), np.asarray(rss) / 1e6, 1)[0] * 100), 4) + 0.0
