"""A detection study: cells of frozen maps, a small head that finds boxes, and average precision on held-out ground."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from groundlook.core.geometry import Box
from groundlook.core.pool import Fitted, Ground
from groundlook.core.ports import Embedder, Progress
from groundlook.core.types import Prediction, Region
from groundlook.models.studies import boxes, dense
from groundlook.models.studies.cells import Recipe, learn, say
from groundlook.models.studies.maps import maps
from groundlook.models.studies.sets import ground, read

BOX_S = 7.0
"""Seconds a box: four extreme clicks (Papadopoulos et al., "Extreme clicking", ICCV 2017)."""
SHOWN = 0.25
_Found = tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.integer]]
Measure = Callable[[Sequence[_Found], Sequence[tuple[NDArray[np.floating], NDArray[np.integer]]]], Mapping[str, float]]
"""(boxes, scores, classes of each tile; boxes, classes of its truth) → "mAP50": `evaluation.metrics`."""


@dataclass(frozen=True, slots=True, eq=False)
class DetectionStudy:
    """Implements `core.ports.Study`. Of the N tiles that may be labelled, then of the T to test on: `maps`, float16
    (N + T, h, w, P), and `truth`, boxes (K, 4) each, x0 y0 x1 y1 in cells. Of the N: `embedding`, float32 (N, D), and
    `place`. `scored`, `judged`: how a project scores tiles, and how a detector is measured. Quality is mAP50.

    A pool's `counts` are the sum of the scores of what was found, scaled so that they are right for the labelled tiles
    together; `empty`: how likely all of what was found is nothing."""

    name: str
    maps: NDArray[np.float16]
    truth: tuple[NDArray[np.float64], ...]
    embedding: NDArray[np.float32]
    place: Ground
    scored: dense.Scored
    judged: Measure
    recipe: Recipe = field(default_factory=Recipe)
    kind: str = "detection"
    measure: str = "mAP50"
    _targets: list[NDArray[np.float32]] = field(default_factory=list, init=False, repr=False)

    @property
    def labels(self) -> NDArray[np.float64]:
        """See `core.ports.Study`: boxes."""
        return np.array([len(one) for one in self.truth[: len(self.embedding)]], np.float64)

    @property
    def seconds(self) -> NDArray[np.float64]:
        """See `core.ports.Study`."""
        return dense.LOOK_S + BOX_S * self.labels

    @property
    def foreground(self) -> NDArray[np.bool_]:
        """See `core.ports.Study`."""
        return self.labels > 0

    def fit(self, labelled: NDArray[np.int64], seed: int) -> Fitted:
        """See `core.ports.Study`. Of labelled tiles that are all empty no detector comes."""
        count, rows = len(self.embedding), np.sort(labelled)
        rest = np.setdiff1d(np.arange(count), labelled)
        have = float(self.labels[labelled].sum())
        pool = dense.pool_of(self.kind, rest, labelled, self.embedding, have, self.place)
        if not have:
            return Fitted(float("nan") if not len(labelled) else 0.0, pool)
        wanted = self._wanted()[rows].reshape(-1, 5)
        cells = self.maps[rows].reshape(-1, self.maps.shape[-1])
        net = learn(cells, wanted[:, 0] > 0, boxes.loss_of(wanted), boxes.BIAS, seed, self.recipe)
        found = [boxes.detections(one) for one in say(net, self.maps, np.arange(len(self.maps)))]
        mine, tested = [found[row] for row in rest], found[count:]
        sums = np.array([scores.sum() for _, scores, _ in found], np.float64)
        counts = (sums[rest, None] * have / max(sums[labelled].sum(), 1e-9)).astype(np.float32)
        empty = np.array([np.prod(1 - scores.astype(np.float64)) for _, scores, _ in mine])
        predictions = [self._prediction(*one) for one in mine]
        return Fitted(self._quality(tested), dense.seen(pool, predictions, self.scored, counts, empty, BOX_S))

    def _wanted(self) -> NDArray[np.float32]:
        if not self._targets:
            side = self.maps.shape[1]
            self._targets.append(np.stack([boxes.targets(one, side) for one in self.truth[: len(self.embedding)]]))
        return self._targets[0]

    def _quality(self, tested: Sequence[tuple[NDArray[np.float32], NDArray[np.float32], float]]) -> float:
        found = [(box, score, np.zeros(len(box), np.int64)) for box, score, _ in tested]
        truth = [(box, np.zeros(len(box), np.int64)) for box in self.truth[len(self.embedding) :]]
        return float(self.judged(found, truth)["mAP50"])

    def _prediction(self, found: NDArray[np.float32], score: NDArray[np.float32], peak: float) -> Prediction:
        shown = [(box, float(s)) for box, s in zip(found.astype(float).tolist(), score, strict=True) if s >= SHOWN]
        regions = tuple(Region(Box(x0, y0, x1 - x0, y1 - y0), "object", s) for (x0, y0, x1, y1), s in shown)
        size = (self.maps.shape[2], self.maps.shape[1])
        return Prediction(dense.VERSION, regions, score[:, None], peak, size=size)


def open_study(
    path: Path,
    embedder: Embedder,
    cache: Path,
    progress: Progress,
    *,
    backbone: str,
    scored: dense.Scored,
    judged: Measure,
) -> DetectionStudy:
    """The set at `path` (`sets.read`), of objects of one class. `embedder` gives the pool's vectors, `backbone`, the
    text that names it, the maps (`maps.look`). Raises what these raise."""
    tiles = sorted(read(path), key=lambda tile: tile.test)
    mine = [tile for tile in tiles if not tile.test]
    seen = maps(tiles, backbone, cache, progress)
    vectors = dense.embedded(mine, embedder, cache, progress)
    truth = tuple(_in_cells(tile.boxes(), tile.pixels.shape[:2], seen.shape[1]) for tile in tiles)
    return DetectionStudy(path.resolve().name, seen, truth, vectors, ground(mine), scored, judged)


def _in_cells(found: NDArray[np.float64], size: tuple[int, ...], side: int) -> NDArray[np.float64]:
    height, width = size
    return np.asarray(found * np.array([side / width, side / height] * 2))
