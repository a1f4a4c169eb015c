"""Tiles to export, and what is on disk afterwards."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groundlook.core.geo import GeoRef, TileRef
from groundlook.core.geometry import Box, Shape
from groundlook.core.types import Region
from groundlook_adapters.vectors.datasets import DatasetReport, DatasetTile, Form, export_dataset

LABELS = ["car", "boat", "tree"]
WIDE = (1000, 500)
# 40 % 30 % 30 % 20 % of 1000 × 500, turned by 30°: the corners that the browser draws
TURNED = Box(400, 150, 300, 100, 30)
CORNERS = [[400, 150], [659.808, 300], [609.808, 386.603], [350, 236.603]]
UTM = GeoRef("EPSG:32631", (0.5, 0.0, 448_000.0, 0.0, -0.5, 5_428_000.0))
PICTURE_FORMS: list[Form] = ["coco", "yolo", "yolo-obb", "voc"]


def tile(
    *shapes: Shape | tuple[Shape, str],
    size: tuple[int, int] = WIDE,
    at: tuple[int, int] = (0, 0),
    source: str = "/data/scene.tif",
    split: str = "train",
    task: int = 7,
) -> DatasetTile:
    pairs = [s if isinstance(s, tuple) else (s, "car") for s in shapes]
    ref = TileRef(source, "e", (*at, *size), UTM.window(*at), "s")
    return DatasetTile(ref, tuple(Region(s, label) for s, label in pairs), task, task + 100, split)


def grey(ref: TileRef) -> NDArray[np.uint8]:
    return np.full((ref.size[1], ref.size[0], 3), 90, dtype=np.uint8)


def write(folder: Path, form: Form, *tiles: DatasetTile, **options: Any) -> DatasetReport:
    return export_dataset(folder, form, tiles, options.pop("labels", LABELS), options.pop("picture", grey), **options)


def coco(folder: Path, kind: str = "instances", split: str = "train") -> dict[str, Any]:
    body: dict[str, Any] = json.loads((folder / "annotations" / f"{kind}_{split}.json").read_text())
    return body


def yolo_lines(folder: Path, split: str = "train") -> list[list[float]]:
    (file,) = sorted((folder / "labels" / split).iterdir())
    return [[float(v) for v in line.split()] for line in file.read_text().splitlines()]


def voc_objects(folder: Path) -> list[ET.Element]:
    (file,) = sorted((folder / "Annotations").iterdir())
    return ET.fromstring(file.read_text()).findall("object")  # noqa: S314 - we wrote it


def numbers(element: ET.Element | None) -> list[float]:
    assert element is not None
    return [float(child.text or "nan") for child in element]


def decoded(segmentation: dict[str, Any]) -> NDArray[np.bool_]:
    """As pycocotools' frUncompressedRLE and decode: runs down the columns, the first outside."""
    height, width = segmentation["size"]
    flat = np.zeros(height * width, dtype=bool)
    at, inside = 0, False
    for count in segmentation["counts"]:
        flat[at : at + count] = inside
        at, inside = at + count, not inside
    assert at == height * width
    return flat.reshape((height, width), order="F")
