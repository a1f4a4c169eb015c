"""What is ranked, and the order that comes of it: arrays, row by row, so that a million tasks are ten arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Ground:
    """Where, when and by what the tile of each task was seen; of N tasks, unknown is NaN or −1.

    `xy`: float64 (N, 2), the tile's centre in metres, x east then y north, in a space that all rows share. `reach`:
    float64 (N,), half of its longer side in m. `day`: float64 (N,), days since 1970. `scene`, `block`, `season`,
    `sensor`: int64 (N,), codes: equal means the same one; a season is a quarter of any year.
    """

    xy: NDArray[np.float64]
    reach: NDArray[np.float64]
    day: NDArray[np.float64]
    scene: NDArray[np.int64]
    block: NDArray[np.int64]
    season: NDArray[np.int64]
    sensor: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64]) -> Ground:
        """That of some rows, in their order."""
        return Ground(*(getattr(self, one.name)[rows] for one in fields(self)))


@dataclass(frozen=True, slots=True)
class Round:
    """A batch that was chosen, labelled and learned from. `strategy`: what chose it. `labels`: how many tasks were
    labelled when it was learned. `quality` 0…1 of the model that came of it, on held-out tasks."""

    strategy: str
    labels: int
    quality: float


@dataclass(frozen=True, slots=True)
class Pool:
    """The unlabelled tasks of a project with what is known of them, row by row (N), and of the labelled ones (M).

    `ids`: int64 (N,). `score`: float64 (N,), NaN = unknown. `embedding`: float32 or float16 (N, D), may be a memory
    map. `labelled`: float32 (M, D), the embeddings of the tasks that are done.
    `kind`: what is labelled: "detection", "segmentation", "classification" or "classification-multiple".
    `proba`: float32 (N, C), class probabilities of whole tasks, rows sum to 1, a row of NaN is unknown; None for
    models that give none. `classes`: int64 (M,), the class of each labelled task, −1 unknown; None with `proba`.
    `counts`: float32 (N, C), how many objects of each class a task is expected to hold, NaN unknown; `have`: float64
    (C,), how many are labelled. `empty`: float64 (N,), how likely nothing is on it, NaN unknown. `seconds`: float64
    (N,), how long a person will take. `terms`: name → float64 (N,), what `score` was put together from.
    `ground`: of the N, `done`: of the M. `rounds`: the batches so far, oldest first.
    """

    ids: NDArray[np.int64]
    score: NDArray[np.float64]
    embedding: NDArray[np.float32]
    labelled: NDArray[np.float32]
    kind: str = "detection"
    proba: NDArray[np.float32] | None = None
    classes: NDArray[np.int64] | None = None
    counts: NDArray[np.float32] | None = None
    have: NDArray[np.float64] | None = None
    empty: NDArray[np.float64] | None = None
    seconds: NDArray[np.float64] | None = None
    terms: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    ground: Ground | None = None
    done: Ground | None = None
    rounds: tuple[Round, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Ranking:
    """Every task of a pool in order. `rows`: int64 (N,), rows of the pool, each once, the one most worth labelling
    first. The first `chosen` were picked as a batch, of which no two say the same; the rest follow by score.
    `strategy`: the name of what chose, `why`: what it went by, where that is not the same every time. `terms`: name →
    float64 (chosen,), the numbers by which each of the batch was picked."""

    rows: NDArray[np.int64]
    chosen: int
    strategy: str
    why: str = ""
    terms: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    def reason(self, place: int) -> str:
        """Why the task at `place` (0 = first) stands there, in one line."""
        if place >= self.chosen:
            return f"{self.strategy}: after the batch, by score"
        known = {name: float(values[place]) for name, values in self.terms.items() if np.isfinite(values[place])}
        told = ", ".join(f"{name} {value:.3g}" for name, value in known.items())
        return "; ".join(part for part in (f"{self.strategy}: {told or 'picked'}", self.why) if part)


def ranking(
    pool: Pool,
    picks: NDArray[np.int64],
    strategy: str,
    terms: Mapping[str, NDArray[np.float64]] | None = None,
    why: str = "",
    score: NDArray[np.float64] | None = None,
) -> Ranking:
    """`picks` (rows of the pool, in order) first; then the others by `score`, highest first, unknown last, ties by id.
    `score`: float64 (N,), by default the pool's."""
    left = np.ones(len(pool), bool)
    left[picks] = False
    rest = np.flatnonzero(left)
    worth = (pool.score if score is None else score)[rest]
    order = np.lexsort((pool.ids[rest], -np.where(np.isfinite(worth), worth, -np.inf)))
    rows = np.concatenate([np.asarray(picks, np.int64), rest[order].astype(np.int64)])
    return Ranking(rows, len(picks), strategy, why, terms or {})


@dataclass(frozen=True, slots=True)
class Fitted:
    """What learning from some rows of a Study came to. `quality` 0…1 on its test part, NaN where nothing was learned.
    `pool`: the rows that are not labelled; their ids are rows of the study. `held_out`: the quality as a project could
    know it, estimated on labelled rows alone (cross-validated): what strategies get to see, who never see `quality`."""

    quality: float
    pool: Pool
    held_out: float | None = None
