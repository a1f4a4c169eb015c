"""What a replay is asked and what it found, as values and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Setup:
    """What all runs of a replay share. `batch`: labels bought per round; `start`: labels drawn at random before the
    first, the same for every strategy of a seed (0: each chooses from the first label on)."""

    batch: int
    rounds: int
    start: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """One strategy with one seed, after each of R rounds, all (R,).

    `labels`: float64, bought so far (an empty task counts as one: somebody looked and said so). `seconds`: float64,
    a person's time so far. `tasks`: int64, tasks labelled so far. `quality`: float64, 0…1 on the test part.
    `held_out`: float64, as estimated on labelled rows, NaN where the study gives none. `took`: float64, seconds that
    the strategy took to rank. `rows`: int64, of the study, every task in the order in which it was labelled.
    """

    strategy: str
    seed: int
    labels: NDArray[np.float64]
    seconds: NDArray[np.float64]
    tasks: NDArray[np.int64]
    quality: NDArray[np.float64]
    held_out: NDArray[np.float64]
    took: NDArray[np.float64]
    rows: NDArray[np.int64]

    def body(self) -> dict[str, Any]:
        """As JSON: NaN is null."""
        return {k: _plain(v) if isinstance(v, np.ndarray) else v for k, v in asdict(self).items()}

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Run:
        """Inverse of `body`."""
        real = {k: np.array(body[k], dtype=np.float64) for k in ("labels", "seconds", "quality", "held_out", "took")}
        whole = {k: np.array(body[k], dtype=np.int64) for k in ("tasks", "rows")}
        arrays: dict[str, Any] = {**real, **whole}
        return cls(strategy=body["strategy"], seed=body["seed"], **arrays)


@dataclass(frozen=True, slots=True)
class Replay:
    """Every run, by strategy in the order given, then by seed. `study`, `kind`, `measure`: of the Study. `full`: what
    all its labels together come to, by seed, each a Run of one round. `left_out`: strategies that could not rank, and
    why."""

    study: str
    kind: str
    measure: str
    setup: Setup
    runs: tuple[Run, ...]
    full: tuple[Run, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def strategies(self) -> tuple[str, ...]:
        """Their names, in the order given."""
        return tuple(dict.fromkeys(r.strategy for r in self.runs))

    def of(self, strategy: str) -> tuple[Run, ...]:
        """The runs of a strategy, by seed."""
        return tuple(sorted((r for r in self.runs if r.strategy == strategy), key=lambda r: r.seed))

    def body(self) -> dict[str, Any]:
        """As JSON."""
        head = {"study": self.study, "kind": self.kind, "measure": self.measure, "setup": asdict(self.setup)}
        head["left_out"] = dict(self.left_out)
        return {**head, "runs": [r.body() for r in self.runs], "full": [r.body() for r in self.full]}


def _plain(values: NDArray[Any]) -> list[Any]:
    return [None if isinstance(v, float) and not np.isfinite(v) else v for v in values.tolist()]
