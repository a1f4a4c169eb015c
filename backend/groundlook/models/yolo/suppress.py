"""Many candidates of one thing → the best of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from groundlook.core.geo import WindowPx
from groundlook.models.windows import uncut
from groundlook.models.yolo.candidates import Candidates, Floats, joined

OVERLAP = 0.6
"""Two candidates of one label that overlap by more (IoU) are one thing."""
MOST = 1000
"""Of one window."""
_MOST_COMPARED = 30_000
_MOST_TURNED = 3_000


def best(parts: Sequence[Candidates], windows: Sequence[WindowPx], turned: bool) -> Candidates:
    """Of the candidates that the `windows` of a tile show, each of the things once, best first: in each window by
    suppression, then without what a window cut off, then by suppression again. `turned`: `extra` holds angles."""
    if len(parts) == 1:
        return _kept(parts[0], turned, 1)
    every = joined([_kept(part, turned, 1) for part in parts])
    half = np.stack(_half_sides(every.boxes, every.extra[:, 0]), 1) if turned else every.boxes[:, 2:] / 2
    corners = np.concatenate([every.boxes[:, :2] - half, every.boxes[:, :2] + half], 1)
    score, label = every.proba.max(axis=1, initial=0), every.proba.argmax(axis=1)
    # (a window has no prototypes where the network makes no masks, and `window` counts parts all the same)
    whole = uncut(corners, score, label, every.window, windows)
    return _kept(every.take(np.flatnonzero(whole)), turned, len(parts))


def _kept(every: Candidates, turned: bool, windows: int) -> Candidates:
    score, label = every.proba.max(axis=1, initial=0), every.proba.argmax(axis=1)
    return every.take(suppressed(every.boxes, score, label, every.extra[:, 0] if turned else None, windows))


def suppressed(
    boxes: Floats, score: Floats, label: NDArray[np.intp], angle: Floats | None = None, windows: int = 1
) -> NDArray[np.intp]:
    """Places of those that no better one of the same label covers, best first, `MOST` for each window at most.

    `boxes`: (M, 4) centre x, y, width, height; `angle`: (M,) radians clockwise, None for upright boxes. Greedy, over
    the 30,000 best for each window (3,000 of turned boxes).
    """
    most = (_MOST_COMPARED if angle is None else _MOST_TURNED) * windows
    order = np.argsort(-score, kind="stable")[:most]
    if angle is None:
        return order[_upright(boxes[order], label[order], MOST * windows)]
    return order[_turned(boxes[order], label[order], angle[order])][: MOST * windows]


def _upright(boxes: Floats, label: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    """Sorted, best first. Without torchvision's, which would bring PyTorch into a process that needs none."""
    half = boxes[:, 2:] / 2
    low, high = (boxes[:, :2] - half).T.copy(), (boxes[:, :2] + half).T.copy()
    area = np.prod(high - low, axis=0)
    left = np.arange(len(boxes))
    kept: list[int] = []
    while len(left) and len(kept) < most:
        best, others = left[0], left[1:]
        kept.append(best)
        sides = np.minimum(high[:, others], high[:, best, None]) - np.maximum(low[:, others], low[:, best, None])
        both = np.prod(np.maximum(sides, 0), axis=0)
        covered = both > OVERLAP * (area[others] + area[best] - both)
        left = others[~(covered & (label[others] == label[best]))]
    return np.array(kept, np.intp)


def _turned(boxes: Floats, label: NDArray[np.intp], angle: Floats) -> NDArray[np.intp]:
    """Sorted, best first. Only pairs whose upright envelopes meet are compared: ultralytics compares all, which takes
    seconds where there are many."""
    first, second = _meeting(boxes, label, angle)
    over = overlap(boxes, angle, first, second) > OVERLAP
    first, second = first[over], second[over]
    order = np.argsort(first, kind="stable")
    first, second = first[order], second[order]
    starts = np.searchsorted(first, np.arange(len(boxes) + 1))
    alive = np.ones(len(boxes), bool)
    for i in np.unique(first):
        if alive[i]:
            alive[second[starts[i] : starts[i + 1]]] = False
    return np.flatnonzero(alive)


def _meeting(boxes: Floats, label: NDArray[np.intp], angle: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pairs (better, worse) of one label whose upright envelopes meet, by a sweep along x."""
    half_x, half_y = _half_sides(boxes, angle)
    order = np.argsort(boxes[:, 0] - half_x, kind="stable")
    lefts = (boxes[:, 0] - half_x)[order]
    ends = np.searchsorted(lefts, (boxes[:, 0] + half_x)[order], side="right")
    counts = ends - np.arange(len(order)) - 1
    i = np.repeat(np.arange(len(order)), counts)
    j = i + 1 + np.arange(len(i)) - np.repeat(np.cumsum(counts) - counts, counts)
    a, b = order[i], order[j]
    near = (np.abs(boxes[a, 1] - boxes[b, 1]) <= half_y[a] + half_y[b]) & (label[a] == label[b])
    a, b = a[near], b[near]
    return np.minimum(a, b), np.maximum(a, b)


def _half_sides(boxes: Floats, angle: Floats) -> tuple[Floats, Floats]:
    """Of the upright envelopes: half their widths, half their heights."""
    cos, sin = np.abs(np.cos(angle)), np.abs(np.sin(angle))
    return (boxes[:, 2] * cos + boxes[:, 3] * sin) / 2, (boxes[:, 2] * sin + boxes[:, 3] * cos) / 2


def overlap(boxes: Floats, angle: Floats, first: NDArray[np.intp], second: NDArray[np.intp]) -> NDArray[np.float64]:
    """Of pairs of turned boxes: 1 − the Hellinger distance of their Gaussians (ProbIoU, arXiv 2106.06072), the measure
    that the networks are trained with. 0…1."""
    wide, high = boxes[:, 2].astype(np.float64) ** 2 / 12, boxes[:, 3].astype(np.float64) ** 2 / 12
    cos, sin = np.cos(angle.astype(np.float64)), np.sin(angle.astype(np.float64))
    a, b = wide * cos**2 + high * sin**2, wide * sin**2 + high * cos**2
    c = (wide - high) * cos * sin
    dx, dy = (boxes[first, k].astype(np.float64) - boxes[second, k] for k in (0, 1))
    sa, sb, sc = a[first] + a[second], b[first] + b[second], c[first] + c[second]
    det = sa * sb - sc**2 + 1e-7
    far = (sa * dy**2 + sb * dx**2 - 2 * sc * dx * dy) / det / 4
    own = np.clip(a * b - c**2, 0, None)
    apart = 0.5 * np.log(np.maximum(det / (4 * np.sqrt(own[first] * own[second]) + 1e-7), 1e-7))
    distance = np.clip(far + apart, 1e-7, 100)
    found: NDArray[np.float64] = 1 - np.sqrt(1 - np.exp(-distance) + 1e-7)
    return found
