"""Pictures of tiles as files, under names that are safe and the same in every run."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from groundlook.core.errors import GroundlookError, InvalidImage, InvalidInput
from groundlook.core.geo import TileRef
from groundlook_adapters.rasters.pictures.render import encode
from groundlook_adapters.vectors.datasets.parts import DatasetTile, Picture, Tally
from groundlook_adapters.vectors.names import scene_name

IMAGE_FORMATS = ("jpg", "png", "webp")
_LONGEST = 80
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def safe_stem(source: str) -> str:
    """The scene's file name without its ending, of letters, digits, `.`, `_` and `-` only. Where that is not what it
    is called, 8 hex digits of `source` follow, so that two scenes stay apart."""
    stem = os.path.splitext(scene_name(source))[0]
    clean = re.sub(r"[^A-Za-z0-9._-]+", "_", stem)[:_LONGEST].strip("._-")
    if clean == stem and clean and not _RESERVED.fullmatch(clean):
        return clean
    return f"{clean or 'scene'}-{_short(source)}"


def safe_split(split: str) -> str:
    """`split` as a folder name; no split at all is train."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", split)[:32] or "train"


def tile_stem(tile: TileRef) -> str:
    """`<scene>_<column>_<row>_<width>_<height>`."""
    return "_".join([safe_stem(tile.source), *(str(int(v)) for v in tile.window)])


class Pictures:
    """Writes pictures into `folders` of a dataset: `images/{split}`, or one for all. Where a name is taken (the
    same tile annotated twice, scenes of one name in two folders), the next gets the tile's uid and the annotation's
    id behind it."""

    def __init__(self, draft: Path, folders: str, picture: Picture | None, image_format: str, tally: Tally) -> None:
        if image_format not in IMAGE_FORMATS:
            raise InvalidInput(f"image format {image_format!r}: use {', '.join(IMAGE_FORMATS)}")
        self._draft, self._folders, self._picture = draft, folders, picture
        self._format, self._tally = image_format, tally
        self._named: set[Path] = set()

    def write(self, tile: DatasetTile) -> Path | None:
        """The file, or None where the picture can't be made: counted, with the reason. Without `picture` nothing is
        written, and it is the name that the file would have."""
        if self._picture is None:
            path = self._free(tile)
            self._named.add(path)
            self._tally.splits[safe_split(tile.split)] += 1
            return path
        try:
            pixels = self._picture(tile.tile)
            width, height = tile.tile.size
            if pixels.shape != (height, width, 3) or pixels.dtype != "uint8":
                raise InvalidImage(f"its picture is {pixels.dtype} {pixels.shape}, not uint8 ({height}, {width}, 3)")
            data = encode(pixels, self._format)
        except GroundlookError as error:
            self._tally.skip_tile("unreadable", f"task {tile.task}, {scene_name(tile.tile.source)!r}: {error}")
            return None
        path = self._free(tile)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        self._tally.images += 1
        self._tally.splits[safe_split(tile.split)] += 1
        return path

    def _free(self, tile: DatasetTile) -> Path:
        folder = self._draft / self._folders.format(split=safe_split(tile.split))
        stem = tile_stem(tile.tile)
        longer = f"{stem}-{_short(tile.tile.uid)}"
        for name in (stem, longer, f"{longer}-{tile.annotation}"):
            if not self._taken(path := folder / f"{name}.{self._format}"):
                return path
        number = 2
        while self._taken(path := folder / f"{longer}-{tile.annotation}-{number}.{self._format}"):
            number += 1
        return path

    def _taken(self, path: Path) -> bool:
        return path in self._named or path.exists()


def _short(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
