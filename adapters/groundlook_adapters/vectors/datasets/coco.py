"""COCO: one JSON per split, with true outlines, masks as runs, keypoints in a file of their own.

`annotations/instances_<split>.json` belongs to `images/<split>/`. Categories have ids from 1 in the config's order.
Segmentations are polygons; what polygons can't say (brush masks, holes) is uncompressed RLE, `counts` down the
columns as pycocotools has it, with `iscrowd` 0. `bbox` and `area` are those of the outline, not of its box.
Keypoints go to `annotations/keypoints_<split>.json`, as COCO itself has them: each label is a category with the one
keypoint of its name, and `bbox` is the pixel that holds the point (a point has no extent of its own).
Beyond COCO, each image has `geo` (crs, transform, window, scene, tile_uid; `crs` and `transform` null where it is on
no map) and `image_labels`, the classes given to the tile as a whole. Source: cocodataset.org/#format-data.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import shapely
from numpy.typing import NDArray

from groundlook.core.geometry import Point
from groundlook.core.mask import Mask
from groundlook_adapters.vectors.datasets.images import Pictures, safe_split
from groundlook_adapters.vectors.datasets.parts import (
    DatasetTile,
    Seen,
    Tally,
    places_of,
    polygons,
    seen,
    whole_tile_classes,
)
from groundlook_adapters.vectors.geometry.scan import pixels_inside
from groundlook_adapters.vectors.names import scene_name

_DIGITS = 4
"""Decimals of a pixel."""
_BUFFER = 1 << 20
"""Characters held back before they are written."""


class _Spool:
    """Images and annotations of one split, each in a file, until both can be put into one JSON."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._waiting: dict[str, list[str]] = {}
        self._characters = 0

    def add(self, kind: str, body: dict[str, Any]) -> None:
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
        self._waiting.setdefault(kind, []).append(text)
        self._characters += len(text)
        if self._characters > _BUFFER:
            self._flush()

    def _flush(self) -> None:
        for kind, lines in self._waiting.items():
            path = self._part(kind)
            lead = ",\n" if lines and path.exists() else ""
            with path.open("a", encoding="utf-8") as file:
                file.write(lead + ",\n".join(lines))
            lines.clear()
        self._characters = 0

    def finish(self, info: dict[str, Any], categories: dict[str, list[dict[str, Any]]]) -> None:
        """Write the file of instances, and that of keypoints where there are any; remove the parts."""
        self._flush()
        for kind in ("instances", "keypoints"):
            if kind == "instances" or kind in self._waiting:
                self._join(kind, info, categories[kind])
        for kind in self._waiting:
            self._part(kind).unlink()

    def _join(self, kind: str, info: dict[str, Any], categories: list[dict[str, Any]]) -> None:
        with (self._folder / f"{kind}_{self._name}.json").open("w", encoding="utf-8") as file:
            file.write(f'{{"info":{json.dumps(info)},\n"licenses":[],\n"images":[\n')
            self._copy("images", file)
            file.write('\n],\n"annotations":[\n')
            self._copy(kind, file)
            file.write(f'\n],\n"categories":{json.dumps(categories, ensure_ascii=False)}}}\n')

    def _copy(self, kind: str, into: TextIO) -> None:
        if kind in self._waiting:
            with self._part(kind).open(encoding="utf-8") as file:
                while block := file.read(1 << 20):
                    into.write(block)

    def _part(self, kind: str) -> Path:
        return self._folder / f".{self._name}.{kind}.part"


class Coco:
    """The writer of the format."""

    def __init__(self, draft: Path, labels: Sequence[str], pictures: Pictures, tally: Tally) -> None:
        self._folder = draft / "annotations"
        self._folder.mkdir()
        self._labels, self._places = [clean(label) for label in labels], places_of(labels)
        self._pictures, self._tally = pictures, tally
        self._spools: dict[str, _Spool] = {}
        self._images = self._annotations = 0

    def add(self, tile: DatasetTile) -> None:
        path = self._pictures.write(tile)
        if path is None:
            return
        self._images += 1
        spool = self._spool(safe_split(tile.split))
        spool.add("images", self._image(tile, path))
        for thing in seen(tile, self._places, self._tally):
            self._annotations += 1
            self._tally.regions += 1
            self._tally.clipped += not thing.whole
            common = {
                "id": self._annotations,
                "image_id": self._images,
                "category_id": thing.place + 1,
                "iscrowd": 0,
                "region": clean(thing.region.uid),
            }
            if isinstance(thing.region.shape, Point):
                spool.add("keypoints", common | _keypoint(thing, tile.tile.size))
            else:
                spool.add("instances", common | _outline(thing, tile.tile.size))

    def close(self) -> None:
        for spool in self._spools.values() or [self._spool("train")]:
            spool.finish({"description": "Groundlook export", "version": "1.0"}, self._categories())

    def _spool(self, split: str) -> _Spool:
        if split not in self._spools:
            self._spools[split] = _Spool(self._folder, split)
        return self._spools[split]

    def _image(self, tile: DatasetTile, path: Path) -> dict[str, Any]:
        (width, height), ref = tile.tile.size, tile.tile
        whole = whole_tile_classes(tile, self._places, self._tally)
        self._tally.regions += len(whole)
        return {
            "id": self._images,
            "file_name": path.name,
            "width": width,
            "height": height,
            "geo": {
                "crs": None if ref.georef is None else ref.georef.crs,
                "transform": None if ref.georef is None else list(ref.georef.transform),
                "window": list(ref.window),
                "scene": clean(scene_name(ref.source)),
                "tile_uid": ref.uid,
            },
            "image_labels": [{"category_id": i + 1, "name": self._labels[i]} for i in whole],
            "task": tile.task,
            "annotation": tile.annotation,
        }

    def _categories(self) -> dict[str, list[dict[str, Any]]]:
        plain = [{"id": i + 1, "name": label, "supercategory": ""} for i, label in enumerate(self._labels)]
        points = [{**c, "keypoints": [c["name"]], "skeleton": []} for c in plain]
        return {"instances": plain, "keypoints": points}


def _keypoint(thing: Seen, size: tuple[int, int]) -> dict[str, Any]:
    x, y = thing.geometry.x, thing.geometry.y
    corner = [min(int(x), size[0] - 1), min(int(y), size[1] - 1)]
    return {"keypoints": [_round(x), _round(y), 2], "num_keypoints": 1, "bbox": [*corner, 1, 1], "area": 1}


def _outline(thing: Seen, size: tuple[int, int]) -> dict[str, Any]:
    shape = thing.region.shape
    if isinstance(shape, Mask):
        (x0, y0), (x1, y1) = shape.corners()[0], shape.corners()[2]
        segmentation: Any = {"size": [shape.height, shape.width], "counts": column_counts(shape)}
        return {"segmentation": segmentation, "bbox": _rounded([x0, y0, x1 - x0, y1 - y0]), "area": shape.area}
    x0, y0, x1, y1 = thing.geometry.bounds
    parts = polygons(thing.geometry)
    if any(len(part.interiors) for part in parts):
        filled = pixels_inside(thing.geometry, size)
        segmentation = {"size": [size[1], size[0]], "counts": column_counts(filled)}
    elif (corners := thing.corners()) is not None:
        segmentation = [_rounded(corners.reshape(-1))]
    else:
        segmentation = [_rounded(shapely.get_coordinates(part.exterior)[:-1].reshape(-1)) for part in parts]
    return {
        "segmentation": segmentation,
        "bbox": _rounded([x0, y0, x1 - x0, y1 - y0]),
        "area": _round(thing.geometry.area),
    }


def column_counts(mask: Mask) -> list[int]:
    """COCO's uncompressed RLE: lengths of runs outside, inside, outside, … counted down the columns, left to right,
    the first of which is outside and may be 0. They add up to width · height. Source: pycocotools maskApi.c rleEncode.
    """
    size = mask.width * mask.height
    runs = _column_runs(mask)
    if len(runs) == 0:
        return [size]
    edges = np.concatenate([[0], runs.reshape(-1), [size]])
    counts = np.diff(edges)
    return [int(n) for n in (counts[:-1] if counts[-1] == 0 else counts)]


def _column_runs(mask: Mask) -> NDArray[np.int64]:
    """(N, 2): [start, end) in column-major order, ascending, none touching the next."""
    corners = mask.corners()
    if len(corners) == 0:
        return np.zeros((0, 2), dtype=np.int64)
    (x0, y0), (x1, y1) = corners[0].astype(int), corners[2].astype(int)
    # Only the rows and columns around the object: many small masks share a large tile.
    part = Mask(mask.width, int(y1 - y0), mask.runs - int(y0) * mask.width).pixels()[:, x0:x1]
    step = np.diff(np.pad(part.T.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    (column, start), (_, end) = np.nonzero(step == 1), np.nonzero(step == -1)
    base = (column + x0) * mask.height + y0
    starts, ends = base + start, base + end
    joins = starts[1:] == ends[:-1]
    return np.stack([starts[np.append(True, ~joins)], ends[np.append(~joins, True)]], axis=1).astype(np.int64)


def clean(text: str) -> str:
    """Text that can be written as UTF-8: lone surrogates become U+FFFD."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


def _rounded(values: Sequence[float] | NDArray[np.float64]) -> list[float]:
    return [_round(v) for v in values]


def _round(value: float) -> float:
    return round(float(value), _DIGITS)
