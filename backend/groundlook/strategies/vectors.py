"""The tasks of a pool that have an embedding: in id order, so that the order of a pool's rows changes nothing; read in
chunks, so that a memory map of a million rows never lies in memory as float32."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import EmptyPool, InvalidInput
from groundlook.core.pool import Pool

CHUNK = 4096
COLD = "nothing is labelled yet"
_HALF_EXPONENT = 0x7C00
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Vectors:
    """Some rows of an array. `source`: float32 or float16 (N, D). `rows`: int64 (K,), which; a *place* is an index
    into them."""

    source: NDArray[np.floating]
    rows: NDArray[np.int64]

    @classmethod
    def of(cls, array: NDArray[np.floating]) -> Vectors:
        """All rows of (N, D)."""
        return cls(array, np.arange(len(array)))

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, places: NDArray[np.int64]) -> NDArray[np.float32]:
        """Float32 (len(places), D)."""
        return np.asarray(self.source[self.rows[places]], np.float32)

    def only(self, places: NDArray[np.int64]) -> Vectors:
        """Those at `places`, in that order."""
        return Vectors(self.source, self.rows[places])

    def chunks(self, size: int = CHUNK) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Places and their float32 rows, in order; rows that lie together are read as one piece, without a copy."""
        for start in range(0, len(self), size):
            part = self.rows[start : start + size]
            together = part[-1] - part[0] == len(part) - 1 and bool((np.diff(part) == 1).all())
            piece = self.source[part[0] : part[-1] + 1] if together else self.source[part]
            yield slice(start, start + len(part)), np.asarray(piece, np.float32)


def vectors_of(pool: Pool) -> Vectors:
    """The rows of `pool` with an embedding, by id. Raises EmptyPool, and InvalidInput where no row has one."""
    found = in_id_order(pool)
    known = found[finite_rows(pool.embedding)[found]]
    if not len(known):
        raise InvalidInput(f"none of the {len(pool)} open tasks has an embedding; embed them before they are ranked")
    return Vectors(pool.embedding, known)


def labelled_of(pool: Pool) -> NDArray[np.float32]:
    """Float32 (M, D): the embeddings of what is labelled, where there is one. Raises InvalidInput where D differs."""
    if not len(pool.labelled):
        return np.zeros((0, pool.embedding.shape[1]), np.float32)
    if pool.labelled.shape[1] != pool.embedding.shape[1]:
        has, wants = pool.labelled.shape[1], pool.embedding.shape[1]
        raise InvalidInput(f"labelled tasks have embeddings of {has} numbers, open ones of {wants}; embed all alike")
    return np.asarray(pool.labelled[finite_rows(pool.labelled)], np.float32)


def in_id_order(pool: Pool) -> NDArray[np.int64]:
    """Every row, lowest id first. Raises EmptyPool."""
    if len(pool) == 0:
        raise EmptyPool("no open task is left to rank; ingest more, or finish the project")
    if (pool.ids[1:] > pool.ids[:-1]).all():
        return np.arange(len(pool))
    return np.argsort(pool.ids, kind="stable").astype(np.int64)


def finite_rows(array: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Bool (N,): rows without NaN or infinity. At the speed of memory: a sum is finite where all of its terms are,
    and a half is where not all bits of its exponent are set."""
    if array.dtype != np.float16:
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(np.isfinite(array @ np.ones(array.shape[1], array.dtype)))
    found = np.empty(len(array), bool)
    for start in range(0, len(array), CHUNK):
        bits = np.ascontiguousarray(array[start : start + CHUNK]).view(np.uint16)
        found[start : start + CHUNK] = (bits & _HALF_EXPONENT).max(axis=1, initial=0) < _HALF_EXPONENT
    return found


def norms(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Squared length of each row (N,)."""
    return np.asarray(np.einsum("ij,ij->i", points, points))


def squared(
    points: NDArray[np.float32],
    centres: NDArray[np.float32],
    lengths: NDArray[np.float32] | None = None,
    sizes: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Squared Euclidean distances (N, M). What is within rounding of nothing is 0, so that copies are equal.
    `lengths` (N,), `sizes` (M,): `norms` of both, where they are known."""
    own = norms(points) if lengths is None else lengths
    other = norms(centres) if sizes is None else sizes
    found = points @ centres.T
    found *= -2
    found += own[:, None]
    found += other
    if (near := found < _ROUNDING * (own.max(initial=0) + other.max(initial=0))).any():
        rows, columns = np.nonzero(near)
        close = found[rows, columns] < _ROUNDING * (own[rows] + other[columns])
        found[rows[close], columns[close]] = 0
    return found
