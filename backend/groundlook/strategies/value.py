"""What a second of somebody's time brings: tasks that teach much and are quickly done first."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from groundlook.core.errors import InvalidInput
from groundlook.core.pool import Pool, Ranking
from groundlook.strategies.blend import UncertainThenSpread
from groundlook.strategies.uncertainty import doubt
from groundlook.strategies.vectors import in_id_order


@dataclass(frozen=True, slots=True)
class ValuePerSecond:
    """The tasks with the most expected gain, how unsure the model is, per second that a person is expected to take
    (Settles, Craven & Friedland, 2008); of three times a batch, those that differ most. Where the time of a task is
    unknown it counts as the median; where the gain is, the task comes last; where it is of all, each gains the same.
    """

    name: str = "value-per-second"

    def rank(self, pool: Pool, count: int, rng: np.random.Generator) -> Ranking:
        """See `core.ports.Strategy`."""
        in_id_order(pool)
        if pool.seconds is None or not (np.isfinite(pool.seconds) & (pool.seconds > 0)).any():
            raise InvalidInput(
                "value-per-second needs the time that tasks will take, and no open one has it; label a few tasks "
                "first, or choose another strategy"
            )
        known = np.isfinite(pool.seconds) & (pool.seconds > 0)
        seconds = np.where(known, pool.seconds, np.median(pool.seconds[known]))
        gain, by = doubt(pool)
        worth = (np.ones(len(pool)) if gain is None else np.clip(gain, 0, 1)) / seconds
        found = UncertainThenSpread(name=self.name).rank(replace(pool, score=worth, proba=None, terms={}), count, rng)
        rows = found.rows[: found.chosen]
        terms = {} if gain is None else {by: gain[rows]}
        why = "; ".join(part for part in (by if gain is None else "", found.why) if part)
        return replace(found, terms={**terms, "seconds": seconds[rows], "a minute": 60 * worth[rows]}, why=why)
