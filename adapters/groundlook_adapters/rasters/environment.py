"""Whether GDAL and PROJ work here: variables that point them at another installation's data, and a transform whose
answer is known. Nothing is raised: what is wrong comes back as text."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache

import rasterio
import rasterio.warp
from pyproj import Transformer
from pyproj.exceptions import ProjError
from rasterio._err import CPLE_BaseError

MISLEADING = ("PROJ_DATA", "PROJ_LIB", "GDAL_DATA", "GDAL_DRIVER_PATH")
"""Set by conda, QGIS or a system GDAL, these lead our own GDAL and PROJ to data of another version."""

_SOURCE, _TARGET = "EPSG:4326", "EPSG:32631"
_LONLAT = (2.2945, 48.8582)
_EXPECTED = (448251.795, 5411932.678)
"""The Eiffel tower in metres of UTM zone 31 N; a test derives it from Krüger's series."""
_TOLERANCE_M = 0.01
_ERRORS = (rasterio.errors.RasterioError, CPLE_BaseError, ProjError, ValueError, OSError)


def misleading(environ: Mapping[str, str]) -> dict[str, str]:
    """Those of `MISLEADING` that are set, with their values."""
    return {name: environ[name] for name in MISLEADING if environ.get(name)}


def versions() -> str:
    """What is installed, in words."""
    return f"rasterio {rasterio.__version__}, GDAL {rasterio.__gdal_version__}, PROJ {rasterio.__proj_version__}"


def broken_transforms() -> list[str]:
    """One sentence for each library that can't transform a known point to within a centimetre; empty if all can.
    rasterio places tiles and pyproj writes exports, each with a PROJ of its own."""
    return [text for text in (_wrong("rasterio", *_by_rasterio()), _wrong("pyproj", *_by_pyproj())) if text]


def led_astray() -> str:
    """One line that names the variable which makes CRS look-ups fail here and says what to do; "" where none does.
    Looked at once for each set of values: where no such variable is set, it costs nothing."""
    return _led_astray(tuple(sorted(misleading(os.environ).items())))


@lru_cache(maxsize=8)
def _led_astray(variables: tuple[tuple[str, str], ...]) -> str:
    broken = broken_transforms() if variables else []
    if not broken:
        return ""
    named = ", ".join(f"{name}={value}" for name, value in variables)
    return f"{named} leads GDAL and PROJ to another installation's data ({broken[0]}); unset it and start again"


def _by_rasterio() -> tuple[float, float, str]:
    try:
        x, y = rasterio.warp.transform(_SOURCE, _TARGET, [_LONLAT[0]], [_LONLAT[1]])
    except _ERRORS as error:
        return 0.0, 0.0, str(error)
    return float(x[0]), float(y[0]), ""


def _by_pyproj() -> tuple[float, float, str]:
    try:
        x, y = Transformer.from_crs(_SOURCE, _TARGET, always_xy=True).transform(*_LONLAT)
    except _ERRORS as error:
        return 0.0, 0.0, str(error)
    return float(x), float(y), ""


def _wrong(library: str, x: float, y: float, error: str) -> str:
    what = f"{library} can't transform {_SOURCE} to {_TARGET}"
    if error:
        return f"{what}: {' '.join(error.split())[:160]}"
    off = max(abs(x - _EXPECTED[0]), abs(y - _EXPECTED[1]))
    return "" if off <= _TOLERANCE_M else f"{what}: it is {off:.3f} m off"
