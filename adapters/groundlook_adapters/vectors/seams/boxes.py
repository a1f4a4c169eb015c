"""Boxes that overlap → groups of boxes that are one thing."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from groundlook.core.errors import InvalidInput

Metric = Literal["IOS", "IOU"]
_LARGEST = 2**31 - 1
_MOST_PAIRS = 4
"""For each box; where there are more, most would be of boxes that are in a group by then."""


def greedy_groups(
    boxes: ArrayLike,
    scores: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    threshold: float = 0.5,
    metric: Metric = "IOS",
) -> NDArray[np.int64]:
    """The group of each box: int64 (N,), the row of the group's best box.

    Greedy non-maximum merging, the same groups as sahi's `GreedyNMMPostprocess` (Akyon et al. 2022): the box with the
    highest score that is in no group yet takes every box left that it overlaps by `threshold` or more, and so on. Of
    equal scores the first by x0, y0, x1, y1, then by row, comes first. By a sweep: time and memory O(N) for boxes that
    are spread out.

    `boxes`: (N, 4), x0, y0, x1, y1, compared in float32 as sahi does. `scores`: (N,). `labels`: (N,), integers; only
    boxes of one label are merged, None for no regard to labels. `threshold`: 0 < t ≤ 1. `metric`: the overlap as a
    share of the smaller box ("IOS") or of the union of both ("IOU"). Raises InvalidInput.
    """
    b = np.ascontiguousarray(boxes, dtype=np.float32).reshape(-1, 4)
    s = np.ascontiguousarray(scores, dtype=np.float32).reshape(-1)
    names = np.zeros(len(b), np.int64) if labels is None else np.ascontiguousarray(labels, np.int64).reshape(-1)
    if not len(b) == len(s) == len(names):
        raise InvalidInput(f"{len(b)} boxes, {len(s)} scores, {len(names)} labels: one of each per box")
    if not 0 < threshold <= 1:
        raise InvalidInput(f"threshold {threshold}: an overlap above 0 and up to 1")
    if metric not in ("IOS", "IOU"):
        raise InvalidInput(f"metric {metric!r}: use IOS or IOU")
    if len(b) == 0:
        return np.zeros(0, np.int64)
    from groundlook_adapters.vectors.seams import boxes_kernels as kernels
    from groundlook_adapters.vectors.seams import pairs_kernels as pairs

    wrong = kernels.unusable(b, s)
    if wrong >= 0:
        raise InvalidInput(
            f"box {wrong} is {b[wrong].tolist()} with score {float(s[wrong])}: x0 ≤ x1, y0 ≤ y1, all finite numbers"
        )
    order, tied = kernels.by_score(s, b)
    if tied > 64:
        order = np.lexsort((b[:, 3], b[:, 2], b[:, 1], b[:, 0], -s))
    if names.min() < 0 or names.max() > _LARGEST:
        names = np.unique(names, return_inverse=True)[1].reshape(-1)
    groups: NDArray[np.int64]
    first, second, found = pairs.overlapping(b, names, float(threshold), metric == "IOU", _MOST_PAIRS * len(b))
    if found >= 0:
        groups = pairs.absorbed(order, first, second, found)
    else:  # then a grid, that tells the neighbours of those alone that are kept
        groups = kernels.greedy(b, order, names, float(threshold), metric == "IOU")
    return groups
