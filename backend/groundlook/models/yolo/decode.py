"""What the branches of a head say → candidates, for the anchors that may hold something."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from groundlook.core.errors import InvalidWeights
from groundlook.models.yolo.candidates import LOWEST, Candidates, Floats, Protos, sigmoid
from groundlook.models.yolo.labelling import Labelling
from groundlook.models.yolo.raw import Head

_LOGIT = float(np.log(LOWEST / (1 - LOWEST))) - 1e-3
_PROTO_PX = 4.0


def decode(said: Sequence[Floats], head: Head, labelling: Labelling, size: tuple[int, int]) -> Candidates:
    """`said`: `raw.OUTPUTS` of one picture, without their first axis, of which nothing is kept; `size`: (width, height)
    px of the picture as the network saw it. Raises InvalidWeights where the network answers with what is no number."""
    boxes, scores = said[0], labelling.by_label(said[1])
    best = scores.max(axis=1, initial=-np.inf)
    highest = best.max(initial=-np.inf)
    if np.isnan(highest):
        raise InvalidWeights("the network answers with NaN: its weights are broken, fetch or train them again")
    places = np.flatnonzero(best > _LOGIT)
    proba = sigmoid(scores[places])
    sure = proba.max(axis=1, initial=0) > LOWEST
    places, proba = places[sure], proba[sure]
    centres, strides = anchors(head.strides, size)
    at, stride = centres[places], strides[places, None]
    sides, deviation = _sides(boxes[places], head.bins)
    spread = None if deviation is None else deviation * stride
    extra: Floats = np.zeros((len(places), 0), np.float32)
    protos: tuple[Protos, ...] = ()
    if head.kind == "obb":
        extra = said[2][places]
    elif head.kind == "segment":
        extra, protos = said[2][places], (Protos(said[3].copy(), _PROTO_PX),)
    elif head.kind == "pose":
        extra = _keypoints(said[2][places], at, stride, head.keypoints)
    found = _boxes(sides, at, stride, extra[:, 0] if head.kind == "obb" else None)
    peak = float(sigmoid(np.array(highest, np.float32)))
    return Candidates(found, proba, extra, spread, peak, protos, np.zeros(len(places), np.intp))


@lru_cache(16)
def anchors(strides: tuple[int, ...], size: tuple[int, int]) -> tuple[Floats, Floats]:
    """Centres (A, 2) in units of their strides, x then y, and the strides (A,), in the order of `raw.OUTPUTS`."""
    width, height = size
    centres, each = [], []
    for stride in strides:
        x, y = np.meshgrid(np.arange(width // stride), np.arange(height // stride))
        centres.append(np.stack([x.ravel(), y.ravel()], 1).astype(np.float32) + np.float32(0.5))
        each.append(np.full(x.size, stride, np.float32))
    found = np.concatenate(centres), np.concatenate(each)
    for shared in found:
        shared.flags.writeable = False
    return found


def _sides(logits: Floats, bins: int) -> tuple[Floats, Floats | None]:
    """(M, 4 R) → distances to left, top, right, bottom in strides (M, 4), and their standard deviations where each is
    a distribution over 0…R − 1 (Generalized Focal Loss, arXiv 2006.04388, equation 6)."""
    if bins == 1:
        return logits, None
    table = logits.reshape(-1, 4, bins)
    weights = np.exp(table - table.max(axis=2, keepdims=True))
    weights /= weights.sum(axis=2, keepdims=True)
    steps = np.arange(bins, dtype=np.float32)
    mean = weights @ steps
    # (the mean of squares minus the squared mean would lose what is small beside them)
    square = np.einsum("msb,msb->ms", weights, (steps - mean[:, :, None]) ** 2)
    return mean, np.sqrt(square)


def _boxes(sides: Floats, at: Floats, stride: Floats, angle: Floats | None) -> Floats:
    """(M, 4): centre x, y, width, height in px. `angle`: the sides are those of a box turned by it about the anchor."""
    middle = (sides[:, 2:] - sides[:, :2]) / 2
    if angle is not None:
        cos, sin = np.cos(angle), np.sin(angle)
        middle = np.stack([middle[:, 0] * cos - middle[:, 1] * sin, middle[:, 0] * sin + middle[:, 1] * cos], 1)
    found: Floats = np.concatenate([at + middle, sides[:, :2] + sides[:, 2:]], 1) * stride
    return found.astype(np.float32, copy=False)


def _keypoints(values: Floats, at: Floats, stride: Floats, shape: tuple[int, int]) -> Floats:
    """(M, K · D) → (M, 3 K): x, y in px and visibility 0…1, 1 where the network has none."""
    count, each = shape
    table = values.reshape(-1, count, each)
    found = np.ones((len(values), count, 3), np.float32)
    found[:, :, :2] = (table[:, :, :2] + at[:, None]) * stride[:, :, None]
    if each > 2:
        found[:, :, 2] = sigmoid(table[:, :, 2])
    return found.reshape(-1, 3 * count)
