"""Sampling by squared distance (k-means++; Arthur & Vassilvitskii, SODA 2007), without looking at every row at each
pick.

Squared distance to the nearest pick only falls as picks are added, so an old value is an upper bound. A row is drawn by
the bounds and kept with probability true value / bound: that is a draw by the true values. So a pick costs one running
sum and few distances, and all rows are refreshed only after some draws have missed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.int64]
_MISSES = 16
_CHUNK = 4096


def plus_plus(
    distance: Callable[[Places, Places], NDArray[np.floating]],
    size: int,
    first: int,
    count: int,
    rng: np.random.Generator,
    weight: NDArray[np.float64] | None = None,
) -> Places:
    """Places of min(`count`, `size`) rows, `first` first, each further one drawn in proportion to `weight` (size,) ×
    its squared distance to the nearest before it; where all of these are 0, the lowest places that are left.

    `distance(places, picks)` → squared distances (len(places), len(picks))."""

    def nearest(places: Places, since: int) -> NDArray[np.float64]:
        found = distance(places, picks[since:done]).min(axis=1).astype(np.float64)
        return np.asarray(found if weight is None else found * weight[places])

    def refresh(since: int) -> None:
        for start in range(0, size, _CHUNK):
            places = np.arange(start, min(start + _CHUNK, size))
            bound[places] = np.minimum(bound[places], nearest(places, since))

    picks = np.zeros(min(count, size), np.int64)
    bound, seen = np.full(size, np.inf), np.ones(size, np.int64)
    if not len(picks):
        return picks
    picks[0], done, misses = first, 1, 0
    refresh(0)
    bound[first] = 0
    while done < len(picks):
        total = np.cumsum(bound)
        if total[-1] <= 0:
            left = np.setdiff1d(np.arange(size), picks[:done])
            picks[done:] = left[: len(picks) - done]
            break
        place = min(int(np.searchsorted(total, rng.random() * total[-1], side="right")), size - 1)
        true = bound[place]
        if seen[place] < done:
            true = min(true, float(nearest(np.array([place]), int(seen[place]))[0]))
        taken = rng.random() * bound[place] < true
        bound[place], seen[place] = (0.0 if taken else true), done
        if taken:
            picks[done] = place
            done += 1
            continue
        misses += 1
        if misses == _MISSES:
            refresh(int(seen.min()))
            seen[:], misses = done, 0
    return picks
