"""Pools with everything known that a strategy may ask for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groundlook.core.pool import Ground, Pool, Round

KINDS = 4


def pool(count: int, seed: int = 0, marked: int = 8, **known: Any) -> Pool:
    """`count` tasks in clusters, ids shuffled, and `marked` labelled ones; `known` replaces what is drawn. The arrays
    can't be written."""
    rng = np.random.default_rng(seed)
    total = count + marked
    kinds = rng.integers(0, KINDS, total)
    vectors = (3 * np.eye(KINDS, 12)[kinds] + rng.normal(size=(total, 12))).astype(np.float32)
    proba = rng.dirichlet(np.ones(KINDS) / 2, count).astype(np.float32)
    drawn: dict[str, Any] = {
        "ids": rng.permutation(count).astype(np.int64) * 3 + 100,
        "score": rng.random(count),
        "embedding": vectors[:count],
        "labelled": vectors[count:],
        "kind": "classification",
        "proba": proba,
        "classes": kinds[count:].astype(np.int64),
        "counts": proba * 3,
        "have": np.bincount(kinds[count:], minlength=KINDS).astype(np.float64),
        "empty": rng.random(count),
        "seconds": rng.uniform(2, 60, count),
        "ground": ground(count, rng),
        "done": ground(marked, rng),
        "rounds": (Round("random", 4, 0.5), Round("margin", 8, 0.6)) if marked else (),
    }
    return frozen(Pool(**{**drawn, **known}))


def ground(count: int, rng: np.random.Generator) -> Ground:
    """Tiles of 100 m, over 10 km and three years."""
    xy, day = rng.uniform(0, 10_000, (count, 2)), rng.uniform(18_000, 19_100, count)
    code = [rng.integers(0, 5, count) for _ in range(4)]
    return Ground(xy, np.full(count, 50.0), day, code[0], code[1], code[2], code[3])


def frozen(given: Pool) -> Pool:
    """The same; its arrays refuse to be written."""
    for name in Pool.__dataclass_fields__:
        value = getattr(given, name)
        if isinstance(value, np.ndarray):
            value.flags.writeable = False
    return given


def shuffled(given: Pool, order: NDArray[np.int64]) -> Pool:
    """The same tasks, their rows in another order."""
    rows = {
        name: getattr(given, name)[order].copy()
        for name in ("ids", "score", "embedding", "proba", "counts", "empty", "seconds")
        if getattr(given, name) is not None
    }
    rows["terms"] = {name: values[order] for name, values in given.terms.items()}
    if given.ground is not None:
        rows["ground"] = Ground(*(getattr(given.ground, name)[order] for name in Ground.__dataclass_fields__))
    return frozen(replace(given, **rows))


def with_nan(values: NDArray[np.floating], rows: list[int]) -> NDArray[np.floating]:
    """A copy; `rows` of it are unknown."""
    copy = values.copy()
    copy[rows] = np.nan
    return copy
