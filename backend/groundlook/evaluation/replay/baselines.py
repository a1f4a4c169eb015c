"""What a strategy has to beat on sets that are mostly empty: random that knows where something is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import EmptyPool
from groundlook.core.pool import Pool, Ranking


@dataclass(frozen=True, slots=True, eq=False)
class ForegroundRandom:
    """Random among the tasks that have anything on them, the others after them. It needs the truth, so no project can
    use it; few selectors beat it (nnActive, Lüth et al. 2025).

    `foreground`: bool, of all tasks of the study, by their id."""

    foreground: NDArray[np.bool_]
    name: str = "foreground-random"

    def rank(self, pool: Pool, count: int, rng: np.random.Generator) -> Ranking:
        """See `core.ports.Strategy`."""
        if len(pool) == 0:
            raise EmptyPool("no task is left to rank")
        rows = rng.permutation(len(pool)).astype(np.int64)
        empty = ~self.foreground[pool.ids[rows]]
        return Ranking(rows[np.argsort(empty, kind="stable")], min(count, len(pool)), self.name)
