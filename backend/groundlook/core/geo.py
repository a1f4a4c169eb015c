"""Where pixels lie on the map: GeoRef, TileRef, Tile."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
"""Float64 (N, 2), x then y. Pixel coordinates have (0, 0) at the outer corner of the first pixel."""

Affine = tuple[float, float, float, float, float, float]
"""(a, b, c, d, e, f), rasterio order: X = a·x + b·y + c, Y = d·x + e·y + f."""

WindowPx = tuple[int, int, int, int]
"""(column, row, width, height) in pixels of the scene's native grid."""


@dataclass(frozen=True, slots=True)
class GeoRef:
    """CRS and affine of a pixel grid. `crs` is an authority code ("EPSG:32631") or, where there is none, WKT2."""

    crs: str
    transform: Affine

    def to_map(self, pixels: Points) -> Points:
        """Pixel (N, 2) to map (N, 2) in units of the CRS, x/easting first."""
        a, b, c, d, e, f = self.transform
        p = np.asarray(pixels, dtype=np.float64).reshape(-1, 2)
        return np.stack([a * p[:, 0] + b * p[:, 1] + c, d * p[:, 0] + e * p[:, 1] + f], axis=1)

    def to_pixel(self, points: Points) -> Points:
        """Map (N, 2) to pixel (N, 2): the inverse of `to_map`. Solved about the origin, so that precision
        does not suffer from large eastings and northings."""
        a, b, c, d, e, f = self.transform
        q = np.asarray(points, dtype=np.float64).reshape(-1, 2) - (c, f)
        det = a * e - b * d
        return np.stack([(e * q[:, 0] - b * q[:, 1]) / det, (a * q[:, 1] - d * q[:, 0]) / det], axis=1)

    def window(self, column: int, row: int) -> GeoRef:
        """The georeference of the window whose first pixel is (column, row)."""
        a, b, c, d, e, f = self.transform
        return GeoRef(self.crs, (a, b, a * column + b * row + c, d, e, d * column + e * row + f))

    def gsd(self) -> tuple[float, float]:
        """Ground length of a pixel's side along x and along y, in units of the CRS."""
        a, b, _, d, e, _ = self.transform
        return float(np.hypot(a, d)), float(np.hypot(b, e))


@dataclass(frozen=True, slots=True)
class TileRef:
    """A window of one scene, without its pixels.

    `source`: the raster's path or URI. `etag`: changes when the file does. `georef`: of the *window*; None for an
    image that has none. `render`: how the picture was made of the bands, kept so that it can be made again.
    """

    source: str
    etag: str
    window: WindowPx
    georef: GeoRef | None = None
    scene_id: str = ""
    acquired: str | None = None
    render: str = ""

    @property
    def uid(self) -> str:
        """Sha256 of source, etag, window, georeference and render: the same tile is the same uid on every machine,
        and a scene that is placed anew has new tiles."""
        # Floats without −0.0: as JSON gives them back.
        placed = None if self.georef is None else [self.georef.crs, [float(v) + 0.0 for v in self.georef.transform]]
        parts: list[Any] = [self.source, self.etag, list(self.window), placed, self.render]
        return hashlib.sha256(json.dumps(parts, separators=(",", ":")).encode()).hexdigest()

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.window[2], self.window[3]

    def outline(self) -> Points:
        """The four corners in map coordinates (4, 2), or in pixels where there is no georeference."""
        width, height = self.size
        corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float64)
        return corners if self.georef is None else self.georef.to_map(corners)


@dataclass(frozen=True, slots=True)
class Tile:
    """Pixels with the place they come from. `pixels`: (H, W, B), uint8 RGB as annotators see them unless a model
    asks for the scene's own bands; `ref` is None for an image known by its URL only."""

    pixels: NDArray[Any]
    ref: TileRef | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return int(self.pixels.shape[1]), int(self.pixels.shape[0])
