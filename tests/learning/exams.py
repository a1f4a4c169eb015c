"""Exams of detectors that don't exist: of known skill, on ground where neighbouring tiles are alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from groundlook.core.exam import Exam
from groundlook.core.tally import BoxTally, Floats, Ints

LABELS = ("roof", "tree")


@dataclass(frozen=True)
class Land:
    """N tiles in map blocks. `objects`: (N, C); `hard`: (N,), what each block adds to every model's skill."""

    blocks: Ints
    sites: tuple[str, ...]
    objects: Ints
    hard: Floats


def land(
    rng: np.random.Generator, tiles: int, per_block: int = 4, sites: Sequence[str] = ("Bern",), most: int = 12
) -> Land:
    """About half of `most` objects of each label a tile."""
    blocks = np.arange(tiles) // per_block
    hard = rng.normal(0, 0.1, blocks.max() + 1)[blocks]
    names = tuple(sites[b % len(sites)] for b in blocks)
    return Land(blocks, names, rng.integers(0, most + 1, (tiles, len(LABELS))), hard)


def sit(
    rng: np.random.Generator,
    ground: Land,
    skill: float,
    lost: Mapping[str, float] | None = None,
    close: float = 0.7,
    version: str = "yolo@aa",
) -> Exam:
    """A detector that finds a truth with chance `skill` (less what it `lost` of a site or label), differently well in
    each block, and finds as much as it misses where nothing is. `close`: the share of its boxes that fit closely."""
    lost = lost or {}
    wobble = rng.normal(0, 0.05, ground.blocks.max() + 1)[ground.blocks]
    tile, label, right = [], [], []
    for row, count in enumerate(ground.objects):
        for place, name in enumerate(LABELS):
            less = lost.get(ground.sites[row], 0) + lost.get(name, 0)
            chance = float(np.clip(skill + ground.hard[row] + wobble[row] - less, 0, 1))
            hits = int(rng.binomial(count[place], chance))
            false = int(rng.binomial(count[place], 1 - chance))
            right += [True] * hits + [False] * false
            tile += [row] * (hits + false)
            label += [place] * (hits + false)
    hit = np.array(right, bool)
    score = np.where(hit, rng.beta(4, 2, len(hit)), rng.beta(2, 4, len(hit)))
    near = hit & (rng.random(len(hit)) < close)
    tally = BoxTally(np.array(tile, np.int64), np.array(label, np.int64), score, hit, near, ground.objects)
    return exam(tally, ground, version)


def exam(tally: BoxTally, ground: Land, version: str = "yolo@aa") -> Exam:
    """Of answers that are known already."""
    tiles = len(ground.objects)
    nothing = ((),) * tiles
    found = Exam(
        version=version,
        labels=LABELS,
        tasks=tuple(range(1, tiles + 1)),
        sites=ground.sites,
        sensors=("",) * tiles,
        blocks=tuple(f"{site} {block}" for site, block in zip(ground.sites, ground.blocks, strict=True)),
        tally=tally,
        seconds=np.full(tiles, 0.02),
        metrics={"map50": 0.0},
        truth=nothing,
        said=nothing,
        sure=tally.score,
        right=tally.right,
    )
    return replace(found, metrics={"map50": float(found.quality()[0]), "quality": float(found.quality()[0])})
