"""The pictures on which champion and challenger differ most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from groundlook.core.exam import Exam

SHOWN = 12
"""Pictures that people look at before they decide: three screens."""


@dataclass(frozen=True, slots=True)
class Differ:
    """A tile, by its `row` in the exams: the mistakes of both there, as `Tally.mistakes` counts them. `champion` is
    None where there is none."""

    row: int
    task: int
    place: str
    challenger: float
    champion: float | None

    @property
    def change(self) -> float:
        """Below 0 where the challenger makes fewer mistakes."""
        return self.challenger - (self.champion or 0.0)


def differ(challenger: Exam, champion: Exam | None) -> list[Differ]:
    """Most different first, of equals those with more mistakes, tiles on which both are alike left out; without a
    champion, those with most mistakes."""
    now = challenger.tally.mistakes()
    was = np.zeros(len(now)) if champion is None else champion.tally.mistakes()
    order = np.lexsort((-(now + was), -np.abs(now - was)))
    return [
        Differ(
            row=row,
            task=challenger.tasks[row],
            place=" · ".join(part for part in (challenger.sites[row], challenger.sensors[row]) if part),
            challenger=float(now[row]),
            champion=None if champion is None else float(was[row]),
        )
        for row in order.tolist()
        if now[row] != was[row]
    ]
