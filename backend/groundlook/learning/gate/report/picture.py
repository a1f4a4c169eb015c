"""One tile three times: what people said, what the champion says, what the challenger says."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from groundlook.core.exam import Exam
from groundlook.core.geometry import Point, WholeTile
from groundlook.core.mask import Mask
from groundlook.core.types import Region
from groundlook.learning.gate.report.differ import Differ

Read = Callable[[int], NDArray[np.uint8] | None]
"""Task id → its pixels, uint8 RGB (H, W, 3); None where they can't be had."""

COLOURS = {"people": "#12B886", "champion": "#3BA0FF", "challenger": "#FF8A1F"}
"""Told apart by colour-blind eyes, and light enough for dark ground."""
_SIDE = 400
_QUALITY = 82
_DIM = 0.8
"""So that the lines stand out."""


def panels(
    one: Differ, challenger: Exam, champion: Exam | None, pixels: NDArray[np.uint8] | None
) -> list[tuple[str, str, tuple[str, ...]]]:
    """Who, the picture as a data URI ("" without pixels), and the classes said of the whole tile."""
    answers = [("people", challenger.truth[one.row])]
    for who, exam in (("champion", champion), ("challenger", challenger)):
        if exam is not None:
            answers.append((who, _sure(exam.said[one.row], exam.tally.threshold())))
    return [
        (who, "" if pixels is None else _drawn(pixels, regions, COLOURS[who]), _whole(regions))
        for who, regions in answers
    ]


def _sure(regions: Sequence[Region], threshold: float) -> tuple[Region, ...]:
    return tuple(r for r in regions if r.score is None or r.score >= threshold)


def _whole(regions: Sequence[Region]) -> tuple[str, ...]:
    return tuple(r.label for r in regions if isinstance(r.shape, WholeTile))


def _drawn(pixels: NDArray[np.uint8], regions: Sequence[Region], colour: str) -> str:
    """A JPEG with the regions outlined, as a data URI; masks are tinted."""
    height, width = pixels.shape[:2]
    zoom = _SIDE / max(height, width)
    tinted = _tinted(pixels, [r.shape for r in regions if isinstance(r.shape, Mask)], colour)
    size = (max(round(width * zoom), 1), max(round(height * zoom), 1))
    image = Image.fromarray(tinted).resize(size, Image.Resampling.LANCZOS)
    pen = ImageDraw.Draw(image)
    for region in regions:
        _outline(pen, region, zoom, colour)
    body = io.BytesIO()
    image.save(body, "JPEG", quality=_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(body.getvalue()).decode()


def _tinted(pixels: NDArray[np.uint8], masks: Sequence[Mask], colour: str) -> NDArray[np.uint8]:
    tint = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    painted = (pixels * _DIM).astype(np.uint8)
    for mask in masks:
        if (mask.height, mask.width) == pixels.shape[:2]:
            inside = mask.pixels()
            painted[inside] = (painted[inside] * 0.45 + tint * 0.55).astype(np.uint8)
    return painted


def _outline(pen: ImageDraw.ImageDraw, region: Region, zoom: float, colour: str) -> None:
    if isinstance(region.shape, WholeTile | Mask):
        return
    points = [(float(x), float(y)) for x, y in region.shape.corners() * zoom]
    if isinstance(region.shape, Point):
        (x, y) = points[0]
        pen.ellipse((x - 4, y - 4, x + 4, y + 4), outline=colour, width=2)
    elif points:
        pen.line([*points, points[0]], fill=colour, width=3, joint="curve")
