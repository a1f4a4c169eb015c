"""Clean: take the predictions of old windows out of Label Studio.

Each window leaves a prediction on every task that it held. They are of no use once another is served, and make lists
and exports slow. So they are deleted in the background, a window at a time, with as long a pause after each as it
took: people who label meanwhile come first.
"""

from __future__ import annotations

import re
import time

from groundlook.core.ports import Progress
from groundlook.loop.parts import Loop

KEPT = 2
"""Windows whose predictions stay: the one that is served, and the one that open editors were given before."""


def clean(loop: Loop, project_id: int, progress: Progress) -> str:
    """Forget what was published in all but the newest windows of ours, and what windows left behind whose publishing
    was cut short; predictions of others are not touched. Goes on where it stopped: what is gone is not listed."""
    project = loop.store.project(project_id)
    newest = [window.number for window in loop.store.windows(project_id)[-KEPT:]]
    held = [version for version in loop.queue.held(project) if _number(version) < min(newest, default=0)]
    gone = 0
    for done, version in enumerate(held):
        began = time.monotonic()  # a clock that is set on by a year must not make a pause of a year
        gone += loop.queue.forget(project, version)
        progress((done + 1) / len(held), f"{gone} predictions of {done + 1} old windows deleted")
        loop.pause(time.monotonic() - began)
    return f"{gone} predictions of {len(held)} old windows deleted"


def _number(version: str) -> int:
    """Of a window's version (`core.types.Window.version`); of any other, one that no window reaches."""
    found = re.fullmatch(r"[^@]+@[^@+]+\+w([0-9]+)", version)
    return int(found[1]) if found else 2**63
