"""Scenes that ground control points or rational polynomials (RPCs) place: shown on a north-up grid of their own.

The grid follows from the file alone, so that it is the same on every machine:
- CRS: that of the control points; where it is in degrees (as RPCs are), the UTM zone of the scene's centre on WGS84,
  beyond 84° N and 80° S polar stereographic (EPSG:3995, EPSG:3031). A geographic CRS of another body stays.
  Control points that cross the antimeridian are taken there first.
- Extent and pixel size: GDAL's own suggestion, which keeps the length of the scene's diagonal in pixels.
- Heights: RPCs are evaluated at their own HEIGHT_OFF, the mean height of the scene; there is no terrain model.
- Resampling: bilinear, nearest for paletted pictures. The transform is exact (tolerance 0), so that a window's pixels
  don't depend on which window was asked for.
- Outside the scene: the file's nodata value, or an alpha band that is added after its own bands.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
import rasterio.warp
from rasterio.enums import ColorInterp, Resampling
from rasterio.vrt import WarpedVRT

from groundlook.core.errors import InvalidRaster
from groundlook_adapters.rasters.crs import crs_text, parse_crs, to_lonlat

_MOST_PIXELS = 16
"""Times the pixels of the file; control points that contradict each other ask for more."""
_WARP_MIB = 64


def needs_warp(dataset: Any) -> bool:
    """Whether only control points or RPCs say where an open raster lies."""
    return bool(dataset.transform.is_identity and (dataset.gcps[0] or dataset.rpcs is not None))


def warped(dataset: Any) -> WarpedVRT:
    """`dataset` on its grid; close it before `dataset`. Raises InvalidRaster."""
    points, crs = dataset.gcps
    if points and crs is None:
        raise InvalidRaster(
            f"{dataset.name} has ground control points without a CRS; give it: gdal_translate -a_srs EPSG:… IN OUT"
        )
    source = crs if points else parse_crs("EPSG:4326")
    target = _target(dataset, source)
    options: dict[str, Any] = {} if points else {"RPC_HEIGHT": repr(float(dataset.rpcs.height_off))}
    if dataset.nodata is None and ColorInterp.alpha not in dataset.colorinterp:
        options["add_alpha"] = True
    if points and _goes_round(source, points):
        dataset, source = _moved(dataset, source, target), target
    paletted = dataset.colorinterp[0] == ColorInterp.palette
    result = WarpedVRT(
        dataset,
        src_crs=source,
        crs=target,
        resampling=Resampling.nearest if paletted else Resampling.bilinear,
        tolerance=0,
        warp_mem_limit=_WARP_MIB,
        **options,
    )
    if result.width * result.height > _MOST_PIXELS * max(dataset.width * dataset.height, 64):
        size = f"{result.width} × {result.height}"
        result.close()
        raise InvalidRaster(
            f"{dataset.name} would be {size} px on the map, its own size is {dataset.width} × {dataset.height}: "
            "its control points or RPCs are wrong; warp it by hand: gdalwarp IN OUT"
        )
    return result


def _target(dataset: Any, source: Any) -> Any:
    if not source.is_geographic:
        return source
    lonlat = to_lonlat(crs_text(source), _places(dataset))
    if lonlat is None:
        return source
    east, north = np.cos(np.radians(lonlat[:, 0])).mean(), np.sin(np.radians(lonlat[:, 0])).mean()
    # the mean direction: the mean of longitudes is wrong across the antimeridian
    longitude, latitude = math.degrees(math.atan2(north, east)), float(lonlat[:, 1].mean())
    return parse_crs(f"EPSG:{utm(longitude, latitude)}")


def _goes_round(source: Any, points: Sequence[Any]) -> bool:
    """Whether control points in degrees cross the antimeridian, where a polynomial through their longitudes is of no
    use, or count them beyond it, where GDAL does not find its way back."""
    longitudes = np.array([p.x for p in points])
    return bool(source.is_geographic and (np.ptp(longitudes) > 180 or np.abs(longitudes).max() > 180))


def _moved(dataset: Any, source: Any, target: Any) -> Any:
    """`dataset` with its control points in `target`: a VRT of it that exists in memory only."""
    points, _ = dataset.gcps
    places = zip(*rasterio.warp.transform(source, target, [p.x for p in points], [p.y for p in points]), strict=True)
    with rasterio.MemoryFile(ext=".vrt") as file:
        rasterio.shutil.copy(dataset, file.name, driver="VRT")
        root = ET.fromstring(file.read())  # noqa: S314 (GDAL wrote it just now)
    listed = root.find("GCPList")
    assert listed is not None  # noqa: S101 (`dataset` has points)
    listed.set("Projection", target.to_wkt())
    for point, (x, y) in zip(listed, places, strict=True):
        point.set("X", repr(float(x)))
        point.set("Y", repr(float(y)))
    return rasterio.open(ET.tostring(root, encoding="unicode"), driver="VRT")


def utm(longitude: float, latitude: float) -> int:
    """EPSG code of the WGS84 / UTM zone of a place in degrees, or of the polar stereographic CRS beyond the zones."""
    if latitude > 84:
        return 3995
    if latitude < -80:
        return 3031
    zone = int((longitude + 180) % 360 // 6) + 1
    return (32600 if latitude >= 0 else 32700) + zone


def _places(dataset: Any) -> Any:
    points = dataset.gcps[0]
    if points:
        return np.array([(p.x, p.y) for p in points], dtype=np.float64)
    return np.array([(dataset.rpcs.long_off, dataset.rpcs.lat_off)], dtype=np.float64)
