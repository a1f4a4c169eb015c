"""Masks as runs of pixels: what a brush paints, and what a model segments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput
from groundlook.core.geo import Points


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """Pixels of a `width` × `height` tile. `runs`: int64 (N, 2), [start, end) in row-major order (index = row · width
    + column), ascending, none empty, none touching the next: one set of pixels has one list of runs. A run may go on
    in the next row."""

    width: int
    height: int
    runs: NDArray[np.int64]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mask):
            return NotImplemented
        return (self.width, self.height) == (other.width, other.height) and np.array_equal(self.runs, other.runs)

    def __hash__(self) -> int:
        return hash((self.width, self.height, self.runs.tobytes()))

    @classmethod
    def of(cls, pixels: NDArray[Any]) -> Mask:
        """Of an array (H, W): True or non-zero is inside."""
        height, width = pixels.shape
        flat = np.ascontiguousarray(pixels, dtype=bool).reshape(-1)
        edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
        if flat.size and flat[0]:
            edges = np.concatenate([[0], edges])
        if len(edges) % 2:
            edges = np.concatenate([edges, [flat.size]])
        return cls(width, height, edges.astype(np.int64).reshape(-1, 2))

    def pixels(self) -> NDArray[np.bool_]:
        """(H, W), True inside. Raises InvalidInput where a run lies outside the tile."""
        size = self.width * self.height
        if len(self.runs) and (self.runs.min() < 0 or self.runs.max() > size):
            raise InvalidInput(f"a mask of {self.width} × {self.height} px has runs beyond its {size} pixels")
        step = np.zeros(size + 1, dtype=np.int8)
        step[self.runs[:, 0]] = 1
        step[self.runs[:, 1]] -= 1
        return np.cumsum(step[:-1], dtype=np.int8).astype(bool).reshape(self.height, self.width)

    @property
    def area(self) -> int:
        """Pixels inside."""
        return int((self.runs[:, 1] - self.runs[:, 0]).sum())

    def corners(self) -> Points:
        """(4, 2): the corners of the upright box around the pixels, clockwise on screen; (0, 2) where there is none."""
        if len(self.runs) == 0:
            return np.zeros((0, 2), dtype=np.float64)
        first, last = self.runs[:, 0], self.runs[:, 1] - 1
        top, bottom = int(first[0] // self.width), int(last[-1] // self.width) + 1
        wraps = bool((first // self.width != last // self.width).any())
        left = 0 if wraps else int((first % self.width).min())
        right = self.width if wraps else int((last % self.width).max()) + 1
        return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], dtype=np.float64)
