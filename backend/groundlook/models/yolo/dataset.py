"""Examples → a folder that ultralytics trains on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import TrainingFailed
from groundlook.core.geo import Tile
from groundlook.core.geometry import envelope
from groundlook.core.tiling import grid
from groundlook.core.types import Region
from groundlook.models.pixels import as_rgb

LARGEST = 640
"""Side of the largest picture trained on; larger tiles are cut, not shrunk: things keep the size that they have
when the model predicts."""
_OVERLAP = 64
_STRIDE = 32
_GREY = 114
_SLIVER = 2.0
_VISIBLE = 0.25

Labelled = tuple[NDArray[np.uint8], NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Written:
    """A dataset on disk. `side`: of its square pictures, in pixels."""

    yaml: Path
    side: int
    pictures: int
    boxes: int


def write(
    examples: Iterable[tuple[Tile, Sequence[Region]]], labels: Sequence[str], folder: Path, largest: int = LARGEST
) -> Written:
    """Write `examples` under `folder`, each region as the upright box around it, clipped to its tile.

    Regions whose label is not in `labels` are left out; tiles without regions are background. Holds one tile in
    memory at a time, twice where sizes differ. Raises TrainingFailed where there is nothing to learn.
    """
    raw = folder / "raw"
    raw.mkdir(parents=True)
    sizes, boxes = [], 0
    for number, (tile, regions) in enumerate(examples):
        for part, (picture, rows) in enumerate(_cut(as_rgb(tile), _rows(regions, labels), largest)):
            np.savez(raw / f"{number:06d}-{part:03d}.npz", picture=picture, rows=rows)
            sizes.append(max(picture.shape[:2]))
            boxes += len(rows)
    if not boxes:
        raise TrainingFailed(
            f"none of the {len(sizes)} tiles has a region labelled {' or '.join(labels) or '(no labels)'}: label some"
        )
    side = -(-max(sizes) // _STRIDE) * _STRIDE
    for path in sorted(raw.iterdir()):
        with np.load(path) as kept:
            _put(folder, path.stem, kept["picture"], kept["rows"], side)
        path.unlink()
    raw.rmdir()
    return Written(_describe(folder, labels), side, len(sizes), boxes)


def _rows(regions: Sequence[Region], labels: Sequence[str]) -> NDArray[np.float64]:
    """(N, 5): class, x0, y0, x1, y1 in pixels."""
    places = {label: i for i, label in enumerate(labels)}
    rows = [(places[r.label], *envelope(r.shape)) for r in regions if r.label in places]
    return np.array(rows, dtype=np.float64).reshape(-1, 5)


def _cut(picture: NDArray[np.uint8], rows: NDArray[np.float64], largest: int) -> Iterator[Labelled]:
    height, width = picture.shape[:2]
    for column, row, w, h in grid(width, height, largest, min(_OVERLAP, largest - 1)):
        yield picture[row : row + h, column : column + w], _clip(rows, column, row, w, h)


def _clip(rows: NDArray[np.float64], column: int, row: int, width: int, height: int) -> NDArray[np.float64]:
    """Boxes in the window's pixels, without those of which hardly anything is seen."""
    inside = rows.copy()
    inside[:, [1, 3]] = np.clip(rows[:, [1, 3]] - column, 0, width)
    inside[:, [2, 4]] = np.clip(rows[:, [2, 4]] - row, 0, height)
    before = (rows[:, 3:] - rows[:, 1:3]).prod(axis=1)
    sides = inside[:, 3:] - inside[:, 1:3]
    seen = sides.prod(axis=1) >= _VISIBLE * before
    # A thin strip at the edge that is nearly all of a thin thing is a thing; a strip of a house is not.
    kept: NDArray[np.float64] = inside[seen & (sides >= _SLIVER).all(axis=1)]
    return kept


def _put(folder: Path, name: str, picture: NDArray[np.uint8], rows: NDArray[np.float64], side: int) -> None:
    canvas = np.full((side, side, 3), _GREY, np.uint8)
    canvas[: picture.shape[0], : picture.shape[1]] = picture[:, :, ::-1]  # OpenCV writes BGR
    for kind in ("images", "labels"):
        (folder / kind / "train").mkdir(parents=True, exist_ok=True)
    _, data = cv2.imencode(".png", canvas, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    (folder / "images" / "train" / f"{name}.png").write_bytes(data.tobytes())
    low, high = rows[:, 1:3] / side, rows[:, 3:] / side
    lines = [
        f"{int(c)} {x:.6f} {y:.6f} {w:.6f} {h:.6f}"
        for c, (x, y), (w, h) in zip(rows[:, 0], (low + high) / 2, high - low, strict=True)
    ]
    (folder / "labels" / "train" / f"{name}.txt").write_text("\n".join(lines))


def _describe(folder: Path, labels: Sequence[str]) -> Path:
    """The dataset's yaml; JSON is yaml, and quotes whatever stands in a label."""
    place = folder / "data.yaml"
    names = {str(i): label for i, label in enumerate(labels)}
    body = {"path": str(folder.resolve()), "train": "images/train", "val": "images/train"}
    text = json.dumps({**body, "nc": len(labels)})[:-1]
    pairs = ", ".join(f"{i}: {json.dumps(n)}" for i, n in names.items())
    place.write_text(f'{text}, "names": {{{pairs}}}}}', encoding="utf-8")
    return place
