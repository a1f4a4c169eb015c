"""Pieces: bulk work in portions, done here or by other workers, in order of completion.

A project of a hundred thousand tasks is looked at a piece at a time. With Redis every worker that takes shards helps,
whatever its machine; the one that asked writes everything down, so that no worker needs the store. It hands out only a
few more pieces than were brought back, so that a queue never holds a whole project.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, replace
from itertools import islice

from groundlook.core.codec import decode_project, decode_task, encode_project, encode_task
from groundlook.core.errors import GroundlookError, NotFound
from groundlook.core.ports import Progress
from groundlook.core.types import Done, Job, ModelCard, ModelVersion, Project, Task
from groundlook.loop.look import Look, decode_look, encode_look, look, together
from groundlook.loop.parts import Loop

SHARD = "shard"
"""The kind of these jobs."""
PIECE = 32
"""Tasks in a piece that is handed out: seconds of work for a network, so that handing it out costs nothing."""
AHEAD = 32
"""Pieces handed out at a time."""
LOOK_S = 0.2
"""Seconds between two looks at what was handed out: less than all of it takes."""


class ShardFailed(GroundlookError):
    """A piece of bulk work was given up."""


def looks(
    loop: Loop, project: Project, version: ModelVersion, tasks: Sequence[Task], fresh: Collection[int], size: int
) -> Iterator[tuple[int, Look]]:
    """(how many tasks, what came of them) until all are looked at; `size`: of a piece that is done here."""
    if not loop.settings.shards or len(tasks) <= PIECE:
        for at in range(0, len(tasks), size):
            piece = tasks[at : at + size]
            yield len(piece), look(loop, project, version, piece, fresh)
        return
    yield from _handed_out(loop, project, version, tasks, fresh)


def _handed_out(
    loop: Loop, project: Project, version: ModelVersion, tasks: Sequence[Task], fresh: Collection[int]
) -> Iterator[tuple[int, Look]]:
    pieces = (tasks[at : at + PIECE] for at in range(0, len(tasks), PIECE))
    head = _head(loop, project, version)
    out: dict[int, Sequence[Task]] = {}
    try:
        while True:
            for piece in islice(pieces, AHEAD - len(out)):
                out[_submit(loop, project.id, head, piece, fresh)] = piece
            if not out:
                return
            states = loop.jobs.states(list(out))  # without what they carry, which is read once, when it is ended
            ended = [job for job in out if states.get(job) not in ("queued", "running")]
            for job in ended:
                piece = out.pop(job)
                found = _brought_back(loop.jobs.job(job))
                yield len(piece), _tried_here(loop, project, version, piece, fresh, found)
            if not ended:
                loop.pause(LOOK_S)
    finally:
        for job in out:  # somebody cancelled us, or a piece failed
            loop.jobs.cancel(job)


def _head(loop: Loop, project: Project, version: ModelVersion) -> dict[str, object]:
    """What every piece says: everything that a worker without our home must know."""
    card = loop.registry.serving(project.id)
    if card is not None:
        loop.exchange.offer(card.sha256, loop.registry.weights(project.id, card))
    return {
        "project": encode_project(project),
        "version": str(version),
        "card": None if card is None else {**asdict(card), "version": str(card.version)},
    }


def _submit(loop: Loop, project: int, head: dict[str, object], piece: Sequence[Task], fresh: Collection[int]) -> int:
    body = {**head, "tasks": [encode_task(t) for t in piece], "fresh": [t.id for t in piece if t.id in fresh]}
    payload = json.dumps(body, sort_keys=True).encode()
    return loop.jobs.submit(SHARD, project, key=hashlib.sha256(payload).hexdigest()[:24], payload=payload)


def _brought_back(job: Job) -> Look:
    if job.state != "done":
        where = f" on {job.worker}" if job.worker else ""
        raise ShardFailed(f"piece {job.id} of the bulk work {job.state}{where}: {job.message or 'no reason is known'}")
    return decode_look(job.body)


def _tried_here(
    loop: Loop, project: Project, version: ModelVersion, piece: Sequence[Task], fresh: Collection[int], found: Look
) -> Look:
    """With the pictures that could not be read there: that worker may lack a folder or a host that we have."""
    missed = [task for task in piece if task.id in found.unreadable]
    if not missed:
        return found
    return together([replace(found, unreadable=()), look(loop, project, version, missed, fresh)])


def shard(loop: Loop, job: Job, progress: Progress) -> Done:
    """The worker's side: look at a piece, with the version that the one who asked serves. Its weights are fetched once
    where this home lacks them."""
    body = json.loads(job.payload)
    project = decode_project(body["project"])
    if body["card"] is not None:
        _have(loop, project.id, _card(body["card"]))
    tasks = [decode_task(t) for t in body["tasks"]]
    began = time.monotonic()
    found = look(loop, project, ModelVersion.parse(body["version"]), tasks, frozenset(body["fresh"]))
    progress(1.0, f"{len(tasks)} tasks")
    return Done(f"{len(tasks)} tasks in {time.monotonic() - began:.1f} s", encode_look(found))


def _card(body: dict[str, object]) -> ModelCard:
    given = {**body, "version": ModelVersion.parse(str(body["version"])), "labels": tuple(body["labels"])}  # type: ignore[arg-type]
    return ModelCard(**given)  # type: ignore[arg-type]


def _have(loop: Loop, project: int, card: ModelCard) -> None:
    if any(kept.version == card.version for kept in loop.registry.cards(project)):
        return
    with loop.exchange.take(card.sha256) as weights:
        if weights is None:
            raise NotFound(
                f"the weights of {card.version} are offered by nobody any more, or are too large for Redis (500 MB): "
                "the piece is handed out again; large ones need workers that share one home"
            )
        loop.registry.save(project, card, weights)


def time_left(done: int, total: int, seconds: float) -> str:
    """ ", about 3 min left" after `seconds` of work; "" where nothing is left, or nobody can tell."""
    left = (total - done) * seconds / max(done, 1)
    if done >= total or left < 1:
        return ""
    if left < 120:
        return f", about {left:.0f} s left"
    return f", about {left / 60:.0f} min left" if left < 7200 else f", about {left / 3600:.1f} h left"
