"""Where a picture lies in the square that SAM's encoder sees: scaled to its longest side, at the top left."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput

LARGEST = 8192
"""Longest side, px. Beyond it a picture of 1024 px shows less than one pixel in eight: cut it into tiles."""
_MEAN = np.array([123.675, 116.28, 103.53], np.float32)
_DEVIATION = np.array([58.395, 57.12, 57.375], np.float32)
_SURE = 6.9
"""The logit of .999: what a pixel of somebody's mask is worth as mask input (micro-sam, Archit et al. 2025)."""

Logits = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Frame:
    """`width`, `height` of the picture; `side` of the square, px; `low`: side of the decoder's logits.
    All as `segment_anything.SamPredictor` does it."""

    width: int
    height: int
    side: int
    low: int

    @classmethod
    def of(cls, size: tuple[int, int], side: int, low: int) -> Frame:
        """Raises InvalidInput for a picture over the limit."""
        if max(size) > LARGEST or min(size) < 1:
            raise InvalidInput(
                f"a picture of {size[0]} × {size[1]} px: SAM takes 1 to {LARGEST} px a side; cut it into tiles"
            )
        return cls(*size, side, low)

    @property
    def inner(self) -> tuple[int, int]:
        """(width, height) of the picture in the square."""
        scale = self.side / max(self.width, self.height)
        return max(1, int(self.width * scale + 0.5)), max(1, int(self.height * scale + 0.5))

    @property
    def shown(self) -> tuple[slice, slice]:
        """(rows, columns) of the logits that lie in the picture."""
        width, height = self.inner
        step = self.side // self.low
        return slice(0, -(-height // step)), slice(0, -(-width // step))

    def enter(self, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(H, W, 3) → (1, 3, S, S), normalised; what is not picture is 0."""
        from PIL import Image

        width, height = self.inner
        if (width, height) != (self.width, self.height):
            # PIL's is what SAM was trained with: it looks at every pixel when it makes a picture smaller.
            rgb = np.asarray(Image.fromarray(rgb).resize((width, height), Image.Resampling.BILINEAR))
        square: NDArray[np.float32] = np.zeros((1, 3, self.side, self.side), np.float32)
        square[0, :, :height, :width] = ((rgb - _MEAN) / _DEVIATION).transpose(2, 0, 1)
        return square

    def points(self, points: NDArray[np.floating]) -> NDArray[np.float32]:
        """(K, 2) in the picture → in the square."""
        width, height = self.inner
        scale = np.array([width / self.width, height / self.height])
        inside: NDArray[np.float32] = (np.asarray(points, np.float64) * scale).astype(np.float32)
        return inside

    def mask(self, pixels: NDArray[np.bool_]) -> Logits:
        """Somebody's mask (H, W) as mask input (low, low)."""
        width, height = self.inner
        square = np.zeros((self.side, self.side), np.float32)
        square[:height, :width] = cv2.resize(pixels.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
        share = cv2.resize(square, (self.low, self.low), interpolation=cv2.INTER_AREA)
        share = np.clip(share, 1 / (1 + np.exp(_SURE)), 1 / (1 + np.exp(-_SURE)))
        logits: Logits = np.log(share / (1 - share)).astype(np.float32)
        return logits

    def enlarge(self, logits: Logits) -> Logits:
        """(low, low) → (H, W), in the two steps of `Sam.postprocess_masks`."""
        width, height = self.inner
        full = cv2.resize(logits, (self.side, self.side), interpolation=cv2.INTER_LINEAR)[:height, :width]
        if (width, height) == (self.width, self.height):
            return np.asarray(full, np.float32)
        return np.asarray(cv2.resize(full, (self.width, self.height), interpolation=cv2.INTER_LINEAR), np.float32)
