"""A segmentation study: cells of frozen maps, a small head that says which pixels are something, IoU on held-out
ground."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from groundlook.core.mask import Mask
from groundlook.core.pool import Fitted, Ground
from groundlook.core.ports import Embedder, Progress
from groundlook.core.types import Prediction, Region
from groundlook.models.studies import dense
from groundlook.models.studies.cells import Loss, Recipe, learn, say
from groundlook.models.studies.maps import maps
from groundlook.models.studies.sets import Labelled, ground, read

OUTLINE_S, CORNER_S = 10.0, 1.5
"""Seconds to find an object and close its outline, and for each of its corners."""
FINE = 4
"""A cell says FINE × FINE pixels."""
_LEAST = 0.4
"""From here a pixel is something: outlines are missing here and there, which makes a network too careful."""


@dataclass(frozen=True, slots=True, eq=False)
class SegmentationStudy:
    """Implements `core.ports.Study`. Of the N tiles that may be labelled, then of the T to test on: `maps`, float16
    (N + T, h, w, P), and `truth`, bool (N + T, FINE · h, FINE · w). Of the N: `objects`, how many outlines (N,), and
    `seconds` (N,), `embedding`, float32 (N, D), `place`. `scored`: how a project scores tiles.

    Quality is the IoU of all pixels of the test part together. A pool's `counts` are the pixels that are said to be
    something, counted in objects of the size that the labelled ones have."""

    name: str
    maps: NDArray[np.float16]
    truth: NDArray[np.bool_]
    objects: NDArray[np.float64]
    seconds: NDArray[np.float64]
    embedding: NDArray[np.float32]
    place: Ground
    scored: dense.Scored
    recipe: Recipe = field(default_factory=Recipe)
    kind: str = "segmentation"
    measure: str = "IoU"

    @property
    def labels(self) -> NDArray[np.float64]:
        """See `core.ports.Study`: outlines."""
        return self.objects

    @property
    def foreground(self) -> NDArray[np.bool_]:
        """See `core.ports.Study`."""
        return self.objects > 0

    def fit(self, labelled: NDArray[np.int64], seed: int) -> Fitted:
        """See `core.ports.Study`. Of labelled tiles that are all empty no network comes."""
        count, rows = len(self.embedding), np.sort(labelled)
        rest = np.setdiff1d(np.arange(count), labelled)
        have = float(self.objects[labelled].sum())
        pool = dense.pool_of(self.kind, rest, labelled, self.embedding, have, self.place)
        if not have:
            return Fitted(float("nan") if not len(labelled) else 0.0, pool)
        wanted = _cells(self.truth[rows])
        cells = self.maps[rows].reshape(-1, self.maps.shape[-1])
        bias = np.full(FINE * FINE, -2.0, np.float32)
        net = learn(cells, wanted.max(axis=1) > 0, _loss_of(wanted), bias, seed, self.recipe)
        proba = _pixels(say(net, self.maps, np.concatenate([rest, np.arange(count, len(self.maps))])))
        mine, tested = proba[: len(rest)], proba[len(rest) :]
        size = float(self.truth[labelled].sum()) / have
        counts = ((mine > _LEAST).sum(axis=(1, 2)) / size).astype(np.float32)[:, None]
        each = float((self.seconds[labelled] - dense.LOOK_S).sum()) / have
        empty = 1 - mine.max(axis=(1, 2), initial=0).astype(np.float64)
        quality = _iou(tested > _LEAST, self.truth[count:])
        predictions = [_prediction(one) for one in mine]
        return Fitted(quality, dense.seen(pool, predictions, self.scored, counts, empty, each))


def open_study(
    path: Path, embedder: Embedder, cache: Path, progress: Progress, *, backbone: str, scored: dense.Scored
) -> SegmentationStudy:
    """The set at `path` (`sets.read`), of objects of one class. `embedder` gives the pool's vectors, `backbone`, the
    text that names it, the maps (`maps.look`). Raises what these raise."""
    tiles = sorted(read(path), key=lambda tile: tile.test)
    mine = [tile for tile in tiles if not tile.test]
    seen = maps(tiles, backbone, cache, progress)
    truth = np.stack([painted(tile, FINE * seen.shape[1]) for tile in tiles])
    objects = np.array([len(tile.rings) for tile in mine], np.float64)
    corners = np.array([sum(len(ring) for ring in tile.rings) for tile in mine], np.float64)
    seconds = dense.LOOK_S + OUTLINE_S * objects + CORNER_S * corners
    vectors = dense.embedded(mine, embedder, cache, progress)
    return SegmentationStudy(path.resolve().name, seen, truth, objects, seconds, vectors, ground(mine), scored)


def painted(tile: Labelled, side: int) -> NDArray[np.bool_]:
    """Bool (side, side): the objects of a tile that is stretched to that size."""
    found = np.zeros((side, side), np.uint8)
    height, width = tile.pixels.shape[:2]
    for ring in tile.rings:
        points = ring * (side / width, side / height) - 0.5  # cv2 counts from the middle of pixels
        cv2.fillPoly(found, [np.round(points * 16).astype(np.int32)], 1, shift=4)
    return found > 0


def _cells(truth: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(K, FINE · h, FINE · w) → (K · h · w, FINE²), row by row."""
    count, height, width = truth.shape
    parts = truth.reshape(count, height // FINE, FINE, width // FINE, FINE).transpose(0, 1, 3, 2, 4)
    return parts.reshape(-1, FINE * FINE).astype(np.float32)


def _pixels(said: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits (K, h, w, FINE²) → probabilities (K, FINE · h, FINE · w)."""
    count, height, width, _ = said.shape
    parts = said.reshape(count, height, width, FINE, FINE).transpose(0, 1, 3, 2, 4)
    return np.asarray(1 / (1 + np.exp(-np.clip(parts, -30, 30))), np.float32).reshape(count, FINE * height, -1)


def _loss_of(wanted: NDArray[np.float32]) -> Loss:
    """Cross-entropy of every pixel of the cells (M, FINE²)."""
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits

    truth = torch.from_numpy(wanted)

    def loss(said: torch.Tensor, places: torch.Tensor, weight: torch.Tensor, share: float) -> torch.Tensor:
        each = binary_cross_entropy_with_logits(said, truth[places], reduction="none").mean(dim=1)
        return (each * weight).mean()

    return loss


def _iou(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    return float((found & truth).sum() / max(int((found | truth).sum()), 1))


def _prediction(proba: NDArray[np.float32]) -> Prediction:
    """As a network gives it: its cells' mean probabilities, background first, and each patch of likely cells."""
    height, width = proba.shape[0] // FINE, proba.shape[1] // FINE
    cells = proba.reshape(height, FINE, width, FINE).mean(axis=(1, 3))
    count, patches = cv2.connectedComponents((cells > _LEAST).astype(np.uint8), connectivity=4)
    regions = tuple(Region(Mask.of(patches == number), "object") for number in range(1, count))
    both = np.stack([1 - cells.reshape(-1), cells.reshape(-1)], axis=1)
    return Prediction(dense.VERSION, regions, both, float(proba.max()), size=(width, height), kind="segmentation")
