"""Which regions of different annotators are the same thing, and what of them stands for it.

After weighted boxes fusion (Solovyev, Wang, Gabruseva 2021, arXiv:1910.13302), which clusters the boxes of several
models by label and overlap and averages each cluster. People have no confidence to weigh by, so the median takes the
place of the mean; and outlines can't be averaged, so the one that is most like the others stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from groundlook.core.geometry import Box, Shape, box_iou, envelope
from groundlook.core.mask import Mask
from groundlook.core.types import Region

SAME_PLACE = 0.5
"""The IoU from which two regions are the same thing."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """(annotator, region) of one thing, oldest annotator first; nobody is in it twice."""

    members: tuple[tuple[int, Region], ...]


def cluster(regions: Sequence[Sequence[Region]]) -> list[Cluster]:
    """The things behind the regions of each annotator, oldest annotator first, in the order in which the newest of
    those who drew each has them.

    Pairs that overlap by `SAME_PLACE` become one thing, the closest first and those of one label before others, as long
    as nobody would be in it twice: what one person drew as two things stays two.
    """
    flat = [(who, region) for who, of_one in enumerate(regions) for region in of_one]
    thing = {i: [i] for i in range(len(flat))}
    for one, other in _pairs(flat):
        a, b = thing[one], thing[other]
        if a is not b and not {flat[i][0] for i in a} & {flat[i][0] for i in b}:
            a += b
            for i in b:
                thing[i] = a
    once = {id(group): sorted(group) for group in thing.values()}
    latest = sorted(once.values(), key=lambda group: (-flat[group[-1]][0], group[-1]))
    return [Cluster(tuple(flat[i] for i in group)) for group in latest]


def common(found: Cluster) -> Region:
    """The region that stands for a thing, under the newest member's name: upright boxes give the median of their
    sides, else it is the member with the highest mean IoU to the others; of equals, the newest."""
    shapes = [region.shape for _, region in found.members]
    newest = found.members[-1][1]
    if len(set(shapes)) == 1:
        return newest
    if all(isinstance(shape, Box) and not shape.rotation for shape in shapes):
        x0, y0, x1, y1 = map(median, zip(*map(envelope, shapes), strict=True))
        return replace(newest, shape=Box(x0, y0, x1 - x0, y1 - y0))
    outlines = [_outline(shape) for shape in shapes]
    likeness = [sum(iou(a, b) for j, b in enumerate(outlines) if j != i) for i, a in enumerate(outlines)]
    best = max(range(len(shapes)), key=lambda i: (likeness[i], i))
    return found.members[best][1]


def _pairs(flat: Sequence[tuple[int, Region]]) -> list[tuple[int, int]]:
    """Rows of `flat` that overlap enough, each of another annotator; one label first, then the closest."""
    who = np.array([who for who, _ in flat])
    sides = np.array([envelope(region.shape) for _, region in flat], np.float64).reshape(-1, 4)
    one, other = np.nonzero(np.triu(box_iou(sides, sides) > 0, 1) & (who[:, None] != who))
    outlines = {i: _outline(flat[i][1].shape) for i in {*one.tolist(), *other.tolist()}}
    found = []
    for i, j in zip(one.tolist(), other.tolist(), strict=True):
        overlap = iou(outlines[i], outlines[j])
        if overlap >= SAME_PLACE:
            found.append((flat[i][1].label != flat[j][1].label, -overlap, i, j))
    return [(i, j) for *_, i, j in sorted(found)]


def _outline(shape: Shape) -> Any:
    """What `iou` takes: runs of a mask (N, 2), else a shapely geometry."""
    if isinstance(shape, Mask):
        return shape.runs
    corners = shape.corners()
    polygon = shapely.Polygon(corners) if len(corners) > 2 else shapely.Polygon()
    return polygon if polygon.is_valid else shapely.make_valid(polygon)


def iou(a: Any, b: Any) -> float:
    """Intersection over union of two outlines; 0 between a mask and anything else, which no project should mix."""
    if isinstance(a, np.ndarray) != isinstance(b, np.ndarray):
        return 0.0
    if isinstance(a, np.ndarray):
        both, one, other = _shared(a, b), _length(a), _length(b)
    else:
        both, one, other = shapely.intersection(a, b).area, a.area, b.area
    return float(both / (one + other - both)) if both > 0 else 0.0


def _length(runs: NDArray[np.int64]) -> float:
    return float((runs[:, 1] - runs[:, 0]).sum())


def _shared(a: NDArray[np.int64], b: NDArray[np.int64]) -> float:
    """Pixels in both: how much of `a` lies before each end of a run of `b`, less what lies before its start."""
    if not len(a) or not len(b):
        return 0.0
    before = np.concatenate([[0], np.cumsum(a[:, 1] - a[:, 0])])
    known = np.stack([before[:-1], before[1:]], axis=1).ravel()
    counted = np.interp(b.astype(np.float64), a.ravel().astype(np.float64), known.astype(np.float64))
    return float((counted[:, 1] - counted[:, 0]).sum())
