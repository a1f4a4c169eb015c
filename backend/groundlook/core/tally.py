"""What was right and wrong on each of N tiles: enough to know the quality of any part or resample of them.

`weights`, float64 (B, N), say how often each tile counts in each of B resamples. Matching is done within a tile, once;
a resample only sorts and adds up again. C labels, in the order of the exam's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

_AT_ONCE = 2_000_000
"""Numbers in a piece of work: 16 MB, so that a piece stays near the processor."""


@dataclass(frozen=True, slots=True, eq=False)
class BoxTally:
    """Of D detections: the row of its `tile`, `label` and `score`, whether it is `right` (the truth of that label that
    nothing surer took, IoU of .5) and whether at an IoU of .75, `close`, each (D,). `objects`: (N, C), the truths.
    Quality is mAP50."""

    tile: Ints
    label: Ints
    score: Floats
    right: Flags
    close: Flags
    objects: Ints
    measure = "mAP50"

    def part(self, rows: Ints) -> BoxTally:
        """Of these tiles only, in this order."""
        place = np.full(len(self.objects), -1)
        place[rows] = np.arange(len(rows))
        kept = np.flatnonzero(place[self.tile] >= 0)
        return BoxTally(
            place[self.tile[kept]],
            self.label[kept],
            self.score[kept],
            self.right[kept],
            self.close[kept],
            self.objects[rows],
        )

    def fit(self) -> BoxTally:
        """The same, where a box counts that fits closely: quality is mAP75."""
        return replace(self, right=self.close)

    def quality(self, weights: Floats) -> Floats:
        """(B, 1 + C): the mean over the labels that occur, then the average precision of each, NaN where none is."""
        wanted = weights @ self.objects
        found = np.full(wanted.shape, np.nan)
        for label in range(self.objects.shape[1]):
            rows = np.flatnonzero(self.label == label)
            rows = rows[np.argsort(-self.score[rows], kind="stable")]
            some = wanted[:, label] > 0
            found[some, label] = _average(weights[some], wanted[some, label], self.tile[rows], self.right[rows])
        return _with_mean(found)

    def threshold(self) -> float:
        """The score at which F1 over all labels is best: what is sure enough to be shown; inf where nothing is
        right."""
        order = np.argsort(-self.score, kind="stable")
        found = np.cumsum(self.right[order])
        if not len(found) or not found[-1]:
            return float("inf")
        f1 = 2 * found / (np.arange(1, len(found) + 1) + self.objects.sum())
        return float(self.score[order][f1.argmax()])

    def mistakes(self) -> Floats:
        """(N,): truths missed and things found that are not there, at `threshold`."""
        shown = self.score >= self.threshold()
        hits = np.bincount(self.tile[shown & self.right], minlength=len(self.objects))
        said = np.bincount(self.tile[shown], minlength=len(self.objects))
        return np.asarray(self.objects.sum(axis=1) + said - 2 * hits, np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class PixelTally:
    """Pixels of each tile by class, background first, each (N, 1 + C): `wanted`, `found`, and `both`. `objects`:
    (N, C), the regions that people drew. Quality is the mean IoU."""

    wanted: Ints
    found: Ints
    both: Ints
    objects: Ints
    measure = "mean IoU"

    def part(self, rows: Ints) -> PixelTally:
        """Of these tiles only, in this order."""
        return PixelTally(self.wanted[rows], self.found[rows], self.both[rows], self.objects[rows])

    def quality(self, weights: Floats) -> Floats:
        """(B, 1 + C): the mean over the labels that occur, then the IoU of each, NaN where none is."""
        wanted, found, both = (weights @ part[:, 1:] for part in (self.wanted, self.found, self.both))
        return _with_mean(_share(both, wanted + found - both, wanted > 0))

    def threshold(self) -> float:
        """0: every region is a part of the answer."""
        return 0.0

    def mistakes(self) -> Floats:
        """(N,): the share of a tile's pixels that have the wrong class."""
        return np.asarray(1 - self.both.sum(axis=1) / np.maximum(self.wanted.sum(axis=1), 1), np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class ClassTally:
    """Which classes were said of each tile and which are `true`, each bool (N, C); a tile that is not counted has
    neither. Quality is the macro F1."""

    said: Flags
    true: Flags
    measure = "macro F1"

    @property
    def objects(self) -> Ints:
        """(N, C): the choices that people made."""
        return self.true.astype(np.int64)

    def part(self, rows: Ints) -> ClassTally:
        """Of these tiles only, in this order."""
        return ClassTally(self.said[rows], self.true[rows])

    def quality(self, weights: Floats) -> Floats:
        """(B, 1 + C): the mean over the labels that occur, then the F1 of each, NaN where none is."""
        hits, wanted, said = (weights @ part for part in (self.said & self.true, self.true, self.said))
        return _with_mean(_share(2 * hits, wanted + said, wanted > 0))

    def threshold(self) -> float:
        """0: every class that was said is a part of the answer."""
        return 0.0

    def mistakes(self) -> Floats:
        """(N,): 1 where anything else was said than is true, else 0."""
        return np.asarray((self.said != self.true).any(axis=1), np.float64)


Tally = BoxTally | PixelTally | ClassTally


def _average(weights: Floats, wanted: Floats, tile: Ints, right: Flags) -> Floats:
    """(B,): the 101-point average precision of one label's detections, best first. `wanted`: (B,), its truths.

    Precision is highest right after a hit, so only hits are looked at. A tile that counts twice has its hits side by
    side, where the second has the better precision and the further recall: one step of two is the same.
    """
    columns = np.ascontiguousarray(weights.T)
    result = np.zeros(len(wanted))
    step = max(_AT_ONCE // max(len(tile), 1), 1)
    for start in range(0, len(wanted) if right.any() else 0, step):
        piece = slice(start, start + step)
        drawn = np.take(columns[:, piece], tile, axis=0)
        found = np.cumsum(drawn[right], axis=0)
        precision = _share(found, np.cumsum(drawn, axis=0)[right], None)
        best = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
        # The recalls 0, .01, … that each hit is the first to reach; the term guards against 29.999999999999996.
        passed = np.floor(100 * found / wanted[piece] + 1e-9)
        result[piece] = (best[0] + (best * np.diff(passed, axis=0, prepend=0)).sum(axis=0)) / 101
    return result


def _share(part: Floats, whole: Floats, known: Flags | None) -> Floats:
    """part / whole; 0 where the whole is 0, NaN where it is not known."""
    shares = np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
    return shares if known is None else np.where(known, shares, np.nan)


def _with_mean(labels: Floats) -> Floats:
    """(B, C) → (B, 1 + C): the mean of those that are known in front, NaN of none."""
    known = np.isfinite(labels)
    count = known.sum(axis=1)
    mean = np.where(known, labels, 0).sum(axis=1) / np.maximum(count, 1)
    return np.column_stack([np.where(count > 0, mean, np.nan), labels])
