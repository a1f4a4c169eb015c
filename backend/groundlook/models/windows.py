"""What the windows of one large tile show of one thing: the part that a window cuts off gives way to the whole."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from groundlook.core.geo import WindowPx

_TOUCHES_PX = 4.0
_COVERED = 0.8
_AS_SURE = 0.5


def uncut(
    boxes: NDArray[np.floating],
    score: NDArray[np.floating],
    label: NDArray[np.integer],
    window: NDArray[np.integer],
    windows: Sequence[WindowPx],
) -> NDArray[np.bool_]:
    """(M,): False for boxes that are a part, cut off, of what another window shows.

    Such a box comes within 4 px of a side of its window beyond which the tile goes on, and a box of the same label from
    another window, at least half as sure and larger or not cut itself, covers .8 of it or more. Suppression can't tell:
    a part overlaps the whole too little, or is the surer one. `boxes`: (M, 4) x0, y0, x1, y1 in tile px, of turned ones
    the envelope; `window`: (M,) the place in `windows` of the one that shows each.
    """
    kept = np.ones(len(boxes), dtype=bool)
    if len(windows) < 2:
        return kept
    frames = np.array(windows, dtype=np.float64)
    frames[:, 2:] += frames[:, :2]
    ends = np.concatenate([frames[:, :2].min(axis=0), frames[:, 2:].max(axis=0)])
    own = frames[window]
    seen = np.concatenate([np.maximum(boxes[:, :2], own[:, :2]), np.minimum(boxes[:, 2:], own[:, 2:])], axis=1)
    cut = ((np.abs(seen - own) <= _TOUCHES_PX) & (own != ends)).any(axis=1)
    area = np.prod(np.maximum(seen[:, 2:] - seen[:, :2], 0), axis=1)
    for place, (x0, y0, x1, y1) in enumerate(frames):
        parts = np.flatnonzero(cut & (window == place) & (area > 0))
        if not len(parts):
            continue
        meets = (seen[:, 0] < x1) & (seen[:, 1] < y1) & (seen[:, 2] > x0) & (seen[:, 3] > y0)
        others = np.flatnonzero(meets & (window != place))
        a, b = seen[parts, None], seen[None, others]
        both = np.maximum(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0).prod(axis=2)
        covers = both >= _COVERED * area[parts, None]
        covers &= label[parts, None] == label[others]
        covers &= score[others] >= _AS_SURE * score[parts, None]
        covers &= ~cut[others] | (area[others] > area[parts, None])
        kept[parts] = ~covers.any(axis=1)
    return kept
