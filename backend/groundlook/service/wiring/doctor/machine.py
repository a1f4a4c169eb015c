"""The machine: GDAL and PROJ, torch and ultralytics."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from groundlook.models.yolo.device import describe
from groundlook.service.finding import Finding, fail, fine, warn
from groundlook_adapters.rasters.environment import broken_transforms, misleading, versions


def gdal(environ: Mapping[str, str]) -> Finding:
    """Whether coordinates can be transformed, and whether variables of another installation are in the way."""
    broken, set_ = broken_transforms(), misleading(environ)
    names = " ".join(set_)
    told = ", ".join(f"{name}={value}" for name, value in set_.items())
    if broken:
        remedy = f"unset {names}" if names else "install rasterio and pyproj again: pip install --force-reinstall"
        return fail("; ".join(broken) + (f" ({told})" if told else ""), remedy)
    if told:
        return warn(f"{told}: another installation's data, of whatever version", f"unset {names} for Groundlook")
    return fine(f"{versions()}; EPSG:4326 to EPSG:32631 is right")


def networks(environ: Mapping[str, str]) -> Finding:
    """Whether the yolo extra is installed, and what it computes on."""
    return fine(describe())


MACHINE_CHECKS: tuple[tuple[str, str, Callable[[Mapping[str, str]], Finding]], ...] = (
    ("gdal and proj", "install rasterio and pyproj again: pip install --force-reinstall rasterio pyproj", gdal),
    ("yolo", "install the extra: pip install 'groundlook[yolo]'", networks),
)
"""Name, remedy where the check itself breaks, check."""
