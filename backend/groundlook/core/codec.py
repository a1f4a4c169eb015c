"""Regions and tiles as plain JSON values, for what we store ourselves: store rows and snapshots. Pixels only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from groundlook.core.geo import GeoRef, TileRef
from groundlook.core.geometry import Box, Polygon, Shape
from groundlook.core.types import Region


def encode_region(region: Region) -> dict[str, Any]:
    """Region → JSON value; the inverse of `decode_region`."""
    shape = region.shape
    body: dict[str, Any] = {"label": region.label, "score": region.score, "uid": region.uid, "origin": region.origin}
    if isinstance(shape, Box):
        return {**body, "box": [shape.x, shape.y, shape.width, shape.height, shape.rotation]}
    return {**body, "polygon": [list(p) for p in shape.points]}


def decode_region(body: Mapping[str, Any]) -> Region:
    """JSON value → Region."""
    shape: Shape
    shape = Box(*body["box"]) if "box" in body else Polygon(tuple((float(x), float(y)) for x, y in body["polygon"]))
    return Region(shape, body["label"], body["score"], body["uid"], body["origin"])


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
