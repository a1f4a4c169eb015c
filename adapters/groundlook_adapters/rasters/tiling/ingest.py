"""Paths → scenes → tiles."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from groundlook.core.errors import GroundlookError, InvalidRaster
from groundlook.core.geo import TileRef, WindowPx
from groundlook.core.tiling import grid
from groundlook_adapters.rasters.pictures.render import Choice
from groundlook_adapters.rasters.reading.files import SUFFIXES, resolve
from groundlook_adapters.rasters.reading.opened import opened
from groundlook_adapters.rasters.reading.read import Scene, open_scene
from groundlook_adapters.rasters.reading.remote import is_remote
from groundlook_adapters.rasters.tiling.coverage import shares

MIN_VALID = 0.05
"""Tiles with a smaller share of pixels that have data are not worth a person's time."""

AS_IS = Choice()
"""Bands and stretch as the raster itself suggests them."""


def scan(
    paths: Sequence[str | Path],
    roots: Sequence[Path],
    xyz: str | None = None,
    *,
    crs: str | None = None,
    choice: Choice = AS_IS,
    hosts: Sequence[str] = (),
) -> Iterator[Scene | GroundlookError]:
    """Every raster that `paths` name, each once, sorted within a path: files, folders (searched to the bottom), globs
    (** allowed) and URLs. What can't be used comes as its error in its place; the rest goes on. `xyz`, `crs`,
    `choice`, `hosts`: see `read.open_scene`."""
    seen: set[str] = set()
    for path in paths:
        try:
            found = [path] if is_remote(os.fspath(path)) else _expand(path, roots)
        except GroundlookError as error:
            yield error
            continue
        for file in found:
            try:
                real = str(file) if is_remote(os.fspath(file)) else str(resolve(file, roots))
                if real not in seen:
                    seen.add(real)
                    yield open_scene(file, roots, xyz, crs=crs, choice=choice, hosts=hosts)
            except GroundlookError as error:
                yield error


def walk(
    scene: Scene,
    size: int,
    overlap: int,
    min_valid: float = MIN_VALID,
    *,
    roots: Sequence[Path] | None = None,
    hosts: Sequence[str] = (),
) -> Iterator[TileRef | None]:
    """The tiles of a scene, `size` px with `overlap` px shared, row by row; None in the place of one that has data in
    less than `min_valid` of its pixels. Nothing is kept, so that a scene may have any number of them. Raises
    InvalidInput (overlap ≥ size), InvalidRaster (unreadable; no tile at all has data)."""
    windows = grid(scene.width, scene.height, size, overlap)
    if min_valid <= 0:
        yield from (tile_of(scene, window) for window in windows)
        return
    most = 0.0
    with opened(scene.source, roots, hosts, etag=scene.etag) as dataset:
        for window, share in shares(dataset, windows, min_valid):
            most = max(most, share)
            yield tile_of(scene, window) if share >= min_valid else None
    if most < min_valid:
        raise InvalidRaster(_nothing(scene, most, min_valid))


def tiles(scene: Scene, size: int, overlap: int, min_valid: float = MIN_VALID) -> tuple[list[TileRef], int]:
    """`walk` as a list, and how many were left out."""
    found = list(walk(scene, size, overlap, min_valid))
    kept = [tile for tile in found if tile is not None]
    return kept, len(found) - len(kept)


def _nothing(scene: Scene, most: float, least: float) -> str:
    if most == 0:
        return f"{scene.source} has no pixels with data: all of it is nodata, masked or transparent; check its nodata"
    return (
        f"{scene.source}: no tile has data in {least:.3g} of its pixels, the fullest in {most:.3g}; "
        "use smaller tiles or a lower --min-valid"
    )


def tile_of(scene: Scene, window: WindowPx) -> TileRef:
    """One window of a scene as a tile."""
    return TileRef(
        source=scene.source,
        etag=scene.etag,
        window=window,
        georef=scene.georef.window(window[0], window[1]) if scene.georef else None,
        scene_id=scene.id,
        acquired=scene.acquired,
        render=scene.render.text(),
    )


def _expand(path: str | Path, roots: Sequence[Path]) -> list[Path]:
    text = os.fspath(path)
    if glob.has_magic(text) and not os.path.lexists(text):
        return _matches(text)
    real = resolve(path, roots)
    if not os.path.isdir(real):
        return [Path(path)]
    found = sorted(
        p for p in real.rglob("*") if p.suffix.lower() in SUFFIXES and os.path.isfile(p) and p.name[0] != "."
    )
    if not found:
        raise InvalidRaster(f"{text} has no raster in it; searched for {', '.join(sorted(SUFFIXES))}")
    return found


def _matches(pattern: str) -> list[Path]:
    found = sorted(Path(p) for p in glob.glob(pattern, recursive=True) if os.path.isfile(p))
    if not found:
        raise InvalidRaster(f"{pattern} matches no file; check the pattern, and quote it so that the shell leaves it")
    return found
