"""Scenes of known objects and what the tiles over them show, for the tests of the seam merge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely

from groundlook.core.tiling import grid
from groundlook_adapters.vectors.seams.merge import Piece

TILE, OVERLAP, ACROSS = 1024, 128, 9
SIDE = ACROSS * (TILE - OVERLAP) + OVERLAP


def sparse(rng: np.random.Generator, count: int = 1500) -> list[Any]:
    """Turned rectangles of 20 to 160 px that don't touch."""
    objects: list[Any] = []
    while len(objects) < count:
        fresh = [_turned(rng) for _ in range(count)]
        tree = shapely.STRtree([*objects, *fresh])
        a, b = tree.query([*objects, *fresh], predicate="dwithin", distance=6)
        clash = {max(i, j) for i, j in zip(a.tolist(), b.tolist(), strict=True) if i != j}
        objects += [g for i, g in enumerate(fresh, len(objects)) if i not in clash]
    return objects[:count]


def _turned(rng: np.random.Generator) -> Any:
    width, height = rng.uniform(20, 160, 2)
    box = shapely.affinity.rotate(shapely.box(0, 0, width, height), rng.uniform(0, 90))
    return shapely.affinity.translate(box, *rng.uniform(0, SIDE - 230, 2) + 110)


def row_houses(rng: np.random.Generator, count: int = 1500) -> list[Any]:
    """Rectangles that share walls, in rows of 5 to 20, across or down."""
    objects: list[Any] = []
    for lane in range(20, SIDE - 80, 100):
        down, place = bool(rng.random() < 0.5) and lane > SIDE / 2, rng.uniform(0, 200)
        while place < SIDE - 700:
            number, width, depth = int(rng.integers(5, 21)), rng.uniform(14, 34), rng.uniform(30, 60)
            for k in range(number):
                a, b = place + k * width, place + (k + 1) * width
                objects.append(shapely.box(lane, a, lane + depth, b) if down else shapely.box(a, lane, b, lane + depth))
            place += number * width + rng.uniform(100, 400)
    kept, tree = [], shapely.STRtree(objects)
    for i, one in enumerate(objects):  # lanes that run down cross lanes that run across: keep the first there
        hits = tree.query(one, predicate="intersects")
        if all(j >= i or shapely.intersection(one, objects[j]).area == 0 for j in hits.tolist()):
            kept.append(one)
    start = int(rng.integers(0, max(1, len(kept) - count)))
    return kept[start : start + count]


def views(objects: Sequence[Any], rng: np.random.Generator, jitter: float = 1.0, missed: float = 0.0) -> list[Piece]:
    """Each object as each tile's annotator draws it: cut by the tile, every corner off by up to `jitter` px in x and
    y, slivers of 2 px and less left out, and a share `missed` of them forgotten. The key is the object's number."""
    tree, pieces = shapely.STRtree(objects), []
    for window in grid(SIDE, SIDE, TILE, OVERLAP):
        column, row, width, height = window
        frame = shapely.box(column, row, column + width, row + height)
        for i in np.sort(tree.query(frame)).tolist():
            seen = shapely.intersection(objects[i], frame)
            off = rng.uniform(-jitter, jitter, (len(shapely.get_coordinates(objects[i])) - 1, 2))
            drawn = shapely.intersection(shapely.Polygon(shapely.get_coordinates(objects[i])[:-1] + off), frame)
            if seen.buffer(-1).is_empty or drawn.geom_type != "Polygon" or rng.random() < missed:
                continue
            pieces.append(Piece(drawn, "house", window, i))
    return pieces


def precision_recall(found: Sequence[Any], truth: Sequence[Any], iou: float = 0.5) -> tuple[float, float]:
    """One-to-one matches of `iou` and more, best first."""
    found, truth = list(found), list(truth)
    i, j = shapely.STRtree(truth).query(found, predicate="intersects")
    a, b = np.array(found, dtype=object)[i], np.array(truth, dtype=object)[j]
    both = shapely.area(shapely.intersection(a, b))
    score = both / (shapely.area(a) + shapely.area(b) - both)
    used_i, used_j = set[int](), set[int]()
    for k in np.argsort(-score).tolist():
        if score[k] >= iou and i[k] not in used_i and j[k] not in used_j:
            used_i.add(int(i[k]))
            used_j.add(int(j[k]))
    return len(used_i) / len(found), len(used_j) / len(truth)
