"""Masks found in different views of one picture: joined where a view's edge cut them, and told apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groundlook.core.geo import WindowPx
from groundlook.core.mask import Mask
from groundlook.core.prompts import Cut

_AGREE = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """`pixels`: bool (h, w) of its own box, whose first pixel is at (`x`, `y`) of the scene. `view`: the window it was
    found in; `cut`: whether that window's edge, where the scene goes on, cuts it."""

    x: int
    y: int
    pixels: NDArray[np.bool_]
    score: float
    terms: Mapping[str, float]
    view: WindowPx
    cut: bool = False

    @classmethod
    def of(cls, cut: Cut, x: int, y: int, view: tuple[int, int], scene: tuple[int, int]) -> Piece:
        """A mask found in the view of size `view` whose first pixel is at (x, y) of the scene."""
        (left, top), (right, bottom) = cut.mask.corners()[[0, 2]].astype(int)
        pixels = cut.mask.pixels()[top:bottom, left:right].copy()
        inner = (left == 0 and x > 0) or (top == 0 and y > 0)
        inner = inner or (right == view[0] and x + view[0] < scene[0]) or (bottom == view[1] and y + view[1] < scene[1])
        return cls(x + int(left), y + int(top), pixels, cut.score, cut.terms, (x, y, *view), bool(inner))

    @property
    def box(self) -> tuple[int, int, int, int]:
        """(x0, y0, x1, y1)."""
        return self.x, self.y, self.x + self.pixels.shape[1], self.y + self.pixels.shape[0]

    def within(self, box: tuple[int, int, int, int]) -> NDArray[np.bool_]:
        """Its pixels in `box`, which it need not fill."""
        x0, y0, x1, y1 = box
        found = np.zeros((y1 - y0, x1 - x0), bool)
        a0, b0, a1, b1 = max(x0, self.x), max(y0, self.y), min(x1, self.box[2]), min(y1, self.box[3])
        if a1 > a0 and b1 > b0:
            part = self.pixels[b0 - self.y : b1 - self.y, a0 - self.x : a1 - self.x]
            found[b0 - y0 : b1 - y0, a0 - x0 : a1 - x0] = part
        return found

    def mask(self, width: int, height: int) -> Mask:
        """As a mask of the scene; only its own box is looked at."""
        local = Mask.of(np.pad(self.pixels, ((0, 0), (0, 1))))  # a column of nothing, so that no run goes on in a row
        rows, columns = np.divmod(local.runs, local.width)
        runs = (rows + self.y) * width + columns + self.x
        # In the scene, a run that reaches its right edge touches one that begins the next row.
        gaps = runs[1:, 0] != runs[:-1, 1]
        starts, ends = runs[np.r_[True, gaps][: len(runs)], 0], runs[np.r_[gaps, True][-len(runs) :], 1]
        return Mask(width, height, np.stack([starts, ends], 1) if len(runs) else runs)


def distinct(pieces: Sequence[Piece], overlap: float) -> list[Piece]:
    """Best first, each with less than `overlap` IoU to every better one. Between two of one score, the first stays."""
    kept: list[Piece] = []
    boxes: NDArray[np.float64] = np.zeros((0, 4))
    for piece in sorted(pieces, key=lambda one: -one.score):
        box = np.array(piece.box, np.float64)
        near = np.flatnonzero((boxes[:, :2] < box[2:]).all(1) & (boxes[:, 2:] > box[:2]).all(1))
        if all(_iou(piece, kept[i]) < overlap for i in near):
            kept.append(piece)
            boxes = np.vstack([boxes, box])
    return kept


def joined(pieces: Sequence[Piece]) -> list[Piece]:
    """Whole pieces as they are; cut ones united with those of other views that they agree with where both look."""
    cut = [piece for piece in pieces if piece.cut]
    parent = list(range(len(cut)))

    def root(i: int) -> int:
        while parent[i] != i:
            i = parent[i] = parent[parent[i]]
        return i

    for i, one in enumerate(cut):
        for j in range(i):
            if one.view != cut[j].view and _same(one, cut[j]):
                parent[root(i)] = root(j)
    groups: dict[int, list[Piece]] = {}
    for i, one in enumerate(cut):
        groups.setdefault(root(i), []).append(one)
    united = [_united(group) for group in groups.values() if len({piece.view for piece in group}) > 1]
    return [*(piece for piece in pieces if not piece.cut), *united]


def _shared(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> tuple[int, int, int, int] | None:
    x0, y0, x1, y1 = max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])
    return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None


def _iou(a: Piece, b: Piece) -> float:
    box = _shared(a.box, b.box)
    if box is None:
        return 0.0
    both = int(np.count_nonzero(a.within(box) & b.within(box)))
    union = int(np.count_nonzero(a.pixels)) + int(np.count_nonzero(b.pixels)) - both
    return both / union if union else 0.0


def _same(a: Piece, b: Piece) -> bool:
    """Whether two views agree on the ground that both see."""
    ground = _shared(_corners(a.view), _corners(b.view))
    if ground is None or _shared(a.box, b.box) is None:
        return False
    mine, other = a.within(ground), b.within(ground)
    union = int(np.count_nonzero(mine | other))
    return bool(union) and int(np.count_nonzero(mine & other)) / union >= _AGREE


def _corners(window: WindowPx) -> tuple[int, int, int, int]:
    return window[0], window[1], window[0] + window[2], window[1] + window[3]


def _united(group: Sequence[Piece]) -> Piece:
    """Their union, as sure as the least sure of them."""
    boxes = np.array([piece.box for piece in group])
    (x0, y0), (x1, y1) = boxes[:, :2].min(0), boxes[:, 2:].max(0)
    box = (int(x0), int(y0), int(x1), int(y1))
    worst = min(group, key=lambda piece: piece.score)
    pixels = np.logical_or.reduce([piece.within(box) for piece in group])
    return Piece(box[0], box[1], pixels, worst.score, worst.terms, worst.view)
