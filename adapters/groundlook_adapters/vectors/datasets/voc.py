"""Pascal VOC: `Annotations/*.xml`, `JPEGImages/*`, `ImageSets/Main/<split>.txt`.

`bndbox` is the upright box around the true outline, in VOC's own counting: whole pixels, the first is 1, both ends
inclusive; box edges are rounded to the nearest edge between pixels, so `xmin - 1` and `xmax` are those edges. A turned
rectangle has `robndbox` too, as roLabelImg writes it: centre and sides in pixels, not rounded and counted from the
outer corner of the first pixel, `angle` in radians clockwise on screen, 0 ≤ angle < π. `truncated` is 1 where a part
lies outside the picture. Source: VOC2012 development kit, section 4.3 (annotation); github.com/cgvict/roLabelImg.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from groundlook.core.geometry import Box
from groundlook_adapters.vectors.datasets.images import Pictures, safe_split
from groundlook_adapters.vectors.datasets.parts import (
    DatasetTile,
    Seen,
    Tally,
    places_of,
    seen,
    skip_whole_tile_classes,
    without_points,
)
from groundlook_adapters.vectors.names import scene_name

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Voc:
    """The writer of the format."""

    def __init__(self, draft: Path, labels: Sequence[str], pictures: Pictures, tally: Tally) -> None:
        self._labels, self._places = labels, places_of(labels)
        self._pictures, self._tally = pictures, tally
        self._annotations, self._sets = draft / "Annotations", draft / "ImageSets" / "Main"
        self._annotations.mkdir()
        self._sets.mkdir(parents=True)
        (draft / "JPEGImages").mkdir()
        for split in ("train", "val"):
            (self._sets / f"{split}.txt").touch()

    def add(self, tile: DatasetTile) -> None:
        path = self._pictures.write(tile)
        if path is None:
            return
        skip_whole_tile_classes(tile, self._tally)
        objects = []
        for thing in without_points(seen(tile, self._places, self._tally), self._tally):
            objects.append(_object(thing, self._labels[thing.place], tile.tile.size))
            self._tally.regions += 1
            self._tally.clipped += not thing.whole
        text = _document(path.name, scene_name(tile.tile.source), tile.tile.size, objects)
        (self._annotations / f"{path.stem}.xml").write_text(text, encoding="utf-8")
        with (self._sets / f"{safe_split(tile.split)}.txt").open("a", encoding="ascii") as file:
            file.write(f"{path.stem}\n")

    def close(self) -> None:
        pass


def _document(name: str, scene: str, size: tuple[int, int], objects: Sequence[str]) -> str:
    return (
        f"<annotation>\n  <folder>JPEGImages</folder>\n  <filename>{xml(name)}</filename>\n"
        f"  <source><database>Groundlook</database><annotation>Label Studio</annotation>"
        f"<image>{xml(scene)}</image></source>\n"
        f"  <size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>\n"
        f"  <segmented>0</segmented>\n{''.join(objects)}</annotation>\n"
    )


def _object(thing: Seen, label: str, size: tuple[int, int]) -> str:
    shape = thing.region.shape
    turned = isinstance(shape, Box) and shape.rotation % 180 != 0
    x0, y0, x1, y1 = thing.geometry.bounds
    (xmin, xmax), (ymin, ymax) = _pixels(x0, x1, size[0]), _pixels(y0, y1, size[1])
    return (
        f"  <object>\n    <type>{'robndbox' if turned else 'bndbox'}</type>\n    <name>{xml(label)}</name>\n"
        f"    <pose>Unspecified</pose>\n    <truncated>{int(not thing.whole)}</truncated>\n"
        f"    <difficult>0</difficult>\n"
        f"    <bndbox><xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax></bndbox>\n"
        f"{_robndbox(shape) if isinstance(shape, Box) and turned else ''}  </object>\n"
    )


def _robndbox(box: Box) -> str:
    cx, cy = box.corners().mean(axis=0)
    angle = math.radians(box.rotation % 180)
    return (
        f"    <robndbox><cx>{cx:.4f}</cx><cy>{cy:.4f}</cy><w>{abs(box.width):.4f}</w><h>{abs(box.height):.4f}</h>"
        f"<angle>{angle:.6f}</angle></robndbox>\n"
    )


def _pixels(low: float, high: float, side: int) -> tuple[int, int]:
    """First and last pixel, from 1: between the edges nearest to `low` and `high`, and one pixel at least."""
    first = min(max(math.floor(low + 0.5) + 1, 1), side)
    return first, min(max(math.floor(high + 0.5), first), side)


def xml(text: str) -> str:
    """Text for an XML element; what XML 1.0 has no way to say becomes U+FFFD."""
    return escape(_NOT_XML.sub("\ufffd", text))
