"""Examples → a folder that ultralytics trains on."""

from __future__ import annotations

import json
from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import TrainingFailed
from groundlook.core.geo import Tile
from groundlook.core.tiling import grid
from groundlook.core.types import Region
from groundlook.models.pixels import as_rgb
from groundlook.models.training.aside import place_of
from groundlook.models.yolo.network import Kind
from groundlook.models.yolo.outlines import Outline, clipped, outline

LARGEST = 640
"""Side of the largest picture trained on; larger tiles are cut, not shrunk: things keep the size that they have
when the model predicts."""
_OVERLAP = 64
_STRIDE = 32
_GREY = 114

Things = list[tuple[int, Outline]]


@dataclass(frozen=True, slots=True)
class Written:
    """A dataset on disk. `yaml`: what ultralytics takes as its data. `side`: of its square pictures, in pixels. Of each
    picture its file's name without suffix, the classes that occur in it, and its place (training/aside.py)."""

    yaml: Path
    side: int
    boxes: int
    names: tuple[str, ...]
    classes: tuple[frozenset[int], ...]
    places: tuple[Hashable, ...]

    @property
    def pictures(self) -> int:
        """How many."""
        return len(self.names)


def write(
    examples: Iterable[tuple[Tile, Sequence[Region]]],
    labels: Sequence[str],
    folder: Path,
    largest: int = LARGEST,
    kind: Kind = "detect",
) -> Written:
    """Write `examples` under `folder`, each region as what a network of `kind` learns, clipped to its tile: the upright
    box around it, its outline ("segment"), or the smallest turned box around it ("obb").

    Regions whose label is not in `labels` are left out; tiles without regions are background. Holds one tile in
    memory at a time, twice where sizes differ. Raises TrainingFailed where there is nothing to learn.
    """
    raw = folder / "raw"
    raw.mkdir(parents=True)
    sizes, count = [], 0
    names: list[str] = []
    inside: list[frozenset[int]] = []
    places: list[Hashable] = []
    for number, (tile, regions) in enumerate(examples):
        for part, (picture, things) in enumerate(_cut(as_rgb(tile), _things(regions, labels, kind), largest)):
            classes = np.array([c for c, _ in things], np.int64)
            lines: dict[str, Any] = {f"outline{i}": points for i, (_, points) in enumerate(things)}
            names.append(f"{number:06d}-{part:03d}")
            np.savez(raw / f"{names[-1]}.npz", picture=picture, classes=classes, **lines)
            inside.append(frozenset(classes.tolist()))
            places.append(place_of(tile, number))
            sizes.append(max(picture.shape[:2]))
            count += len(things)
    if not count:
        raise TrainingFailed(
            f"none of the {len(sizes)} tiles has a region labelled {' or '.join(labels) or '(no labels)'}: label some"
        )
    side = -(-max(sizes) // _STRIDE) * _STRIDE
    for path in sorted(raw.iterdir()):
        with np.load(path) as kept:
            things = [(int(c), kept[f"outline{i}"]) for i, c in enumerate(kept["classes"])]
            _put(folder, path.stem, kept["picture"], [_line(c, points / side, kind) for c, points in things], side)
        path.unlink()
    raw.rmdir()
    return Written(_describe(folder, labels), side, count, tuple(names), tuple(inside), tuple(places))


def set_aside(folder: Path, names: Collection[str]) -> None:
    """Move what has one of `names`, pictures and what is said of them, from every "train" below `folder` to "val"."""
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and path.stem in names and "train" in parts:
            place = folder.joinpath(*("val" if part == "train" else part for part in parts))
            place.parent.mkdir(parents=True, exist_ok=True)
            path.rename(place)


def _things(regions: Sequence[Region], labels: Sequence[str], kind: Kind) -> Things:
    places = {label: i for i, label in enumerate(labels)}
    known = [(places[r.label], outline(r.shape, kind == "detect")) for r in regions if r.label in places]
    return [(c, points) for c, points in known if points is not None]


def _cut(picture: NDArray[np.uint8], things: Things, largest: int) -> Iterator[tuple[NDArray[np.uint8], Things]]:
    height, width = picture.shape[:2]
    for column, row, w, h in grid(width, height, largest, min(_OVERLAP, largest - 1)):
        seen = ((c, clipped(points, (column, row, w, h))) for c, points in things)
        yield picture[row : row + h, column : column + w], [(c, points) for c, points in seen if points is not None]


def _line(label: int, points: Outline, kind: Kind) -> str:
    """A line of a label file; `points` as fractions of the picture."""
    if kind == "detect":
        low, high = points.min(axis=0), points.max(axis=0)
        values = np.concatenate([(low + high) / 2, high - low])
    else:
        values = np.clip(points, 0, 1).reshape(-1)
    return f"{label} " + " ".join(f"{v:.6f}" for v in values)


def _put(folder: Path, name: str, picture: NDArray[np.uint8], lines: Sequence[str], side: int) -> None:
    canvas = np.full((side, side, 3), _GREY, np.uint8)
    canvas[: picture.shape[0], : picture.shape[1]] = picture[:, :, ::-1]  # OpenCV writes BGR
    for what in ("images", "labels"):
        (folder / what / "train").mkdir(parents=True, exist_ok=True)
    save_png(folder / "images" / "train" / f"{name}.png", canvas)
    (folder / "labels" / "train" / f"{name}.txt").write_text("\n".join(lines))


def save_png(path: Path, bgr: NDArray[np.uint8]) -> None:
    """Quickly, whatever letters are in the path."""
    _, data = cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    path.write_bytes(data.tobytes())


def _describe(folder: Path, labels: Sequence[str]) -> Path:
    """The dataset's yaml; JSON is yaml, and quotes whatever stands in a label."""
    place = folder / "data.yaml"
    names = {str(i): label for i, label in enumerate(labels)}
    body = {"path": str(folder.resolve()), "train": "images/train", "val": "images/train"}
    text = json.dumps({**body, "nc": len(labels)})[:-1]
    pairs = ", ".join(f"{i}: {json.dumps(n)}" for i, n in names.items())
    place.write_text(f'{text}, "names": {{{pairs}}}}}', encoding="utf-8")
    return place
