"""Coefficients × prototypes → masks of tile pixels."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from groundlook.core.mask import Mask
from groundlook.models.yolo.candidates import Floats, Protos


def mask(box: Floats, coefficients: Floats, protos: Protos, size: tuple[int, int]) -> Mask:
    """One detection's pixels in a tile of `size` (width, height): where its prototypes add up to more than 0, inside
    its box (YOLACT, arXiv 1904.02689) and the window that they are of, at the tile's resolution.

    `box`: (4,) centre x, y, width, height, tile px; `coefficients`: (P,).
    """
    width, height = size
    _, high, wide = protos.values.shape
    low = (max(0, protos.column), max(0, protos.row))
    end = (min(width, protos.column + int(wide * protos.scale)), min(height, protos.row + int(high * protos.scale)))
    x0, y0 = (int(max(m, round(float(c - s / 2)))) for c, s, m in zip(box[:2], box[2:], low, strict=True))
    x1, y1 = (int(min(m, round(float(c + s / 2)))) for c, s, m in zip(box[:2], box[2:], end, strict=True))
    if x1 <= x0 or y1 <= y0:
        return Mask(width, height, np.zeros((0, 2), np.int64))
    inside = _enlarged(coefficients, protos, (x0, y0, x1, y1)) > 0
    return placed(inside, x0, y0, width, height)


def _enlarged(coefficients: Floats, protos: Protos, window: tuple[int, int, int, int]) -> Floats:
    """(H, W): the sum of prototypes over `window` of the tile, bilinear between the centres of their pixels."""
    x0, y0, x1, y1 = window
    _, high, wide = protos.values.shape
    scale = protos.scale
    # One more on every side, for the interpolation.
    left, top = max(0, int((x0 - protos.column) // scale) - 1), max(0, int((y0 - protos.row) // scale) - 1)
    right = min(wide, int(-((protos.column - x1) // scale)) + 1)
    bottom = min(high, int(-((protos.row - y1) // scale)) + 1)
    if right <= left or bottom <= top:
        return np.full((y1 - y0, x1 - x0), -1, np.float32)
    part = protos.values[:, top:bottom, left:right]
    small = np.tensordot(coefficients, part, 1).astype(np.float32, copy=False)
    shift_x = (x0 - protos.column + 0.5) / scale - 0.5 - left
    shift_y = (y0 - protos.row + 0.5) / scale - 0.5 - top
    turn = np.array([[1 / scale, 0, shift_x], [0, 1 / scale, shift_y]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    found: Floats = cv2.warpAffine(small, turn, (x1 - x0, y1 - y0), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return found


def placed(inside: NDArray[np.bool_], x: int, y: int, width: int, height: int) -> Mask:
    """The Mask of a `width` × `height` tile whose pixels from (x, y) on are `inside`, (h, w), which fits into it."""
    high, wide = inside.shape
    # A column of False after each row keeps runs from going on in the next one.
    flat = np.zeros((high, wide + 1), np.int8)
    flat[:, :wide] = inside
    steps = np.diff(flat.ravel(), prepend=np.int8(0))
    starts, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
    row = starts // (wide + 1)
    shift = (y + row) * width + x - row * (wide + 1)
    runs = np.stack([starts + shift, ends + shift], 1).astype(np.int64)
    if wide == width and len(runs) > 1:
        apart = runs[1:, 0] != runs[:-1, 1]
        firsts, lasts = np.concatenate([[True], apart]), np.concatenate([apart, [True]])
        runs = np.stack([runs[firsts, 0], runs[lasts, 1]], 1)
    return Mask(width, height, runs)
