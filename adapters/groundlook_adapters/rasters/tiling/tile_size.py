"""Tile side and overlap from the size of what is to be labelled."""

from __future__ import annotations

import math

from groundlook.core.errors import InvalidInput, InvalidRaster
from groundlook_adapters.rasters.reading.read import Scene
from groundlook_adapters.rasters.tiling.footprint import ground_size
from groundlook_adapters.rasters.tiling.ingest import tile_of

STEP = 32
"""Overlaps are multiples of this, px: the stride of the coarsest map of a detector."""
SMALLEST, LARGEST = 256, 2048
_TILE_PER_OVERLAP = 8


def tile_size(scene: Scene, metres: float) -> tuple[int, int]:
    """(side, overlap) in px for objects of up to `metres`: the overlap holds one, so that each is whole in some tile;
    the side is 8 overlaps, 256…2048. Raises InvalidInput (no length; an object larger than the largest tile),
    InvalidRaster (a scene whose pixels have no known size on the ground)."""
    if not (math.isfinite(metres) and metres > 0):
        raise InvalidInput(f"--object-size {metres}: a positive number of metres is needed")
    gsd = ground_size(tile_of(scene, _middle(scene)))
    if not gsd:
        raise InvalidRaster(
            f"{scene.source}: the size of its pixels on the ground is not known, so --object-size can't be used; "
            "give --tile and --overlap in pixels, or its CRS with --crs"
        )
    # to whole pixels first: 3.2 m at a nominal 0.1 m is 32.01 px on the ellipsoid
    overlap = max(1, math.ceil(round(metres / gsd) / STEP)) * STEP
    side = min(LARGEST, max(SMALLEST, _TILE_PER_OVERLAP * overlap))
    if overlap >= side:
        raise InvalidInput(
            f"{scene.source}: objects of {metres:g} m are {metres / gsd:.0f} px at {gsd:g} m per pixel, more than the "
            f"largest tile ({LARGEST} px) can share with its neighbour; use a coarser raster, or --tile and --overlap"
        )
    return side, overlap


def _middle(scene: Scene) -> tuple[int, int, int, int]:
    """A window in the middle, small: a pixel's size changes over a large scene."""
    width, height = min(scene.width, SMALLEST), min(scene.height, SMALLEST)
    return (scene.width - width) // 2, (scene.height - height) // 2, width, height
