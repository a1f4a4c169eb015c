"""What studies of detection and segmentation share: the pool that a learned model leaves behind."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from groundlook.core.geo import Tile
from groundlook.core.pool import Ground, Pool
from groundlook.core.ports import Embedder, Progress
from groundlook.core.types import ModelVersion, Prediction, Score
from groundlook.models.studies.sets import Labelled

Scored = Callable[[Prediction], Score]
"""How worth labelling a tile is, as a project would hear it: `scoring.score.score_prediction`."""
VERSION = ModelVersion("study", "0" * 12)
LOOK_S = 2.0
"""Seconds that a person takes to look at a tile and see whether anything is on it."""


def unit(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Every feature (N, D) to mean 0 and deviation 1, then every row to length 1."""
    wide = features.astype(np.float64)
    wide = (wide - wide.mean(axis=0)) / np.maximum(wide.std(axis=0), 1e-9)
    return np.asarray(wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12), np.float32)


def embedded(tiles: Sequence[Labelled], embedder: Embedder, cache: Path, progress: Progress) -> NDArray[np.float32]:
    """What `embedder` makes of `tiles`, as `unit` rows; kept in `cache` by its name and their pixels."""
    seen = hashlib.sha256(embedder.name.encode())
    for tile in tiles:
        seen.update(tile.pixels.tobytes())
    kept = cache / f"vectors-{seen.hexdigest()[:16]}.npy"
    if kept.exists():
        return unit(np.load(kept))
    progress(0.0, f"embedding {len(tiles)} tiles")
    found = embedder.embed([Tile(tile.pixels) for tile in tiles])
    cache.mkdir(parents=True, exist_ok=True)
    temporary = kept.with_suffix(f".{os.getpid()}.npy")
    np.save(temporary, found)
    temporary.replace(kept)
    return unit(found)


def pool_of(
    kind: str,
    rest: NDArray[np.int64],
    labelled: NDArray[np.int64],
    embedding: NDArray[np.float32],
    have: float,
    ground: Ground,
) -> Pool:
    """Rows `rest` of a study, without what a model says of them: for all that is known, each takes one look. `have`:
    the objects that are labelled."""
    return Pool(
        ids=rest,
        score=np.full(len(rest), np.nan),
        embedding=embedding[rest],
        labelled=embedding[labelled],
        kind=kind,
        have=np.array([have]),
        seconds=np.full(len(rest), LOOK_S),
        ground=ground.take(rest),
        done=ground.take(labelled),
    )


def seen(
    pool: Pool,
    predictions: Sequence[Prediction],
    scored: Scored,
    counts: NDArray[np.float32],
    empty: NDArray[np.float64],
    each: float,
) -> Pool:
    """The pool with what the model says: `counts` (N, 1) expected objects, `empty` (N,). The seconds that a tile will
    take are those of the objects expected on it, `each` s: how many there are, nobody knows yet. Terms that the score
    of a tile lacks because nothing is on it are the score itself."""
    scores = [scored(one) for one in predictions]
    value = np.array([np.nan if s.value is None else s.value for s in scores], np.float64)
    names = sorted({name for s in scores for name in s.terms if name in ("entropy", "margin")})
    told = {name: np.array([s.terms.get(name, v) for s, v in zip(scores, value, strict=True)]) for name in names}
    seconds = LOOK_S + each * counts[:, 0].astype(np.float64)
    return replace(pool, score=value, counts=counts, empty=empty, seconds=seconds, terms=told)
