"""`groundlook bench geo`: masks, polygons, seams, tiles and ingest, each beside what a user would otherwise take.

Masks: "blob" is one round thing with a hole, "buildings" many upright rectangles, as in facts of the field.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import rasterio.features
import shapely
from label_studio_sdk.converter import brush
from numpy.typing import NDArray

from groundlook.core.mask import Mask
from groundlook.service.bench import Goal, Result, in_turns, percentile, result
from groundlook_adapters.labelstudio.rle import decode_mask, encode_mask, mask_of
from groundlook_adapters.vectors.geometry.trace import outlines
from groundlook_adapters.vectors.seams.merge import Piece, merge_instances

sys.path.insert(0, str(Path(__file__).parent))
from geo_house import bare_loop, big_scene, endpoint, ingest_loop, rio_tiler_tiles

TWENTY_TIMES = Goal("ratio", "<", 1 / 20)
SDK = "label-studio-sdk"


def run(quick: bool) -> Iterator[Result]:
    """The cases, one after the other."""
    yield from _brush(quick)
    yield _polygons(quick)
    yield _seams(quick)
    with tempfile.TemporaryDirectory(prefix="groundlook-bench-") as folder:
        scene = big_scene(Path(folder) / "scene.tif", 4096 if quick else 8192)
        yield from _endpoint(Path(folder), scene, quick)
        yield _ingest(Path(folder), scene, 1 if quick else 5)
        yield _memory(Path(folder), 8192 if quick else 20480)


# masks


def _brush(quick: bool) -> Iterator[Result]:
    sizes = (1024,) if quick else (1024, 4096)
    for size, (name, make) in itertools.product(sizes, (("blob", _blob), ("buildings", _buildings))):
        pixels = make(size)
        mask = Mask.of(pixels)
        picture = (pixels * np.uint8(255)).astype(np.uint8)
        rle = brush.mask2rle(picture)
        if list(encode_mask(mask)) != list(rle) or decode_mask(rle, size, size) != mask:
            raise AssertionError(f"{name} {size}: not bit-identical with the SDK")
        repeats = 2 if quick else (10 if size == 1024 else 3)
        coded = in_turns(lambda _, p=pixels: encode_mask(mask_of(p)), lambda _, p=picture: brush.mask2rle(p), repeats)  # type: ignore[misc]
        yield result(f"brush RLE encode, {name} {size}²", "ms", TWENTY_TIMES, coded, SDK, 1000)
        back = in_turns(
            lambda _, r=rle, s=size: decode_mask(r, s, s),  # type: ignore[misc]
            lambda _, r=rle: brush.decode_rle(r),  # type: ignore[misc]
            repeats,
        )
        yield result(f"brush RLE decode, {name} {size}²", "ms", TWENTY_TIMES, back, SDK, 1000)


def _blob(size: int) -> NDArray[np.bool_]:
    y, x = np.mgrid[:size, :size] - size / 2
    distance = np.hypot(x, y)
    return (distance < size * 0.4) & (distance > size * 0.1)


def _buildings(size: int) -> NDArray[np.bool_]:
    rng = np.random.default_rng(3)
    pixels = np.zeros((size, size), dtype=bool)
    for _ in range(size * size // 2800):
        row, column = rng.integers(0, size - 30, 2)
        height, width = rng.integers(6, 28, 2)
        pixels[row : row + height, column : column + width] = True
    return pixels


def _polygons(quick: bool) -> Result:
    size = 1024 if quick else 4096
    pixels = _buildings(size)
    mask = Mask.of(pixels)

    def peer(_: int) -> None:
        found = rasterio.features.shapes(pixels.astype(np.uint8), mask=pixels, connectivity=4)
        for geometry, _value in found:
            shapely.geometry.shape(geometry)

    turns = in_turns(lambda _: outlines(mask), peer, 2 if quick else 5)
    return result(f"mask → polygons, {size}²", "ms", Goal("ours", "<", 100), turns, "rasterio.features.shapes", 1000)


# seams


def _seams(quick: bool) -> Result:
    pieces = _cut_houses(2_000 if quick else 77_000)

    def dissolved(_: int) -> None:
        shapely.unary_union([p.geometry for p in pieces])

    turns = in_turns(lambda _: merge_instances(pieces), dissolved, 1 if quick else 3, warm=0)
    name = f"seam merge of {len(pieces):,} features"
    return result(name, "s", Goal("ours", "<", 20), turns, "shapely.unary_union")


def _cut_houses(houses: int, tile: int = 1024, overlap: int = 128) -> list[Piece]:
    """Houses in a square, each cut by every tile that sees it."""
    rng = np.random.default_rng(5)
    step = tile - overlap
    across = int(np.ceil(np.sqrt(houses / 19)))
    side = across * step + overlap
    places = rng.uniform(0, side - 30, (houses, 2))
    sizes = rng.uniform(12, 28, (houses, 2))
    pieces = []
    for column, row in itertools.product(range(across), range(across)):
        x, y = column * step, row * step
        seen = ((places < (x + tile, y + tile)) & (places + sizes > (x, y))).all(axis=1)
        low = np.clip(places[seen], (x, y), None) + rng.uniform(-1, 1, (seen.sum(), 2))
        high = np.clip(places[seen] + sizes[seen], None, (x + tile, y + tile)) + rng.uniform(-1, 1, (seen.sum(), 2))
        for house, a, b in zip(np.flatnonzero(seen), low, np.maximum(high, low + 1), strict=True):
            pieces.append(Piece(shapely.box(*a, *b), "House", (x, y, tile, tile), int(house)))
    return pieces


# tiles


def _endpoint(folder: Path, scene: Path, quick: bool) -> Iterator[Result]:
    """8 clients at once, each asking for the next tile as soon as it has one."""
    cold, cached = endpoint(folder, scene, clients=8, rounds=1 if quick else 5)
    peer = rio_tiler_tiles(scene, clients=8)
    for name, seconds, limit in (("cold", cold, 150), ("cached", cached, 5)):
        case = f"tile endpoint, p95 {name}, 1024² JPEG, 8 clients"
        ours, theirs = percentile(seconds, 0.95) * 1000, percentile(peer, 0.95) * 1000
        goal = Goal("ours", "<", limit)
        yield Result(case, ours, "ms", goal, len(seconds), theirs, "rio-tiler part + JPEG", min(seconds) * 1000)


def _ingest(folder: Path, scene: Path, repeats: int) -> Result:
    """Tiles, task data and pictures, against reading and encoding alone. Half the speed is a ratio of 2."""
    out = (folder / f"pictures{i}" for i in itertools.count())
    turns = in_turns(lambda _: ingest_loop(scene, next(out)), lambda _: bare_loop(scene, next(out)), repeats)
    return result("ingest with pictures, 1024² tiles", "s", Goal("ratio", "<", 2), turns, "bare rasterio + JPEG loop")


# memory


def _memory(folder: Path, size: int) -> Result:
    """Most memory that looking at a scene and reading one tile takes, against reading it whole as segment-geospatial
    does. In processes of their own."""
    scene = big_scene(folder / "huge.tif", size, like=0)
    ours, whole = (_child_mb(what, scene) for what in ("tiles", "whole"))
    name = f"most memory, ingest of {size}² uint8 RGB and one tile"
    return Result(name, ours, "MB", Goal("ours", "<", 1000), 1, whole, "whole raster read")


def _child_mb(what: str, scene: Path) -> float:
    command = [sys.executable, str(Path(__file__).with_name("geo_house.py")), what, str(scene)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
