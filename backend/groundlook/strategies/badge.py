"""BADGE: diverse batches of tasks from which the model's last layer would learn much (Ash, Zhang, Krishnamurthy,
Langford & Agarwal, ICLR 2020).

The gradient of the last layer for its own likeliest class is g = (p − e) ⊗ h, C·D numbers a task. Only products of such
gradients are needed, and ⟨g, g′⟩ = ⟨a, a′⟩⟨h, h′⟩ with a = p − e: g itself is never built.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput
from groundlook.core.pool import Pool, Ranking
from groundlook.strategies.kmeans import cold_start
from groundlook.strategies.order import picked
from groundlook.strategies.plusplus import Places, plus_plus
from groundlook.strategies.uncertainty import proba_of
from groundlook.strategies.vectors import COLD, Vectors, norms, vectors_of


class Gradients:
    """Squared lengths of gradients, and squared distances between them."""

    def __init__(self, points: Vectors, proba: NDArray[np.float32]) -> None:
        """`proba` (N, C): of each of `points`."""
        self.points = points
        self.error = np.array(proba, np.float32)
        self.error[np.arange(len(proba)), proba.argmax(axis=1)] -= 1
        self.length = np.empty(len(points), np.float32)
        for part, rows in points.chunks():
            self.length[part] = norms(rows) * norms(self.error[part])

    def distance(self, places: Places, picks: Places) -> NDArray[np.float32]:
        """Float32 (len(places), len(picks)); 0 within rounding."""
        both = (self.points.take(places) @ self.points.take(picks).T) * (self.error[places] @ self.error[picks].T)
        total = self.length[places][:, None] + self.length[picks]
        found: NDArray[np.float32] = total - 2 * both
        found[found < 1e-6 * total] = 0
        return found


@dataclass(frozen=True, slots=True)
class Badge:
    """The longest gradient first; then k-means++ on gradients. Needs class probabilities."""

    name: str = "badge"

    def rank(self, pool: Pool, count: int, rng: np.random.Generator) -> Ranking:
        """See `core.ports.Strategy`."""
        everything, proba = vectors_of(pool), proba_of(pool)
        if proba is None and len(pool.labelled):
            raise InvalidInput("badge needs the pool's class probabilities; predict with a trained classifier first")
        if proba is None:
            return cold_start(pool, everything, count, rng, self.name)
        known = everything.only(np.flatnonzero(np.isfinite(proba[everything.rows].sum(axis=1))))
        if not len(known):
            raise InvalidInput("badge needs tasks with both an embedding and class probabilities, and there is none")
        gradients = Gradients(known, proba[known.rows])
        first = int(np.argmax(gradients.length))
        places = plus_plus(gradients.distance, len(known), first, count, rng)
        length = np.sqrt(gradients.length[places].astype(np.float64))
        score = np.full(len(pool), np.nan)
        score[known.rows] = gradients.length
        why = "" if len(pool.labelled) else COLD
        return picked(pool, everything, known.rows[places], self.name, {"gradient": length}, why, score)
