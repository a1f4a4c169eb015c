"""Regions on their way into the spool, so many at once that geometry costs little for each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from groundlook.core.geometry import Box, Shape

_LEAST, _MOST = 1e-3, 1e6
_REGIONS, _POINTS = 2000, 200_000


class Waiting:
    """`add` some, then read them all, in the order in which they came."""

    def __init__(self) -> None:
        self._boxes: list[tuple[float, float, float, float]] = []
        self._geometries: list[Any] = []
        self._corners: list[tuple[int, int]] = []
        self._values: list[tuple[Any, ...]] = []
        self._points = 0

    @property
    def full(self) -> bool:
        """More would cost memory and save no time."""
        return len(self._values) >= _REGIONS or self._points >= _POINTS

    def add(self, shape: Shape, geometry: Any | None, corner: tuple[int, int], values: tuple[Any, ...]) -> None:
        """One region: its `geometry` in tile pixels, None where `shape` is a plain box; `corner`: (column, row) of its
        tile in the scene; `values`: whatever goes with it."""
        if geometry is None and isinstance(shape, Box):
            self._boxes.append((shape.x, shape.y, shape.width, shape.height))
        else:
            self._points += int(shapely.get_num_coordinates(geometry))
        self._geometries.append(geometry)
        self._corners.append(corner)
        self._values.append(values)

    def placed(self) -> Iterator[tuple[bytes, tuple[Any, ...]]]:
        """WKB in pixels of the scene, and the values, of each."""
        if not self._values:
            return
        geometries = np.array(self._geometries, object)
        plain = np.array([geometry is None for geometry in self._geometries])
        geometries[plain] = outlines(np.array(self._boxes, np.float64).reshape(-1, 4))
        points, of = shapely.get_coordinates(geometries, return_index=True)
        moved = shapely.set_coordinates(geometries, points + np.array(self._corners, np.float64)[of])
        yield from zip(shapely.to_wkb(moved), self._values, strict=True)


def is_plain(shape: Shape) -> bool:
    """Whether a shape is an upright box of which nothing needs to be checked or repaired."""
    return (
        isinstance(shape, Box)
        and shape.rotation == 0
        and shape.width > _LEAST
        and shape.height > _LEAST
        and abs(shape.x) + abs(shape.y) + shape.width + shape.height < _MOST
    )


def outlines(boxes: NDArray[np.float64]) -> NDArray[Any]:
    """The polygons of upright boxes (N, 4), x, y, width, height, as `to_geometry` makes them one by one."""
    x0, y0 = boxes[:, 0], boxes[:, 1]
    x1, y1 = x0 + boxes[:, 2], y0 + boxes[:, 3]
    rings = np.stack([x0, y0, x1, y0, x1, y1, x0, y1, x0, y0], axis=1).reshape(-1, 5, 2)
    found: NDArray[Any] = shapely.polygons(rings)
    return found
