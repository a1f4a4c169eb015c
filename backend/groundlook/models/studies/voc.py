"""GeoTIFFs with Pascal-VOC boxes beside them (NEON trees, weecology/DeepForest): each is cut into quarters."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from groundlook.core.errors import InvalidInput
from groundlook.models.studies.sets import Floats, Labelled, every, rgb

BLOCK_M = 500.0
HELD_OUT, OF = (0,), 3
"""Of the blocks of a site, in the order of their names, every third is tested on; a picture lies in the one of its
centre, so that pictures of the same ground in two years are on the same side."""
VISIBLE, VISIBLE_PX = 0.25, 6.0
"""What shows less of itself, or fewer pixels, on a quarter is left out."""
_SCALE, _TIE = 33550, 33922  # GeoTIFF: ModelPixelScaleTag, ModelTiepointTag
_Place = tuple[float, float, float]


def read(path: Path) -> list[Labelled]:
    """Raises InvalidInput that names what is missing."""
    files = sorted(path.glob("*/*.tif"))
    if not files:
        raise InvalidInput(f"{path} holds no FOLDER/*.tif beside the annotations; fetch the set again")
    places = {file: _place(file) for file in files}
    blocks = {file: f"{file.parent.name}/{x // BLOCK_M:.0f}/{y // BLOCK_M:.0f}" for file, (x, y, _) in places.items()}
    held: set[str] = set()
    for site in {file.parent.name for file in files}:
        held |= every([block for file, block in blocks.items() if file.parent.name == site], OF, HELD_OUT)
    return [tile for file in files for tile in _quarters(file, places[file], blocks[file], blocks[file] in held)]


def _place(file: Path) -> _Place:
    """The centre of a picture in m, and the side of its pixels: what its tags say of the upper left corner."""
    from PIL import Image

    with Image.open(file) as picture:
        tags, (width, height) = dict(getattr(picture, "tag_v2", {})), picture.size
    if _SCALE not in tags or _TIE not in tags:
        raise InvalidInput(f"{file} is not georeferenced north up, so that nobody knows what lies beside it")
    side, (column, row, _, x, y, *_) = float(tags[_SCALE][0]), tags[_TIE]
    return x + (width / 2 - column) * side, y - (height / 2 - row) * side, side


def _quarters(file: Path, place: _Place, block: str, test: bool) -> list[Labelled]:
    whole = rgb(file)
    boxes = _boxes(file.parent / "annotations" / f"{file.stem}.xml")
    height, width = (side // 2 for side in whole.shape[:2])
    found = []
    for row in (0, height):
        for column in (0, width):
            pixels = np.ascontiguousarray(whole[row : row + height, column : column + width])
            x = place[0] + (column - width / 2) * place[2]
            y = place[1] - (row - height / 2) * place[2]
            rings = _cut(boxes - [column, row, column, row], width, height)
            name = f"{file.parent.name}/{file.stem}/{row}-{column}"
            reach = max(width, height) / 2 * place[2]
            found.append(Labelled(name, pixels, rings, (x, y), reach, file.stem, block, test))
    return found


def _cut(boxes: Floats, width: int, height: int) -> tuple[Floats, ...]:
    part = np.clip(boxes, 0, [width, height, width, height])
    sides = part[:, 2:] - part[:, :2]
    shows = sides.prod(axis=1) >= VISIBLE * (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return tuple(_corners(box) for box in part[shows & (sides.min(axis=1, initial=np.inf) >= VISIBLE_PX)])


def _corners(box: Sequence[float]) -> Floats:
    x0, y0, x1, y1 = box
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float64)


def _boxes(path: Path) -> Floats:
    """(K, 4): x0 y0 x1 y1. Class names are dirty there: whatever is drawn is one of the objects."""
    if not path.is_file():
        raise InvalidInput(f"{path} is missing: every picture needs its annotations; fetch the set again")
    rows = []
    for box in ET.parse(path).getroot().iter("bndbox"):  # noqa: S314 files of a data set the user chose
        x0, y0, x1, y1 = (float(box.findtext(key) or "nan") for key in ("xmin", "ymin", "xmax", "ymax"))
        if x1 > x0 and y1 > y0:
            rows.append((x0, y0, x1, y1))
    return np.array(rows, np.float64).reshape(-1, 4)
