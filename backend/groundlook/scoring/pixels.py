"""How unsure a semantic map is of each thing on it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput
from groundlook.core.geometry import Shape
from groundlook.core.mask import Mask
from groundlook.scoring.classification import entropy

Floats = NDArray[np.float64]


def region_entropy(proba: NDArray[np.floating], shapes: Sequence[Shape]) -> Floats:
    """The mean entropy of the pixels of each region. `proba`: (H, W, C), rows of C sum to 1. → (R,), 0 = sure, 1 = all
    classes alike everywhere; NaN for what is no Mask of pixels. Raises InvalidInput."""
    height, width, classes = proba.shape
    return region_means(entropy(proba.reshape(-1, classes)).reshape(height, width), shapes, (width, height))


def region_means(grid: Floats, shapes: Sequence[Shape], size: tuple[int, int]) -> Floats:
    """The mean of a `grid` (rows, columns), laid over a tile of `size` (width, height), under each of `shapes`: (R,).
    NaN cells are left out; NaN for other shapes than masks and for empty ones. O(grid + height + runs), whatever the
    width. Raises InvalidInput for a mask of another size."""
    known = np.isfinite(grid)
    values, ones = _Sums(np.where(known, grid, 0.0), size), _Sums(known.astype(np.float64), size)
    return np.array([_mean(shape, values, ones, size) for shape in shapes], np.float64)


def cell_grid(values: NDArray[np.floating], size: tuple[int, int]) -> Floats:
    """What is said of the cells of a regular grid over a tile, row by row (M,), as (rows, columns). `size`: (width,
    height). The grid has as many cells a side as `Prediction.proba` of a segmentation: the same down and across, fewer
    only where the tile has fewer pixels. Raises InvalidInput for a count that makes no grid."""
    width, height = size
    side = next((s for s in range(1, len(values) + 1) if min(s, width) * min(s, height) == len(values)), 0)
    if not side:
        raise InvalidInput(f"{len(values)} cells make no grid over {width} × {height} px")
    grid: Floats = np.asarray(values, np.float64).reshape(min(side, height), min(side, width))
    return grid


class _Sums:
    """The sum of a grid over all pixels of a tile before any, in row-major order."""

    def __init__(self, grid: Floats, size: tuple[int, int]) -> None:
        self._width, height = size
        rows, columns = grid.shape
        wide = grid[:, np.arange(self._width) * columns // self._width]
        self._within = np.concatenate([np.zeros((rows, 1)), np.cumsum(wide, axis=1)], axis=1)
        self._row = np.append(np.arange(height) * rows // height, rows - 1)  # and one beyond the last
        self._before = np.concatenate([[0.0], np.cumsum(self._within[self._row[:-1], -1])])

    def of(self, runs: NDArray[np.int64]) -> float:
        """Over runs [start, end), (K, 2)."""
        row, column = np.divmod(runs, self._width)
        before = self._before[row] + self._within[self._row[row], column]
        return float((before[:, 1] - before[:, 0]).sum())


def _mean(shape: Shape, values: _Sums, ones: _Sums, size: tuple[int, int]) -> float:
    if not isinstance(shape, Mask):
        return float("nan")
    beyond = len(shape.runs) and not 0 <= shape.runs.min() <= shape.runs.max() <= size[0] * size[1]
    if (shape.width, shape.height) != size or beyond:
        raise InvalidInput(f"a mask of {shape.width} × {shape.height} px on a map of {size[0]} × {size[1]}")
    count = ones.of(shape.runs)
    return values.of(shape.runs) / count if count >= 0.5 else float("nan")
