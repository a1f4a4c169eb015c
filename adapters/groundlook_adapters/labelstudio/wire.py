"""Label Studio's JSON ↔ core. Percent lives in this file only.

Rectangles: x, y, width, height in percent of the image's own width and height, `rotation` in degrees clockwise about
the saved corner in pixel space (facts: measured against the browser's own corners).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from groundlook.core.errors import InvalidInput
from groundlook.core.geometry import Box, Polygon, Shape
from groundlook.core.types import Annotation, LabelConfig, Prediction, Region

log = logging.getLogger("groundlook.labelstudio")

RECTANGLE, POLYGON = "rectanglelabels", "polygonlabels"
_TYPES = {"rectanglelabels", "rectangle", "polygonlabels", "polygon"}


def encode_region(region: Region, config: LabelConfig, size: tuple[int, int]) -> dict[str, Any]:
    """Region → one item of a `result`. `size`: (width, height) of the image in pixels."""
    width, height = size
    shape = region.shape
    value: dict[str, Any]
    if isinstance(shape, Box):
        kind = RECTANGLE
        value = {
            "x": shape.x / width * 100,
            "y": shape.y / height * 100,
            "width": shape.width / width * 100,
            "height": shape.height / height * 100,
            "rotation": shape.rotation,
        }
    elif isinstance(shape, Polygon):
        kind = POLYGON
        value = {"points": [[x / width * 100, y / height * 100] for x, y in shape.points], "closed": True}
    else:
        raise InvalidInput(f"{type(shape).__name__} has no control here")
    item: dict[str, Any] = {
        "type": kind,
        "from_name": config.control,
        "to_name": config.image,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "origin": region.origin,
        "value": {**value, kind: [region.label]},
    }
    if region.uid:
        item["id"] = region.uid
    if region.score is not None:
        item["score"] = region.score
    return item


def decode_regions(result: Sequence[Mapping[str, Any]], config: LabelConfig) -> tuple[Region, ...]:
    """A `result` → regions in pixels. Controls and shapes that we don't read are left out. A label that the config
    no longer has stays: it is exported, and not learned. A region that can't be understood is left out and logged,
    so that one broken region never stops the loop."""
    readable = {c.name: c.labels for c in config.controls}
    found = []
    for item in result:
        if item.get("type") in _TYPES and item.get("from_name") in readable:
            try:
                found.append(decode_region(item))
            except InvalidInput as error:
                log.warning("left out: %s", error)
            else:
                _note_unknown(found[-1].label, readable[item["from_name"]])
    return tuple(found)


def _note_unknown(label: str, known: Sequence[str]) -> None:
    if label not in known:
        log.warning("label %r is not in the label config (it has: %s); exported, not learned", label, ", ".join(known))


def decode_region(item: Mapping[str, Any]) -> Region:
    """One item of a `result`, a rectangle or a polygon. Raises InvalidInput that says what is wrong with it."""
    kind = str(item["type"])
    try:
        value = item["value"]
        width, height = float(item["original_width"]), float(item["original_height"])
        shape = _box(value, width, height) if kind.startswith("rectangle") else _polygon(value, width, height)
        labels = value.get(kind) or value.get("labels") or []
        score = item.get("score")
        uid, origin = str(item.get("id", "")), str(item.get("origin", "manual"))
        return Region(shape, str(labels[0]), None if score is None else float(score), uid, origin)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise InvalidInput(f"region {item.get('id')!r} is not a {kind} of Label Studio ({error!r})") from None


def _box(value: Mapping[str, Any], width: float, height: float) -> Shape:
    across, down = width / 100, height / 100
    box = Box(
        value["x"] * across,
        value["y"] * down,
        value["width"] * across,
        value["height"] * down,
        float(value.get("rotation") or 0.0),
    )
    if not all(map(math.isfinite, (box.x, box.y, box.width, box.height, box.rotation))):
        raise ValueError("not finite")
    return box


def _polygon(value: Mapping[str, Any], width: float, height: float) -> Shape:
    points = tuple((float(x) * width / 100, float(y) * height / 100) for x, y in value["points"])
    if len(points) < 3 or not all(math.isfinite(c) for p in points for c in p):
        raise ValueError("a polygon needs three finite points")
    return Polygon(points)


def encode_prediction(prediction: Prediction, config: LabelConfig, score: float, version: str) -> dict[str, Any]:
    """One prediction as `/predict` answers it and as it is imported. `score` is the place in the queue, 0…1."""
    result = [encode_region(r, config, prediction.size) for r in prediction.regions]
    return {"result": result, "score": score, "model_version": version}


def decode_annotation(body: Mapping[str, Any], task_id: int, config: LabelConfig | None) -> Annotation:
    """An annotation as the API and webhooks send it. Without `config` its regions are left out."""
    try:
        author = body.get("completed_by")
        if isinstance(author, Mapping):
            author = author.get("email") or author.get("id")
        return Annotation(
            id=int(body["id"]),
            task_id=task_id,
            regions=() if config is None else decode_regions(body.get("result") or [], config),
            author=str(author or ""),
            created=_seconds(body["created_at"]),
            lead_time=float(body.get("lead_time") or 0.0),
            skipped=bool(body.get("was_cancelled")),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInput(f"not an annotation of Label Studio ({error!r})") from None


def _seconds(moment: str | datetime) -> float:
    when = moment if isinstance(moment, datetime) else datetime.fromisoformat(str(moment).replace("Z", "+00:00"))
    return when.timestamp()
