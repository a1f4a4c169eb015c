"""The loop: sync → refresh → publish → learn. Ports only; every step may be killed and run again.

`sync` looks at what Label Studio holds and asks for whatever is missing, so that a lost webhook, a crash or a second
run changes nothing but the time it takes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from groundlook.core.ports import Handler, Progress
from groundlook.core.types import Job
from groundlook.loop.clean import clean
from groundlook.loop.learn import learn
from groundlook.loop.parts import Loop, LoopSettings
from groundlook.loop.pieces import SHARD, shard
from groundlook.loop.prewarm import prewarm
from groundlook.loop.refresh import refresh
from groundlook.loop.sync import sync
from groundlook.loop.track import track

__all__ = ["LANES", "Loop", "LoopSettings", "handlers"]

LANES = {
    "sync": "fast",
    "refresh": "slow",
    "learn": "slow",
    "prewarm": "spare",
    "clean": "spare",
    "track": "spare",
    SHARD: "shards",
}
"""Every kind of job, and the lane it runs in: quick ones never wait behind training, nor that behind encoding."""


def handlers(loop: Loop) -> dict[str, Handler]:
    """What the worker runs for each kind of job."""
    steps = {"sync": sync, "refresh": refresh, "learn": learn, "prewarm": prewarm, "clean": clean, "track": track}
    return {**{kind: partial(_step, loop, step) for kind, step in steps.items()}, SHARD: partial(shard, loop)}


def _step(loop: Loop, step: Callable[[Loop, int, Progress], str], job: Job, progress: Progress) -> str:
    return step(loop, job.project, progress)
