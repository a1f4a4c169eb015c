"""Task data of one tile ("geotile/1") and back. What comes back was edited by strangers and is checked."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from groundlook.core.errors import InvalidInput
from groundlook.core.geo import Affine, GeoRef, TileRef, WindowPx
from groundlook.core.tiling import Split
from groundlook_adapters.rasters.crs import CODE, FAR
from groundlook_adapters.rasters.pictures.render import Render
from groundlook_adapters.rasters.tiling.footprint import footprint, ground_size, lonlat_bbox, lonlat_centre

SCHEMA = "geotile/1"
_MAX_SIDE = 2**31 - 1
_TEXT = 4096
_WKT = 65536


def task_data(tile: TileRef, split: Split, image_url: str) -> dict[str, Any]:
    """What a Label Studio task holds of a tile: what people filter by is flat, the rest is under `geo`.

    `bbox` (west, south, east, north), `footprint`, `lon` and `lat` are WGS84 degrees, None where the tile has no
    georeference or is not on Earth; west > east crosses the antimeridian. `gsd_m`: metres. `proj:shape`: (height,
    width). `tile.render` must be one of ours or "", else InvalidInput.
    """
    centre = lonlat_centre(tile)
    georef = tile.georef
    is_code = georef is not None and CODE.fullmatch(georef.crs) is not None
    return {
        "image": image_url,
        "scene_id": tile.scene_id,
        "acquired": tile.acquired,
        "gsd_m": ground_size(tile),
        "lon": None if centre is None else centre[0],
        "lat": None if centre is None else centre[1],
        "split": split,
        "geo": {
            "schema": SCHEMA,
            "tile_uid": tile.uid,
            "source": {"uri": tile.source, "etag": tile.etag},
            "window": list(tile.window),
            "proj:shape": [tile.window[3], tile.window[2]],
            "proj:code": georef.crs if georef and is_code else None,
            "proj:wkt2": georef.crs if georef and not is_code else None,
            "proj:transform": list(georef.transform) if georef else None,
            "bbox": lonlat_bbox(tile),
            "footprint": footprint(tile),
            "datetime": tile.acquired,
            "render": Render.parse(tile.render).data() if tile.render else None,
        },
    }


def tile_ref(data: Mapping[str, Any]) -> TileRef | None:
    """The tile that `task_data` described; None for a task that is not ours. Raises InvalidInput naming the field."""
    geo = data.get("geo")
    schema = geo.get("schema") if isinstance(geo, Mapping) else None
    if not isinstance(geo, Mapping) or not isinstance(schema, str) or not schema.startswith("geotile/"):
        return None
    if schema != SCHEMA:
        raise InvalidInput(f"geo.schema is {schema[:40]!r}, this Groundlook reads {SCHEMA!r}; update it")
    source = geo.get("source")
    if not isinstance(source, Mapping):
        raise _bad("source", source)
    window = _window(geo)
    tile = TileRef(
        source=_text("source.uri", source.get("uri"), _TEXT),
        etag=_text("source.etag", source.get("etag"), 256),
        window=window,
        georef=_georef(geo),
        scene_id=_scene_id(data.get("scene_id")),
        acquired=None if data.get("acquired") is None else _text("acquired", data.get("acquired"), 64),
        render="" if geo.get("render") is None else Render.parse(geo["render"]).text(),
    )
    if geo.get("tile_uid") != tile.uid:
        raise InvalidInput(
            f"geo.tile_uid {str(geo.get('tile_uid'))[:16]!r} does not fit source, window, place and render; "
            "somebody edited the task's data: ingest the scene again"
        )
    return tile


def _bad(name: str, value: Any) -> InvalidInput:
    return InvalidInput(f"geo.{name} {str(value)[:80]!r} can't be used; ingest the scene again")


def _text(name: str, value: Any, limit: int) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= limit or "\0" in value:
        raise _bad(name, value)
    return value


def _scene_id(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[0-9A-Za-z_-]{0,64}", value):
        raise _bad("scene_id", value)
    return value


def _is_int(value: Any, low: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= _MAX_SIDE


def _window(geo: Mapping[str, Any]) -> WindowPx:
    value = geo.get("window")
    if not isinstance(value, list) or len(value) != 4 or not all(map(_is_int, value, (0, 0, 1, 1))):
        raise _bad("window", value)
    if geo.get("proj:shape") != [value[3], value[2]]:
        raise _bad("proj:shape", geo.get("proj:shape"))
    return value[0], value[1], value[2], value[3]


def _georef(geo: Mapping[str, Any]) -> GeoRef | None:
    code, wkt, transform = geo.get("proj:code"), geo.get("proj:wkt2"), geo.get("proj:transform")
    if code is None and wkt is None and transform is None:
        return None
    if code is None:
        return GeoRef(_text("proj:wkt2", wkt, _WKT), _affine(transform))
    if wkt is not None or not isinstance(code, str) or not CODE.fullmatch(code):
        raise _bad("proj:code", code)
    return GeoRef(code, _affine(transform))


def _affine(value: Any) -> Affine:
    if not isinstance(value, list) or len(value) != 6 or not all(map(_is_finite, value)):
        raise _bad("proj:transform", value)
    a, b, c, d, e, f = (float(v) + 0.0 for v in value)  # −0.0 is written as 0
    if not math.isfinite(a * e - b * d) or a * e - b * d == 0:
        raise _bad("proj:transform", value)
    return a, b, c, d, e, f


def _is_finite(value: Any) -> bool:
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= FAR
    )  # PROJ hangs on numbers beyond any map
