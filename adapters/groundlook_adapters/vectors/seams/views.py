"""Boxes that a model found in overlapping windows → things, each once.

Unlike merging by overlap alone, this knows which window each box comes from and what that window could see of the
scene: boxes are compared where both windows look, a box at the edge of its window may be a part of a larger one, and
two boxes of one window are two things.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

EDGE = 4.0
"""Pixels: a box that comes this near to an inner side of its window may go on beyond it."""
SAME = 0.3
"""Intersection over union, in what both windows see, from which two boxes may show the same. Low, as a small box that
is off by a few pixels has little: that neighbours stay apart is not its doing, but that each finds its own better."""
COVERED = 0.8
"""Share of a box that was cut off that must lie in the box of which it is a part."""
SLACK_PX, SLACK = 3.0, 0.1
"""How far that part may stand out of it: px, or a share of its shorter side where that is more."""
APART = 0.1
"""Share of the smaller by which two parts of one thing may overlap within one window."""

_WHOLE = 0.5
"""Share of the box around all views of a thing that one must fill to show all of it."""


@dataclass(frozen=True, slots=True, eq=False)
class Views:
    """N boxes that windows show. `boxes` float64 (N, 4): x0, y0, x1, y1 in px of the scene. `windows` int64 (N, 4):
    left, top, right, bottom of the window of each; `inner` bool (N, 4): the sides, in that order, beyond which the
    scene goes on. `labels` int64 (N,)."""

    boxes: Floats
    windows: Ints
    inner: NDArray[np.bool_]
    labels: Ints

    def take(self, which: NDArray[np.bool_] | Ints) -> Views:
        """The rows that an index or mask picks."""
        return Views(self.boxes[which], self.windows[which], self.inner[which], self.labels[which])


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Rows that show the same thing, `first` < `second`; `sure`: from SAME on the overlap in what both windows see,
    below it one was cut off and is a part of the other."""

    first: Ints
    second: Ints
    sure: Floats

    def take(self, which: NDArray[np.bool_]) -> Pairs:
        """The pairs that a mask picks."""
        return Pairs(self.first[which], self.second[which], self.sure[which])


def view_links(views: Views) -> Pairs:
    """Which rows show the same thing.

    Rows of different windows and one label, where, in the ground that both windows see, their IoU is 0.3 or more, or
    one was cut off by its window, goes on in the other, and lies in it by 0.8. Where windows meet without overlap: both
    are cut there, and their IoU along the seam is 0.3 or more.
    """
    from groundlook_adapters.vectors.seams import views_kernels as kernels

    rules = (EDGE, SAME, COVERED, SLACK_PX, SLACK)
    return Pairs(*kernels.links(views.boxes, views.windows, _numbers(views), views.inner, views.labels, rules))


def view_groups(views: Views, pairs: Pairs | None = None) -> Ints:
    """The thing of each row: int64 (N,), the first of its rows. The surest links come first, and two boxes of one
    window stay two, unless its edge cut both of them off a thing that another window shows whole."""
    from groundlook_adapters.vectors.seams import views_kernels as kernels

    pairs = view_links(views) if pairs is None else pairs
    order = np.lexsort((pairs.second, pairs.first, -pairs.sure))
    window, is_cut = _numbers(views), cut_off(views)
    found: Ints = kernels.things(
        views.boxes, window, is_cut, pairs.first[order], pairs.second[order], pairs.sure[order], SAME, APART
    )
    return found


def cut_off(views: Views) -> NDArray[np.bool_]:
    """(N,): the boxes that reach an inner side of their window, so that it may not show all of them."""
    from groundlook_adapters.vectors.seams import views_kernels as kernels

    found: NDArray[np.bool_] = kernels.cut(views.boxes, views.windows, views.inner, EDGE)
    return found


def merged_boxes(views: Views, scores: Floats, groups: Ints) -> tuple[Floats, Ints]:
    """(M, 4), (M,): each thing's box and the row that stands for it, in the order of the things' first rows. Where
    windows show all of a thing, the mean of their boxes by score (Solovyev et al. 2021, weighted boxes fusion), and the
    row that has it most in the middle of its window; else the box around all of its boxes.

    `scores` (N,): above 0.
    """
    if len(groups) == 0:
        return np.zeros((0, 4)), groups
    _, first, thing = np.unique(groups, return_index=True, return_inverse=True)
    order = np.argsort(thing, kind="stable")
    starts = np.searchsorted(thing[order], np.arange(len(first)))
    around = np.concatenate(
        [
            np.minimum.reduceat(views.boxes[order, :2], starts, axis=0),
            np.maximum.reduceat(views.boxes[order, 2:], starts, axis=0),
        ],
        axis=1,
    )
    # A box that ends well before its window does is no proof: its window's edge may have shortened it all the same
    part = cut_off(views) | (_areas(views.boxes) < _WHOLE * _areas(around)[thing])
    twice = views.boxes[:, :2] + views.boxes[:, 2:] - views.windows[:, :2] - views.windows[:, 2:]
    off = np.round(np.hypot(twice[:, 0], twice[:, 1]) / 2, 2)  # so that ties don't hang on rounding
    best = np.lexsort((off, part, thing))[starts]
    weight = np.where(part, 0.0, scores)[order][:, None]
    total = np.add.reduceat(weight, starts, axis=0)
    mean = np.add.reduceat(views.boxes[order] * weight, starts, axis=0) / np.where(total > 0, total, 1.0)
    boxes = np.where(total > 0, mean, around)
    alone = np.diff(starts, append=len(order)) == 1
    boxes[alone] = views.boxes[best[alone]]  # as it was, to the last bit
    return boxes, best


def _areas(boxes: Floats) -> Floats:
    areas: Floats = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return areas


def _numbers(views: Views) -> Ints:
    """(N,): equal for rows of one window."""
    if len(views.windows) == 0:
        return np.zeros(0, np.int64)
    _, number = np.unique(views.windows, axis=0, return_inverse=True)
    return number.reshape(-1).astype(np.int64)
