"""Clean: take the predictions of old windows out of Label Studio.

Each window leaves a prediction on every task that it held. They are of no use once another is served, and make lists
and exports slow. So they are deleted in the background, a window at a time, with as long a pause after each as it
took: people who label meanwhile come first.
"""

from __future__ import annotations

from groundlook.core.ports import Progress
from groundlook.loop.parts import Loop

KEPT = 2
"""Windows whose predictions stay: the one that is served, and the one that open editors were given before."""


def clean(loop: Loop, project_id: int, progress: Progress) -> str:
    """Forget what was published in all but the newest windows of ours; predictions of others are not touched. Goes on
    where it stopped: what is gone is not listed any more."""
    project = loop.store.project(project_id)
    windows = loop.store.windows(project_id)
    old = {window.version for window in windows[:-KEPT]} - {window.version for window in windows[-KEPT:]}
    held = [version for version in loop.queue.held(project) if version in old]
    gone = 0
    for done, version in enumerate(held):
        began = loop.clock()
        gone += loop.queue.forget(project, version)
        progress((done + 1) / len(held), f"{gone} predictions of {done + 1} old windows deleted")
        loop.pause(max(0.0, loop.clock() - began))
    return f"{gone} predictions of {len(held)} old windows deleted"
