"""Regions, tiles, tasks and projects as plain JSON values, for what we store ourselves: store rows, snapshots, pieces
of bulk work. Pixels only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from groundlook.core.geo import GeoRef, TileRef
from groundlook.core.geometry import Box, Ellipse, Point, Polygon, Shape, WholeTile
from groundlook.core.mask import Mask
from groundlook.core.types import Control, LabelConfig, Project, Region, Task


def encode_region(region: Region) -> dict[str, Any]:
    """Region → JSON value; the inverse of `decode_region`."""
    body: dict[str, Any] = {"label": region.label, "score": region.score, "uid": region.uid, "origin": region.origin}
    if region.note:
        body["note"] = region.note
    if region.control:
        body["control"] = region.control
    if region.frame is not None:
        body["frame"] = list(region.frame)
    return {**body, **encode_shape(region.shape)}


def decode_region(body: Mapping[str, Any]) -> Region:
    """JSON value → Region."""
    frame = body.get("frame")
    return Region(
        decode_shape(body),
        body["label"],
        body["score"],
        body["uid"],
        body["origin"],
        body.get("note", ""),
        body.get("control", ""),
        None if frame is None else (int(frame[0]), int(frame[1])),
    )


def encode_shape(shape: Shape) -> dict[str, Any]:
    """Shape → JSON object of one key, its kind; the inverse of `decode_shape`."""
    match shape:
        case Box():
            return {"box": [shape.x, shape.y, shape.width, shape.height, shape.rotation]}
        case Polygon():
            return {"polygon": [list(p) for p in shape.points]}
        case Ellipse():
            return {"ellipse": [shape.x, shape.y, shape.rx, shape.ry, shape.rotation]}
        case Point():
            return {"point": [shape.x, shape.y]}
        case Mask():
            return {"mask": [shape.width, shape.height, shape.runs.reshape(-1).tolist()]}
        case WholeTile():
            return {"whole": True}


def decode_shape(body: Mapping[str, Any]) -> Shape:
    """JSON object → Shape; keys that are none of a shape's are passed over."""
    if "box" in body:
        return Box(*body["box"])
    if "polygon" in body:
        return Polygon(tuple((float(x), float(y)) for x, y in body["polygon"]))
    if "ellipse" in body:
        return Ellipse(*body["ellipse"])
    if "point" in body:
        return Point(*body["point"])
    if "mask" in body:
        width, height, runs = body["mask"]
        return Mask(width, height, np.array(runs, dtype=np.int64).reshape(-1, 2))
    return WholeTile()


def encode_tile(tile: TileRef | None) -> dict[str, Any] | None:
    """TileRef → JSON value; the inverse of `decode_tile`."""
    if tile is None:
        return None
    georef = tile.georef
    return {
        "source": tile.source,
        "etag": tile.etag,
        "window": list(tile.window),
        "georef": None if georef is None else [georef.crs, list(georef.transform)],
        "scene_id": tile.scene_id,
        "acquired": tile.acquired,
        "render": tile.render,
    }


def decode_tile(body: Mapping[str, Any] | None) -> TileRef | None:
    """JSON value → TileRef."""
    if body is None:
        return None
    column, row, width, height = body["window"]
    georef = None if body["georef"] is None else GeoRef(body["georef"][0], tuple(body["georef"][1]))
    return TileRef(
        body["source"],
        body["etag"],
        (column, row, width, height),
        georef,
        body["scene_id"],
        body["acquired"],
        body["render"],
    )


def encode_task(task: Task) -> dict[str, Any]:
    """Task → JSON value; the inverse of `decode_task`."""
    return {  # named one by one, for asdict copies a hundred thousand of them for half a minute
        "id": task.id,
        "image": task.image,
        "tile": encode_tile(task.tile),
        "split": task.split,
        "labelled": task.labelled,
        "others": dict(task.others),
        "site": task.site,
        "sensor": task.sensor,
    }


def decode_task(body: Mapping[str, Any]) -> Task:
    """JSON value → Task."""
    return Task(**{**body, "tile": decode_tile(body["tile"])})


def encode_project(project: Project) -> dict[str, Any]:
    """Project → JSON value, its token in it; the inverse of `decode_project`."""
    return asdict(project)


def decode_project(body: Mapping[str, Any]) -> Project:
    """JSON value → Project. Also of earlier versions, which knew fewer kinds of controls."""
    config = dict(body["config"])
    labels = tuple(config.pop("labels"))
    controls, others = (_controls(config.pop(part, ())) for part in ("controls", "others"))
    unserved = tuple((tag, name) for tag, name in config.pop("unserved", ()))
    found = LabelConfig(**config, labels=labels, controls=controls, others=others, unserved=unserved)
    return Project(**{**body, "config": found})


def _controls(rows: Sequence[Mapping[str, Any]]) -> tuple[Control, ...]:
    return tuple(Control(**{**row, "labels": tuple(row["labels"])}) for row in rows)
