"""DropQuery: tasks of which the model changes its mind when part of the features is hidden, spread by clusters (Gupte,
Aklilu, Nirschl & Yeung-Levy, "Revisiting Active Learning in the Era of Vision Foundation Models", TMLR 2024)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput
from groundlook.core.pool import Pool, Ranking
from groundlook.strategies.kmeans import SAMPLE, cold_start, representatives
from groundlook.strategies.order import picked
from groundlook.strategies.vectors import Vectors, finite_rows, labelled_of, vectors_of

_HIDDEN = 0.75
_TIMES = 3


@dataclass(frozen=True, slots=True)
class Head:
    """A linear classifier: the class with the most `points` @ `weight` + `bias`."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    @classmethod
    def fit(cls, points: NDArray[np.float32], classes: NDArray[np.int64]) -> Head:
        """Ridge regression on one-hot classes, in closed form, on whichever side is smaller: the same on every run.
        `points` (M, D), `classes` (M,)."""
        kinds, which = np.unique(classes, return_inverse=True)
        middle = points.mean(axis=0)
        x, y = (points - middle).astype(np.float64), np.eye(len(kinds))[which]
        shift = y.mean(axis=0)
        few = x @ x.T if len(x) < x.shape[1] else x.T @ x
        ridge = few + max(np.trace(few) / len(few), 1e-9) * 0.1 * np.eye(len(few))
        weight = x.T @ np.linalg.solve(ridge, y - shift) if len(x) < x.shape[1] else np.linalg.solve(ridge, x.T @ y)
        return cls(weight.astype(np.float32), (shift - middle @ weight).astype(np.float32))

    def classes(self, points: NDArray[np.float32]) -> NDArray[np.int64]:
        """(N, D) → int64 (N,)."""
        return np.asarray((points @ self.weight + self.bias).argmax(axis=1))


def changes(points: Vectors, head: Head, rng: np.random.Generator) -> NDArray[np.int64]:
    """How often of 3 times the class is another one when each feature is hidden with probability 3/4. Int64 (N,)."""
    found = np.zeros(len(points), np.int64)
    for part, rows in points.chunks():
        plain = head.classes(rows)
        for _ in range(_TIMES):
            seen = rng.integers(0, 256, rows.shape, np.uint8) >= int(256 * _HIDDEN)
            found[part] += head.classes(rows * seen) != plain
    return found


@dataclass(frozen=True, slots=True)
class DropQuery:
    """Of the tasks that change more often than not, the middle of each of `count` clusters. Needs the classes of what
    is labelled; the head is a ridge classifier on embeddings. Of more than 8,192 such tasks, a draw is clustered."""

    name: str = "dropquery"

    def rank(self, pool: Pool, count: int, rng: np.random.Generator) -> Ranking:
        """See `core.ports.Strategy`."""
        known = vectors_of(pool)
        if not len(labelled_of(pool)):
            return cold_start(pool, known, count, rng, self.name)
        if pool.classes is None:
            raise InvalidInput("dropquery needs the class of each labelled task; only classification has one")
        use = finite_rows(pool.labelled) & (pool.classes >= 0)
        if not use.any():
            raise InvalidInput("dropquery needs the class of a labelled task that has an embedding, and there is none")
        head = Head.fit(np.asarray(pool.labelled[use], np.float32), pool.classes[use])
        changed = changes(known, head, rng)
        places = _unsteady(changed, count, rng)
        order, _ = representatives(known.take(places), count, rng)
        rows = known.rows[places[order]]
        score = np.full(len(pool), np.nan)
        score[known.rows] = changed / _TIMES
        return picked(pool, known, rows, self.name, {"changes": score[rows]}, score=score)


def _unsteady(changed: NDArray[np.int64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Places that change in most of the times, or the `count` that change most often; in order."""
    order = np.argsort(-changed, kind="stable")
    many = order[: max(int((changed * 2 > _TIMES).sum()), min(count, len(changed)))]
    most = max(SAMPLE, count)
    return np.sort(many if len(many) <= most else rng.choice(many, most, replace=False))
