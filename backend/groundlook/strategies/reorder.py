"""Another order of a ranking, its terms with it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from groundlook.core.pool import Ranking


def reordered(ranking: Ranking, first: NDArray[np.int64], chosen: int, strategy: str, why: str) -> Ranking:
    """`ranking` with the tasks at the places `first` (K,) in front, the others behind them in their order, of which the
    first `chosen` count as the batch. Of a task from beyond those that were chosen before, the terms are NaN."""
    others = np.ones(len(ranking.rows), bool)
    others[first] = False
    places = np.concatenate([first, np.flatnonzero(others)])
    terms = {name: _at(values, places[:chosen]) for name, values in ranking.terms.items()}
    return Ranking(ranking.rows[places], chosen, strategy, why, terms)


def _at(values: NDArray[np.float64], places: NDArray[np.int64]) -> NDArray[np.float64]:
    found = np.full(len(places), np.nan)
    inside = places < len(values)
    found[inside] = values[places[inside]]
    return found
