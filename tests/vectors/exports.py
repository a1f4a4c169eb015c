"""What the tests of exports share: places, regions, reading back."""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pyogrio
import shapely
from pyproj import CRS, Transformer

from groundlook.core.geo import GeoRef, Points, TileRef, WindowPx
from groundlook.core.geometry import Polygon, Shape
from groundlook.core.types import Original, Region
from groundlook_adapters.vectors.export.gis import Feature

UTM = GeoRef("EPSG:32611", (0.1, 0.0, 321_882.2, 0.0, -0.1, 4_096_689.2))
TURNED = GeoRef("EPSG:32631", (0.08, 0.06, 448_000.0, 0.06, -0.08, 5_428_000.0))
L_SHAPE = Polygon(((10, 10), (90, 10), (90, 40), (50, 40), (50, 80), (10, 80)))
ENDING = {"gpkg": "gpkg", "geojson": "geojson", "geoparquet": "parquet", "flatgeobuf": "fgb"}
FIRST: WindowPx = (0, 0, 1024, 1024)


def tile(georef: GeoRef | None = UTM, source: str = "/data/HARV_022.tif", window: WindowPx = FIRST) -> TileRef:
    """A tile of a scene whose own georeference is `georef`."""
    placed = None if georef is None else georef.window(window[0], window[1])
    return TileRef(source, "e", window, placed, "s", "2019-06-05T10:11:12")


def feature(
    shape: Shape,
    georef: GeoRef | None = UTM,
    label: str = "tree",
    uid: str = "",
    source: str = "/data/HARV_022.tif",
    window: WindowPx = FIRST,
    task: int = 1,
    annotation: int = 10,
    annotator: str = "ann",
    original: Original | None = None,
    opinion: int = 1,
) -> Feature:
    """A region of a tile, as a person drew it."""
    region = Region(shape, label, uid=uid)
    where = tile(georef, source, window)
    return Feature(region, where, task, annotation, annotator, original=original, opinion=opinion, lead_time=2.0)


def read(path: Path, layer: str = "regions") -> tuple[list[Any], dict[str, list[Any]], str]:
    """(geometries, columns, CRS) of a layer of any of the formats; a Parquet file has the layer's name in its own."""
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        geo = json.loads(table.schema.metadata[b"geo"])
        crs = CRS.from_json_dict(geo["columns"]["geometry"]["crs"])
        code = crs.to_authority()
        shapes = list(shapely.from_wkb(table.column("geometry").to_numpy(zero_copy_only=False)))
        return shapes, table.to_pydict(), ":".join(code) if code else crs.to_wkt()
    meta, _, geometry, columns = pyogrio.raw.read(path, layer=layer if path.suffix != ".fgb" else None)
    names = [str(name) for name in meta["fields"]]
    return list(shapely.from_wkb(geometry)), {n: c.tolist() for n, c in zip(names, columns, strict=True)}, meta["crs"]


def one(geometry: Any) -> Any:
    """The only part of a multipolygon."""
    parts = list(getattr(geometry, "geoms", [geometry]))
    assert len(parts) == 1
    return parts[0]


def pixels(geometry: Any, georef: GeoRef, lonlat: bool = False) -> Points:
    """The corners of a polygon's outline, or a point, in pixels of the scene."""
    points = shapely.get_coordinates(geometry)
    points = points[:-1] if len(points) > 1 else points
    if lonlat:
        back = Transformer.from_crs("EPSG:4326", georef.crs, always_xy=True)
        twice = np.concatenate([points, points])
        points = np.stack(back.transform(twice[:, 0], twice[:, 1]), axis=1)[: len(points)]
    return georef.to_pixel(points)


def deviation(found: Points, expected: Points) -> float:
    """The farthest that any corner of one ring is from the nearest of the other, pixels."""
    apart = np.hypot(*(found[:, None] - expected[None]).transpose(2, 0, 1))
    return float(max(apart.min(axis=0).max(), apart.min(axis=1).max()))


@contextmanager
def disk_of(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
