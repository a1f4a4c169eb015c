"""Boxes of a made-up scene, as windows would see them, and how many of them come back: seams against known truth."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from groundlook.core.geometry import box_iou
from groundlook.core.tiling import grid
from groundlook_adapters.vectors.seams.views import Views

Floats = NDArray[np.float64]


def views(boxes: Any, windows: Any, side: int = 1000, labels: Any = None) -> Views:
    """Windows as (column, row, width, height) of a scene of `side`² px."""
    b, w = np.array(boxes, dtype=np.float64).reshape(-1, 4), np.array(windows, dtype=np.int64).reshape(-1, 4)
    ends = np.concatenate([w[:, :2], w[:, :2] + w[:, 2:]], axis=1)
    inner = np.concatenate([ends[:, :2] > 0, ends[:, 2:] < side], axis=1)
    return Views(b, ends, inner, np.zeros(len(b), np.int64) if labels is None else np.array(labels))


def world(rng: np.random.Generator, side: int) -> Floats:
    """Boxes that don't touch: small ones, some of them in rows a pixel apart, and some longer than an overlap."""
    taken, found = np.zeros((side, side), dtype=bool), []
    sizes = [(rng.uniform(300, 900), rng.uniform(30, 120)) for _ in range(12)]
    sizes += [tuple(rng.uniform(12, 60, 2)) for _ in range(600)]
    for wide, high in sizes:
        w, h = (wide, high) if rng.random() < 0.5 else (high, wide)
        for _ in range(20):
            x, y = rng.uniform(0, side - w), rng.uniform(0, side - h)
            where = np.s_[int(y) : int(y + h) + 1, int(x) : int(x + w) + 1]
            if not taken[where].any():
                taken[where] = True
                found.append((x, y, x + w, y + h))
                break
    return np.array(found)


def looked(rng: np.random.Generator, truth: Floats, side: int, overlap: int, jitter: float) -> Views:
    parts, windows = [], []
    for window in grid(side, side, 640, overlap):
        low, high = np.array(window[:2]), np.array(window[:2]) + window[2:]
        clipped = np.concatenate([np.clip(truth[:, :2], low, high), np.clip(truth[:, 2:], low, high)], axis=1)
        seen = clipped[(clipped[:, 2:] - clipped[:, :2] >= 4).all(axis=1)]
        seen = seen + rng.normal(0, jitter, seen.shape)
        seen = np.concatenate([np.clip(seen[:, :2], low, high), np.clip(seen[:, 2:], low, high)], axis=1)
        seen[:, 2:] = np.maximum(seen[:, 2:], seen[:, :2] + 1)
        parts.append(seen)
        windows += [window] * len(seen)
    return views(np.concatenate(parts), windows, side)


def hits(found: Floats, truth: Floats) -> NDArray[np.bool_]:
    """Truth that some box of its own covers by IoU 0.5."""
    iou = box_iou(found, truth)
    hit = np.zeros(len(truth), dtype=bool)
    for row in iou:
        best = int(np.argmax(np.where(hit, -1, row)))
        hit[best] |= row[best] >= 0.5
    return hit


def sahi_merged(boxes: Floats, scores: Floats) -> Floats:
    """What sahi's `get_sliced_prediction` makes of the boxes of all windows, with its defaults."""
    from sahi.postprocess.combine import GreedyNMMPostprocess
    from sahi.prediction import ObjectPrediction

    said = [
        ObjectPrediction(bbox=b, score=s, category_id=0, category_name="a")
        for b, s in zip(boxes.tolist(), scores.tolist(), strict=True)
    ]
    return np.array([p.bbox.to_xyxy() for p in GreedyNMMPostprocess(0.5, "IOS", False)(said)])


def across(truth: Floats, windows: NDArray[np.int64], side: int) -> NDArray[np.bool_]:
    """Truth that an edge of a window cuts."""
    lines = np.unique(windows)
    lines = lines[(lines > 0) & (lines < side), None]
    cut = [((truth[:, c] < lines) & (truth[:, c + 2] > lines)).any(axis=0) for c in (0, 1)]
    return cut[0] | cut[1]
