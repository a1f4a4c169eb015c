"""How each data set's own files become paths and truth."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from groundlook.core.errors import InvalidInput
from groundlook.core.geo import GeoRef, Points, TileRef
from groundlook.core.geometry import Box, envelope
from groundlook.core.types import Region
from groundlook.demo.data import Dataset, config_xml, shifted
from groundlook.demo.scene import GSD, LABELS, TILE, make_scene

OAM_SITES = ("2", "3", "5")
"""Kampala, Banepa, Nairobi: 156 tiles at zoom 20, 146 of them with buildings. Sites 1 and 4 are left out: half of
the one's tiles are empty and many of its roofs unlabelled, and the other has 16 tiles."""
OAM_ZOOM = 20
OAM_XYZ = "OAM-{x}-{y}-{z}.png"
NEON_BLOCK_M = 500.0
"""The plots are 40 m squares far apart: small blocks cut a third of them, large ones hold out a whole site or none."""
_MERCATOR = 20037508.342789244
_SLIPPY = re.compile(r"OAM-(\d+)-(\d+)-(\d+)\.png$")


def scene(work: Path, seed: int, size: int) -> Dataset:
    """The made-up scene, 256 px tiles; held-out blocks are two tiles wide."""
    made = make_scene(work / f"scene-{seed}.tif", size, seed)
    index = _Near(made.regions)

    def truth(tile: TileRef) -> Sequence[Region]:
        return index.on(tile)

    return Dataset("scene", (made.path,), LABELS, config_xml(LABELS), TILE, 0, 2 * TILE * GSD, truth)


def neon(root: Path) -> Dataset:
    """Crowns on NEON's 40 m plots: a file is a tile. Raises InvalidInput where a picture has no annotations."""
    paths = tuple(sorted(p.absolute() for p in root.glob("*/*.tif")))
    known = {path.name: _Near(_voc(path.parent / "annotations" / f"{path.stem}.xml")) for path in paths}

    def truth(tile: TileRef) -> Sequence[Region]:
        return known[Path(tile.source).name].on(tile)

    return Dataset("neon", paths, ("Tree",), config_xml(["Tree"]), 400, 0, NEON_BLOCK_M, truth)


def oam(root: Path) -> Dataset:
    """Buildings on OpenAerialMap tiles of one zoom (the zooms show the same ground)."""
    paths: list[Path] = []
    buildings: list[Points] = []
    for site in OAM_SITES:
        paths += sorted(p.absolute() for p in (root / site).glob(f"OAM-*-{OAM_ZOOM}.png"))
        buildings += _footprints(root / site / "labels.geojson")
    tree = shapely.STRtree([shapely.Polygon(b) for b in buildings])

    def truth(tile: TileRef) -> Sequence[Region]:
        georef = tile.georef or slippy(Path(tile.source).name).window(*tile.window[:2])
        width, height = tile.size
        ground = georef.to_map(np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64))
        hits = tree.query(shapely.Polygon(ground), predicate="intersects")
        return [_upright(georef.to_pixel(buildings[i]), "Building") for i in sorted(hits)]

    side = 2 * 256 * slippy(f"OAM-0-0-{OAM_ZOOM}.png").gsd()[0]
    options = ("--xyz", OAM_XYZ)
    return Dataset("oam", tuple(paths), ("Building",), config_xml(["Building"]), 256, 0, side, truth, options)


def slippy(name: str) -> GeoRef:
    """The exact georeference of a 256 px web-mercator tile by its file name. Raises InvalidInput."""
    found = _SLIPPY.search(name)
    if not found:
        raise InvalidInput(f"{name} is not named OAM-x-y-z.png, so that nobody knows where it lies")
    x, y, zoom = (int(g) for g in found.groups())
    side = 2 * _MERCATOR / 2**zoom
    return GeoRef("EPSG:3857", (side / 256, 0.0, x * side - _MERCATOR, 0.0, -side / 256, _MERCATOR - y * side))


class _Near:
    """Regions of one picture, found by window."""

    def __init__(self, regions: Sequence[Region]) -> None:
        self._regions = list(regions)
        self._tree = shapely.STRtree([shapely.box(*envelope(r.shape)) for r in self._regions])

    def on(self, tile: TileRef) -> list[Region]:
        """Those that touch the tile, in its pixels."""
        column, row, width, height = tile.window
        hits = self._tree.query(shapely.box(column, row, column + width, row + height))
        found = (self._regions[i] for i in sorted(hits))
        return [Region(shifted(r.shape, -column, -row), r.label) for r in found]


def _voc(path: Path) -> list[Region]:
    """Boxes of a Pascal-VOC file. Class names there are dirty (`Tree\\`, empty); everything drawn is a tree."""
    if not path.is_file():
        raise InvalidInput(f"{path} is missing: every NEON picture needs its annotations; fetch the set again")
    regions = []
    for box in ET.parse(path).getroot().iter("bndbox"):  # noqa: S314 files of a data set the user chose
        x0, y0, x1, y1 = (float(box.findtext(k) or "nan") for k in ("xmin", "ymin", "xmax", "ymax"))
        if x1 > x0 and y1 > y0:
            regions.append(Region(Box(x0, y0, x1 - x0, y1 - y0), "Tree"))
    return regions


def _footprints(path: Path) -> list[Points]:
    """Outer rings on the web-mercator plane (N, 2), metres, from WGS84 polygons."""
    if not path.is_file():
        raise InvalidInput(f"{path} is missing: it holds the buildings of its site; fetch the set again")
    features: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["features"]
    rings = [np.array(f["geometry"]["coordinates"][0], np.float64)[:, :2] for f in features]
    return [_mercator(ring) for ring in rings]


def _mercator(lonlat: Points) -> Points:
    x = lonlat[:, 0] / 180 * _MERCATOR
    y = np.log(np.tan(np.pi / 4 + np.radians(lonlat[:, 1]) / 2)) / np.pi * _MERCATOR
    return np.stack([x, y], axis=1)


def _upright(points: Points, label: str) -> Region:
    (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
    return Region(Box(float(x0), float(y0), float(x1 - x0), float(y1 - y0)), label)
