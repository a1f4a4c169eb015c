"""YOLO text labels, as ultralytics reads them: upright boxes ("yolo") or turned ones ("yolo-obb").

`images/<split>/*`, `labels/<split>/*.txt`, `data.yaml`. A line is `class cx cy w h`, the upright box around the true
outline, or `class x1 y1 x2 y2 x3 y3 x4 y4`, the true corners; both as fractions of the picture's sides. Other shapes
than rectangles get the smallest turned rectangle around them. What reaches over the picture's edge is cut there, and
the corners of a turned rectangle that is still outside are pulled onto the edge: ultralytics drops the whole picture
otherwise. A tile reviewed and found empty has an empty file. `margin` tiles are written, and not named in `data.yaml`.
Source: docs.ultralytics.com/datasets/detect and /obb.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from groundlook.core.geometry import Box, Ellipse
from groundlook_adapters.vectors.datasets.images import Pictures
from groundlook_adapters.vectors.datasets.parts import (
    DatasetTile,
    Seen,
    Tally,
    places_of,
    seen,
    skip_whole_tile_classes,
    without_points,
)
from groundlook_adapters.vectors.geometry.fit import fit_box

_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")


class Yolo:
    """The writer of both forms."""

    def __init__(self, draft: Path, labels: Sequence[str], pictures: Pictures, tally: Tally, turned: bool) -> None:
        self._draft, self._labels, self._places = draft, labels, places_of(labels)
        self._pictures, self._tally, self._turned = pictures, tally, turned
        for kind in ("images", "labels"):
            for split in ("train", "val"):
                (draft / kind / split).mkdir(parents=True)

    def add(self, tile: DatasetTile) -> None:
        path = self._pictures.write(tile)
        if path is None:
            return
        skip_whole_tile_classes(tile, self._tally)
        lines = []
        for thing in without_points(seen(tile, self._places, self._tally), self._tally):
            values = (corners_of if self._turned else _box)(thing, tile.tile.size) / tile.tile.size
            if not self._turned:
                values = np.stack([values.mean(axis=0), values[1] - values[0]])
            lines.append(f"{thing.place} " + " ".join(f"{v:.8f}" for v in values.reshape(-1)) + "\n")
            self._tally.regions += 1
            self._tally.clipped += not thing.whole
        place = self._draft / "labels" / path.parent.name / f"{path.stem}.txt"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("".join(lines), encoding="ascii")

    def close(self) -> None:
        (self._draft / "data.yaml").write_text(self._yaml(), encoding="utf-8")

    def _yaml(self) -> str:
        # No `path`: ultralytics then takes the folder that the file lies in, wherever that is moved to.
        lines = ["# Paths are relative to this file.", "train: images/train", "val: images/val"]
        if not self._tally.splits["val"]:
            lines.insert(1, "# No tile of this export is held out: images/val is empty.")
        names = [f"  {i}: {quoted(label)}" for i, label in enumerate(self._labels)]
        return "\n".join([*lines, f"nc: {len(names)}", "names:" if names else "names: {}", *names]) + "\n"


def _box(thing: Seen, size: tuple[int, int]) -> NDArray[np.float64]:
    """(2, 2): top left and bottom right, in pixels."""
    return np.array(thing.geometry.bounds, dtype=np.float64).reshape(2, 2)


def corners_of(thing: Seen, size: tuple[int, int]) -> NDArray[np.float64]:
    """(4, 2) in pixels, none outside the picture: the true corners of a rectangle in the order in which they were
    drawn, for all else those of the smallest turned rectangle around what is seen, clockwise on screen."""
    corners, shape = thing.corners(), thing.region.shape
    if isinstance(shape, Ellipse) and thing.whole:
        corners = _around(shape)
    if corners is None:
        corners = (fit_box(thing.geometry) or _upright(thing)).corners()
    return np.clip(corners, 0, size)


def _upright(thing: Seen) -> Box:
    x0, y0, x1, y1 = thing.geometry.bounds
    return Box(x0, y0, x1 - x0, y1 - y0)


def _around(ellipse: Ellipse) -> NDArray[np.float64]:
    """The rectangle along an ellipse's axes: none around it is smaller."""
    upright = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * (ellipse.rx, ellipse.ry)
    t = np.radians(ellipse.rotation)
    turned = upright @ np.array([[np.cos(t), np.sin(t)], [-np.sin(t), np.cos(t)]])
    return np.asarray(turned + np.array([ellipse.x, ellipse.y]), dtype=np.float64)


def quoted(text: str) -> str:
    """A YAML double-quoted scalar of any text: no label can end its line or become a number, a date or `null`."""
    body = json.dumps(re.sub("[\ud800-\udfff]", "\ufffd", text), ensure_ascii=False)
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found.group()):04x}", body)
