"""Qualities of champion and challenger on the same draws: overall, by class, site and sensor, and how boxes fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from groundlook.core.exam import Exam
from groundlook.core.tally import BoxTally, Floats, Ints, Tally
from groundlook.learning.gate.resample import Spread, draw
from groundlook.learning.gate.verdict import Finding, Outcome, State, What


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """One quality of both, not judged yet. `old` is None where there is no champion."""

    what: What
    name: str
    measure: str
    new: Spread
    old: Spread | None
    objects: int

    def difference(self) -> Spread | None:
        """Challenger − champion."""
        return None if self.old is None else self.new.minus(self.old)

    def finding(self, limit: float, state: State, asks: Outcome = "promoted") -> Finding:
        """With what was made of it."""
        difference = self.difference()
        return Finding(
            what=self.what,
            name=self.name,
            measure=self.measure,
            champion=None if self.old is None else self.old.measured(),
            challenger=self.new.measured(),
            difference=None if difference is None else difference.measured(),
            limit=limit,
            state=state,
            objects=self.objects,
            blocks=self.new.blocks,
            asks=asks,
        )


def compared(new: Exam, old: Exam | None, rng: np.random.Generator) -> list[Compared]:
    """Quality overall, then of each class, site and sensor of which there are several and that hold an object."""
    rows = np.arange(len(new.tasks))
    found = list(_of(new, old, rows, rng))
    groups: list[tuple[What, Sequence[str]]] = [("site", new.sites), ("sensor", new.sensors)]
    for what, names in groups:
        distinct = sorted(set(names))
        for name in distinct if len(distinct) > 1 else ():
            part = next(_of(new, old, np.flatnonzero(np.array(names, np.str_) == name), rng, what, name or "unknown"))
            if part.objects:
                found.append(part)
    return found


def fit(new: Exam, old: Exam | None, rng: np.random.Generator) -> Compared | None:
    """How closely boxes fit; None where the answers are no boxes."""
    if not isinstance(new.tally, BoxTally):
        return None
    tallies = [exam.tally.fit() for exam in (new, old) if exam is not None and isinstance(exam.tally, BoxTally)]
    weights = _weights(new, np.arange(len(new.tasks)), rng)
    spreads = [_spread(tally.quality(weights), 0, _blocks(new, tally)) for tally in tallies]
    return Compared("fit", "", "mAP75", spreads[0], spreads[1] if old else None, new.objects)


def _of(
    new: Exam, old: Exam | None, rows: Ints, rng: np.random.Generator, what: What = "overall", name: str = ""
) -> Iterator[Compared]:
    """Of some tiles: all labels together, then label by label where there are several."""
    parts = [exam.tally.part(rows) for exam in (new, old) if exam is not None]
    weights = _weights(new, rows, rng)
    qualities = [part.quality(weights) for part in parts]
    objects = parts[0].objects.sum(axis=0)
    labels = np.flatnonzero(objects)
    columns = [0, *(labels + 1)] if len(labels) > 1 else [0]
    for column in columns:
        truth = parts[0].objects if column == 0 else parts[0].objects[:, [column - 1]]
        blocks = len(np.unique(new.places()[rows][truth.sum(axis=1) > 0]))
        spreads = [_spread(quality, column, blocks) for quality in qualities]
        yield Compared(
            what="class" if column else what,
            name=new.labels[column - 1] if column else name,
            measure=new.measure,
            new=spreads[0],
            old=spreads[1] if old else None,
            objects=int(truth.sum()),
        )


def _weights(exam: Exam, rows: Ints, rng: np.random.Generator) -> Floats:
    """Every tile once, then the draws: (1 + B, n)."""
    return np.vstack([np.ones((1, len(rows))), draw(exam.places()[rows], rng)])


def _blocks(exam: Exam, tally: Tally) -> int:
    return len(np.unique(exam.places()[tally.objects.sum(axis=1) > 0]))


def _spread(quality: Floats, column: int, blocks: int) -> Spread:
    return Spread(float(quality[0, column]), quality[1:, column], blocks)
