"""Unsure and spread at once: filter, then cover, or the product of both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groundlook.core.pool import Pool, Ranking
from groundlook.strategies.diversity import farthest_first
from groundlook.strategies.herding import bandwidth, nearest_gap, rbf
from groundlook.strategies.kmeans import cold_start, representatives, sample
from groundlook.strategies.order import best_first, picked
from groundlook.strategies.uncertainty import doubt
from groundlook.strategies.vectors import COLD, Vectors, labelled_of, squared, vectors_of

_LANDMARKS = 256


def least_sure(pool: Pool, known: Vectors, weight: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """The `count` rows of `known` with the most `weight` (N,), the most first; of those where it is known."""
    usable = np.full(len(pool), np.nan)
    usable[known.rows] = weight[known.rows]
    return best_first(usable, pool.ids)[: min(count, int(np.isfinite(usable).sum()))]


@dataclass(frozen=True, slots=True)
class UncertainThenSpread:
    """The `candidates` × `count` least sure tasks, of which `count` are picked by k-center.

    Filter-then-cover is the safe way to join two aims (facts: performance). Where nothing is known of how unsure the
    model is, the whole pool is spread. A task of which it is unknown, in a pool where others are known, comes after
    them.
    """

    candidates: int = 3
    name: str = "uncertain-k-center"

    def rank(self, pool: Pool, count: int, rng: np.random.Generator) -> Ranking:
        """See `core.ports.Strategy`."""
        known, done = vectors_of(pool), labelled_of(pool)
        weight, by = doubt(pool, known.rows)
        of = known
        if weight is not None:
            of = Vectors(pool.embedding, least_sure(pool, known, weight, count * self.candidates))
        places, gaps = farthest_first(of, done, count, rng)
        rows = of.rows[places]
        terms = {"apart": gaps} if weight is None else {by: weight[rows], "apart": gaps}
        why = "; ".join([by] * (weight is None) + [COLD] * (not len(done)))
        return picked(pool, known, rows, self.name, terms, why, weight)


@dataclass(frozen=True, slots=True)
class UncertainKMeans:
    """The `candidates` × `count` least sure tasks in `count` clusters, in which each weighs by how unsure the model is;
    the middle of each (Zhdanov, "Diverse mini-batch Active Learning", 2019)."""

    candidates: int = 10
    name: str = "uncertain-k-means"

    def rank(self, pool: Pool, count: int, rng: np.random.Generator) -> Ranking:
        """See `core.ports.Strategy`."""
        known = vectors_of(pool)
        weight, by = doubt(pool, known.rows)
        if weight is None:
            start = cold_start(pool, known, count, rng, self.name)
            why = by if len(pool.labelled) else start.why
            return Ranking(start.rows, start.chosen, self.name, why, start.terms)
        rows = least_sure(pool, known, weight, count * self.candidates)
        floor = max(1e-3 * float(weight[rows].max(initial=0)), 1e-9)
        points = np.asarray(pool.embedding[rows], np.float32)
        order, sizes = representatives(points, count, rng, np.maximum(weight[rows], floor))
        rows = rows[order]
        terms = {by: weight[rows], "like it": sizes}
        return picked(pool, known, rows, self.name, terms, "" if len(pool.labelled) else COLD, weight)


@dataclass(frozen=True, slots=True)
class Blend:
    """Each task the one with the highest product of unsure^`unsure` · typical^`typical` · apart: how unsure the model
    is, how alike the pool is to it (mean RBF similarity to 256 tasks), and how far it is from all that are labelled or
    picked. The strengths are relative to that of the last; 0 leaves an aim out."""

    unsure: float = 1.0
    typical: float = 0.5
    name: str = "blend"

    def rank(self, pool: Pool, count: int, rng: np.random.Generator) -> Ranking:
        """See `core.ports.Strategy`."""
        everything, done = vectors_of(pool), labelled_of(pool)
        weight, by = doubt(pool, everything.rows)
        if not len(done):
            return cold_start(pool, everything, count, rng, self.name)
        known = everything
        if weight is not None:
            known = everything.only(np.flatnonzero(np.isfinite(weight[everything.rows])))
        common = typical(known, done, rng)
        strength = common**self.typical
        terms = {"typical": common}
        if weight is not None:
            strength = strength * weight[known.rows] ** self.unsure
            terms[by] = weight[known.rows]
        places, _ = farthest_first(known, done, count, rng, strength)
        told = {name: values[places] for name, values in terms.items()}
        return picked(pool, everything, known.rows[places], self.name, told, by if weight is None else "", weight)


def typical(points: Vectors, done: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float64]:
    """Mean similarity of each to 256 of them, drawn alike, 0 … 1, under the kernel of herding. (N,)."""
    some = points.take(sample(len(points), 0, rng, _LANDMARKS))
    width = bandwidth(done, nearest_gap(some, done))
    alike = [rbf(squared(rows, some), width).mean(axis=1) for _, rows in points.chunks()]
    return np.asarray(np.concatenate(alike), np.float64)
