"""What one version said of the held-out tiles, kept small, so that two versions can be compared in many ways."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from groundlook.core.errors import InvalidInput
from groundlook.core.tally import Flags, Floats, Ints, Tally
from groundlook.core.types import Region


@dataclass(frozen=True, slots=True, eq=False)
class Exam:
    """Of N tiles, in one order throughout: the ids of their `tasks`; their `sites`, `sensors` and map `blocks`, ""
    unknown; `truth` and what was `said`, every answer however unsure; `seconds` (N,) that each took; and the `tally`.

    `labels`: the project's, in order; `metrics` as `evaluation.evaluate` gives them. `sure`, `right`: (K,), how sure
    each answer was that can be right or wrong, and whether it was; none for pixels.
    """

    version: str
    labels: tuple[str, ...]
    tasks: tuple[int, ...]
    sites: tuple[str, ...]
    sensors: tuple[str, ...]
    blocks: tuple[str, ...]
    tally: Tally
    seconds: Floats
    metrics: Mapping[str, float]
    truth: tuple[tuple[Region, ...], ...]
    said: tuple[tuple[Region, ...], ...]
    sure: Floats
    right: Flags

    @property
    def measure(self) -> str:
        """What quality is: "mAP50", "mean IoU", "macro F1"."""
        return self.tally.measure

    @property
    def objects(self) -> int:
        """What there was to be found."""
        return int(self.tally.objects.sum())

    def quality(self) -> Floats:
        """(1 + C,): overall, then of each label, NaN where none is."""
        return np.asarray(self.tally.quality(np.ones((1, len(self.tasks))))[0])

    def places(self) -> Ints:
        """(N,): the number of each tile's map block, 0, 1, …"""
        return np.asarray(np.unique(np.array(self.blocks, np.str_), return_inverse=True)[1], np.int64)

    def check(self, other: Exam) -> None:
        """Raises InvalidInput where the other exam is not on the same tiles with the same truth."""
        if (self.tasks, self.labels, self.blocks) != (other.tasks, other.labels, other.blocks):
            raise InvalidInput(
                f"{self.version} was examined on {len(self.tasks)} tiles and {other.version} on {len(other.tasks)} "
                "others: examine both on the same tiles and labels"
            )
        if self.truth != other.truth:
            raise InvalidInput(f"the labels changed between the exams of {other.version} and {self.version}: redo both")


@dataclass(frozen=True, slots=True)
class Taught:
    """Of the labels that a version learned: how many it `met`, and `beside` how many it sees the thing instead."""

    met: int
    beside: int

    @property
    def share(self) -> float:
        """Of labels beside which it sees the thing, 0…1."""
        return self.beside / max(self.met + self.beside, 1)
