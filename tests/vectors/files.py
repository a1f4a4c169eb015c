"""Small vector files of every format, and loading them: what the tests of vectors-in share."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import shapely
from pyproj import CRS

from groundlook.core.geo import GeoRef, TileRef
from groundlook.core.types import Control, LabelConfig
from groundlook_adapters.vectors.load.place import Labelling, Loaded, Placer
from groundlook_adapters.vectors.load.read import read
from groundlook_adapters.vectors.load.source import look_at

UTM = "EPSG:32631"
GEOREF = GeoRef(UTM, (0.5, 0.0, 500000.0, 0.0, -0.5, 5400000.0))
TILES = [
    (1, TileRef("s.tif", "e", (0, 0, 256, 256), GEOREF)),
    (2, TileRef("s.tif", "e", (200, 0, 256, 256), GEOREF.window(200, 0))),
]
SUFFIXES = (".gpkg", ".geojson", ".shp", ".fgb", ".parquet")
DRIVERS = {".gpkg": "GPKG", ".geojson": "GeoJSON", ".shp": "ESRI Shapefile", ".fgb": "FlatGeobuf"}


def config(*controls: tuple[str, Sequence[str]]) -> LabelConfig:
    found = tuple(Control(f"c{i}", tag, tuple(labels)) for i, (tag, labels) in enumerate(controls))
    return LabelConfig(found[0].name, found[0].type, "image", "image", found[0].labels, found)


POLYGONS = config(("PolygonLabels", ["House"]))


def on_map(geometry: Any) -> Any:
    """Pixels of the scene → UTM."""
    return shapely.transform(geometry, GEOREF.to_map)


def write(path: Path, shapes: Sequence[Any], crs: str | None = UTM, **columns: Sequence[Any]) -> Path:
    """One vector file of the format its name says."""
    wkb = np.array([None if s is None else shapely.to_wkb(s) for s in shapes], dtype=object)
    if path.suffix == ".parquet":
        column: dict[str, Any] = {"encoding": "WKB", "geometry_types": []}
        if crs != "OGC:CRS84":
            column["crs"] = None if crs is None else CRS(crs).to_json_dict()
        geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
        table = pa.table({"geometry": pa.array(wkb.tolist(), pa.binary()), **columns})
        pq.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), path)
        return path
    values = [np.array(v, dtype=object if isinstance(v[0], str) else None) for v in columns.values()]
    kinds = {s.geom_type for s in shapes if s is not None}
    kind = kinds.pop() if len(kinds) == 1 else "Unknown"
    kind += " Z" if any(s is not None and s.has_z for s in shapes) else ""
    options = {"SPATIAL_INDEX": "NO"} if path.suffix == ".fgb" else {}  # an index puts them into another order
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a missing CRS, which is what is wanted
        pyogrio.raw.write(
            path, wkb, values, list(columns), driver=DRIVERS[path.suffix], geometry_type=kind, crs=crs, **options
        )
    return path


def load(
    path: Path,
    labelling: Labelling | None = None,
    to: LabelConfig = POLYGONS,
    tiles: Sequence[tuple[int, TileRef]] = TILES,
    crs: str | None = None,
    layer: str | None = None,
    **options: Any,
) -> tuple[list[Loaded], Placer]:
    source = look_at(path, layer, crs)
    placer = Placer(7, tiles, to, labelling or Labelling(), **options)
    found = []
    for features in read(source, placer.ground.bounds(source.crs), placer.labelling.column):
        found += list(placer.place(source, features))
    return found, placer


HOUSES = [shapely.box(10, 10, 40, 30), shapely.Polygon([(230, 50), (290, 60), (280, 110), (225, 100)])]
