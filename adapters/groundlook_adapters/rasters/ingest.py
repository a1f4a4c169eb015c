"""Paths → scenes → tiles."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from groundlook.core.errors import GroundlookError, InvalidRaster
from groundlook.core.geo import TileRef, WindowPx
from groundlook.core.tiling import grid
from groundlook_adapters.rasters.files import SUFFIXES, resolve
from groundlook_adapters.rasters.opened import opened
from groundlook_adapters.rasters.read import Scene, all_valid, open_scene, valid_pixels

MIN_VALID = 0.05
"""Tiles with a smaller share of pixels that have data are not worth a person's time."""


def scan(
    paths: Sequence[str | Path], roots: Sequence[Path], xyz: str | None = None
) -> Iterator[Scene | GroundlookError]:
    """Every raster that `paths` name, each once, sorted within a path: files, folders (searched to the bottom) and
    globs (** allowed). What can't be used comes as its error in its place; the rest goes on."""
    seen: set[Path] = set()
    for path in paths:
        try:
            found = _expand(path, roots)
        except GroundlookError as error:
            yield error
            continue
        for file in found:
            try:
                real = resolve(file, roots)
                if real not in seen:
                    seen.add(real)
                    yield open_scene(file, roots, xyz)
            except GroundlookError as error:
                yield error


def tiles(scene: Scene, size: int, overlap: int, min_valid: float = MIN_VALID) -> tuple[list[TileRef], int]:
    """The tiles of a scene, `size` px with `overlap` px shared, row by row, and how many were left out because less
    than `min_valid` of them has data. Raises InvalidInput (overlap ≥ size), InvalidRaster."""
    windows = list(grid(scene.width, scene.height, size, overlap))
    kept = [tile_of(scene, window) for window in _with_data(scene, windows, min_valid)]
    return kept, len(windows) - len(kept)


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


def _with_data(scene: Scene, windows: Sequence[WindowPx], least: float) -> Iterator[WindowPx]:
    with opened(Path(scene.source)) as dataset:
        if all_valid(dataset):
            yield from windows
            return
        for window in windows:
            if valid_pixels(dataset, window).mean() >= least:
                yield window


def _expand(path: str | Path, roots: Sequence[Path]) -> list[Path]:
    text = os.fspath(path)
    if glob.has_magic(text) and not os.path.lexists(text):
        return _matches(text)
    real = resolve(path, roots)
    if not real.is_dir():
        return [Path(path)]
    found = sorted(p for p in real.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file() and p.name[0] != ".")
    if not found:
        raise InvalidRaster(f"{text} has no raster in it; searched for {', '.join(sorted(SUFFIXES))}")
    return found


def _matches(pattern: str) -> list[Path]:
    found = sorted(Path(p) for p in glob.glob(pattern, recursive=True) if os.path.isfile(p))
    if not found:
        raise InvalidRaster(f"{pattern} matches no file; check the pattern, and quote it so that the shell leaves it")
    return found
