"""Audit: the order that was planned against the order in which people were really served."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from groundlook.core.types import Annotation, Window
from groundlook.loop.parts import Loop


@dataclass(frozen=True, slots=True)
class QueueRow:
    """One task of the queue. `planned`: its place in the window it was served from, or stands in now; None when it
    was in none. `served`: its place in the order of service, None when it is open. `stream`: see
    `core.types.RankedTask`."""

    task_id: int
    window: str | None
    planned: int | None
    served: int | None
    annotator: str
    score: float | None
    reason: str
    stream: str = ""


def audit(loop: Loop, project_id: int) -> list[QueueRow]:
    """Served tasks in the order of service, then the open ones of the current window in theirs."""
    windows = loop.store.windows(project_id)
    served = loop.store.served(project_id)
    rows = [_row(windows, a, place) for place, a in enumerate(_first_answers(served))]
    answered = {a.task_id for a in served}
    if windows:
        rows += [
            QueueRow(t.task_id, windows[-1].version, t.rank, None, "", t.score, t.reason, t.stream)
            for t in windows[-1].tasks
            if t.task_id not in answered
        ]
    return rows


def _first_answers(served: Sequence[Annotation]) -> list[Annotation]:
    first: dict[int, Annotation] = {}
    for annotation in served:
        first.setdefault(annotation.task_id, annotation)
    return list(first.values())


def _row(windows: Sequence[Window], annotation: Annotation, place: int) -> QueueRow:
    """The window is the newest one that was published when the task was served and that holds it."""
    at = annotation.created - annotation.lead_time
    for window in reversed(windows):
        task = next((t for t in window.tasks if t.task_id == annotation.task_id), None)
        if task is not None and window.published <= at + 1.0:  # clocks of two servers
            name = annotation.author
            said = (task.score, task.reason, task.stream)
            return QueueRow(task.task_id, window.version, task.rank, place, name, *said)
    return QueueRow(annotation.task_id, None, None, place, annotation.author, None, "served outside every window")


def kendall_tau(pairs: Sequence[tuple[float, float]]) -> float:
    """Kendall's tau-a of (planned, served) pairs, −1…1; 1 for fewer than two."""
    if len(pairs) < 2:
        return 1.0
    a, b = np.array(pairs, dtype=np.float64).T
    upper = np.triu_indices(len(a), 1)
    agreement = np.sign(a[:, None] - a[None])[upper] * np.sign(b[:, None] - b[None])[upper]
    return float(agreement.mean())


def order_tau(rows: Sequence[QueueRow]) -> float:
    """How well the served order kept to the plan: tau within each window, averaged by the number of pairs."""
    by_window: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        if row.window is not None and row.planned is not None and row.served is not None:
            by_window.setdefault(row.window, []).append((row.planned, row.served))
    weights = [len(p) * (len(p) - 1) / 2 for p in by_window.values()]
    if sum(weights) == 0:
        return 1.0
    return float(np.average([kendall_tau(p) for p in by_window.values()], weights=weights))
