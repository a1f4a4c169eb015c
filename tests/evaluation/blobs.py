"""A study that learns in microseconds: Gaussian blobs, nearest mean; its tasks cost 0 to 4 labels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from groundlook.core.pool import Fitted, Pool, Ranking, ranking


@dataclass(frozen=True)
class Blobs:
    """`boxes`: whether tasks cost several labels and some hold nothing; `spread` of the blobs."""

    boxes: bool = False
    spread: float = 1.0
    count: int = 90
    kind: str = "classification"
    measure: str = "accuracy"
    name: str = "blobs"

    def _drawn(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        rng = np.random.default_rng(5)
        classes = rng.choice(3, self.count, p=[0.7, 0.2, 0.1])
        means = np.array([[0, 0, 0, 1], [3, 0, 0, 1], [0, 3, 0, 1]], float)
        return (means[classes] + rng.normal(0, self.spread, (self.count, 4))).astype(np.float32), classes

    @property
    def labels(self) -> NDArray[np.float64]:
        return (np.arange(self.count) % 5).astype(float) if self.boxes else np.ones(self.count)

    @property
    def seconds(self) -> NDArray[np.float64]:
        return 2.0 + self.labels

    @property
    def foreground(self) -> NDArray[np.bool_]:
        return self.labels > 0

    def fit(self, labelled: NDArray[np.int64], seed: int) -> Fitted:
        points, classes = self._drawn()
        rest = np.setdiff1d(np.arange(self.count), labelled)
        pool = Pool(rest, np.full(len(rest), np.nan), points[rest], points[labelled], self.kind, have=np.zeros(3))
        if len(labelled) == 0:
            return Fitted(float("nan"), pool)
        means = np.full((3, 4), 1e3)
        for c in np.unique(classes[labelled]):
            means[c] = points[labelled][classes[labelled] == c].mean(0)
        near = -((points[:, None] - means[None]) ** 2).sum(2)
        near += np.random.default_rng([seed, 9]).normal(0, 1e-3, near.shape)  # the model's own seed
        proba = np.exp(near - near.max(1, keepdims=True))
        proba = (proba / proba.sum(1, keepdims=True)).astype(np.float32)
        quality = float((proba.argmax(1) == classes).mean())
        known = replace(pool, proba=proba[rest], classes=classes[labelled], score=1 - proba[rest].max(1).astype(float))
        return Fitted(quality, known, held_out=0.5)


@dataclass(frozen=True)
class Anyhow:
    """All tasks alike."""

    name: str = "random"

    def rank(self, pool: Pool, count: int, rng: np.random.Generator) -> Ranking:
        return Ranking(rng.permutation(len(pool)), min(count, len(pool)), self.name)


@dataclass(frozen=True)
class LeastSure:
    name: str = "least-sure"

    def rank(self, pool: Pool, count: int, rng: np.random.Generator) -> Ranking:
        if len(pool.labelled) == 0:
            return Anyhow(self.name).rank(pool, count, rng)
        assert all(r.quality == 0.5 for r in pool.rounds), "a strategy may never see the quality on the test part"
        assert [r.labels for r in pool.rounds] == sorted(r.labels for r in pool.rounds)
        return ranking(pool, np.zeros(0, np.int64), self.name)


@dataclass(frozen=True)
class Broken:
    """Forgets a task."""

    name: str = "broken"

    def rank(self, pool: Pool, count: int, rng: np.random.Generator) -> Ranking:
        return Ranking(np.arange(len(pool) - 1), 1, self.name)
