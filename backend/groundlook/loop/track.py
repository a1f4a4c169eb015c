"""Track: tell a service for experiments, such as MLflow, of every model version.

In a job of its own: that service may be slow or away, and no promotion waits for it. The job compares what is there
with what is kept, so a lost or repeated one changes nothing.
"""

from __future__ import annotations

from pathlib import Path

from groundlook.core.ports import Progress
from groundlook.core.types import ModelCard
from groundlook.learning.gate.report import report_folder
from groundlook.loop.parts import Loop


def tell(loop: Loop, project_id: int) -> None:
    """Ask for it, where such a service is configured."""
    if loop.tracker is not None:
        loop.jobs.submit("track", project_id)


def track(loop: Loop, project_id: int, progress: Progress) -> str:
    """Write the versions that are not there yet or were judged again, with their reports, and which of them serves or
    was withdrawn."""
    if loop.tracker is None:
        return "no tracking service is configured"
    project, serving = loop.store.project(project_id), loop.registry.serving(project_id)

    def state(card: ModelCard) -> str:
        if serving is not None and card.version == serving.version:
            return "serving"
        return "withdrawn" if loop.registry.withdrawn(project_id, card.version) else "kept"

    def files(card: ModelCard) -> list[Path]:
        return sorted(report_folder(loop.home, project_id, card.version).glob("gate.*"))

    cards = loop.registry.cards(project_id)
    new = loop.tracker.track(project, [(card, state(card), files(card)) for card in cards])
    return f"{new} of {len(cards)} versions written"
