"""What controls take, in metres on the ground."""

from __future__ import annotations

from collections.abc import Sequence

from groundlook.core.geo import TileRef
from groundlook.core.plan import Route
from groundlook.core.types import Control, Region
from groundlook_adapters.labelstudio.controls import fit_region, target
from groundlook_adapters.rasters.tiling.footprint import ground_size


class ControlShapes:
    """Implements `core.ports.Shapes`."""

    def target(self, controls: Sequence[Control], region: Region) -> Control | None:
        """See `core.ports.Shapes`."""
        return target(controls, region)

    def fit(
        self, region: Region, control: Control, route: Route, place: TileRef | None, size: tuple[int, int]
    ) -> list[Region]:
        """See `core.ports.Shapes`. A tolerance in metres counts as pixels on a picture without a place."""
        gsd = (ground_size(place) if place is not None and place.georef is not None else None) or 1.0
        return fit_region(region, control, route, route.tolerance / gsd, size)
