"""Boxes on a grid of cells: what each cell should say, its loss, and what a grid says → detections.

One box per cell, as in FCOS (Tian et al., ICCV 2019): the distances to its four sides, by the middle of an object; the
score learns the overlap with the truth (quality focal loss, Li et al., NeurIPS 2020, equation 2). All lengths are in
cells: average precision is the same in any unit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from groundlook.models.studies.cells import Loss

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float32]
MIDDLE, LEAST = 0.45, 0.75
"""A cell is an object's where it lies in the middle part of it, so large a share of its sides, or so near (cells)."""
FOCUS = 1.5
BIAS = np.array([-3.0, 1.2, 1.2, 1.2, 1.2], np.float32)
LOWEST, MOST, SAME = 0.05, 100, 0.5
"""Detections are kept down to this score, so many at most, of those that overlap more than this the best."""
_TRIED = 400
_LOGS = (-2.0, 4.0)


def targets(boxes: NDArray[np.float64], side: int) -> Floats:
    """Of `boxes` (K, 4), x0 y0 x1 y1 in cells: (side, side, 5), whether the cell is an object's (the smallest where
    there are several), and the distances from its middle to left, top, right, bottom."""
    found = np.zeros((side, side, 5), np.float32)
    y, x = np.mgrid[:side, :side] + 0.5
    sizes = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    for box in boxes[np.argsort(-sizes, kind="stable")]:
        middle, half = (box[:2] + box[2:]) / 2, np.maximum(MIDDLE * (box[2:] - box[:2]) / 2, LEAST)
        inside = (np.abs(x - middle[0]) <= half[0]) & (np.abs(y - middle[1]) <= half[1])
        sides = np.stack([x - box[0], y - box[1], box[2] - x, box[3] - y], axis=2)
        found[inside] = np.concatenate([np.ones_like(sides[..., :1]), np.maximum(sides, 0.1)], axis=2)[inside]
    return found


def loss_of(wanted: Floats) -> Loss:
    """Of the cells (M, 5) that are learned from: focal loss of the score, and 1 − GIoU (Rezatofighi et al., CVPR 2019)
    of the boxes."""
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits

    truth = torch.from_numpy(wanted)

    def loss(said: torch.Tensor, places: torch.Tensor, weight: torch.Tensor, share: float) -> torch.Tensor:
        held = truth[places, 0] > 0
        iou, generous = _overlap(said[held, 1:].clamp(*_LOGS).exp(), truth[places[held], 1:])
        aim = torch.zeros(len(places))
        aim[held] = 0.5 + 0.5 * iou.detach()
        off = (said[:, 0].sigmoid().detach() - aim).abs() ** FOCUS
        score = binary_cross_entropy_with_logits(said[:, 0], aim, reduction="none") * off * weight
        total = score.sum() / max(float(weight[held].sum()), 1.0)
        return total + (1 - generous).mean() if len(iou) else total

    return loss


def _overlap(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """IoU and GIoU of boxes about one point, each given by its four distances (K, 4)."""
    import torch

    low, high = torch.minimum(a, b), torch.maximum(a, b)
    both = (low[:, 0] + low[:, 2]) * (low[:, 1] + low[:, 3])
    either = sum((s[:, 0] + s[:, 2]) * (s[:, 1] + s[:, 3]) for s in (a, b)) - both
    around = (high[:, 0] + high[:, 2]) * (high[:, 1] + high[:, 3])
    iou = both / either
    return iou, iou - (around - either) / around


def detections(said: Floats) -> tuple[Floats, Floats, float]:
    """Of one tile's outputs (h, w, 5): boxes (K, 4) in cells, cut to the grid, and scores (K,), best first, after
    suppression; and the highest score anywhere."""
    import torch
    from torchvision.ops import nms

    height, width = said.shape[:2]
    score = 1 / (1 + np.exp(-np.clip(said[..., 0].reshape(-1), -30, 30)))
    places = np.argsort(-score, kind="stable")[:_TRIED]
    places = places[score[places] >= LOWEST]
    y, x = np.divmod(places, width)
    sides = np.exp(np.clip(said.reshape(-1, 5)[places, 1:], *_LOGS))
    at = np.stack([x, y, x, y], axis=1) + 0.5
    found = np.clip(at + sides * [-1, -1, 1, 1], 0, [width, height, width, height]).astype(np.float32)
    kept = nms(torch.from_numpy(found), torch.from_numpy(score[places].astype(np.float32)), SAME).numpy()[:MOST]
    return found[kept], score[places][kept].astype(np.float32), float(score.max(initial=0))
