"""One layer of one vector file, and what is said of files that can't be used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from groundlook.core.errors import InvalidInput

Form = Literal["GPKG", "GeoJSON", "ESRI Shapefile", "FlatGeobuf", "Parquet"]


@dataclass(frozen=True, slots=True)
class Source:
    """One layer of one file. `crs`: authority code or WKT; `fields`: its columns; `count`: its features, -1 where
    that is not known without reading. `geometry`: the geometry column of a GeoParquet."""

    path: Path
    form: Form
    layer: str
    crs: str
    fields: tuple[str, ...]
    count: int
    geometry: str = ""

    @property
    def name(self) -> str:
        """ "buildings.gpkg:houses": what a person calls it."""
        return f"{self.path.name}:{self.layer}"

    @property
    def key(self) -> str:
        """The same for the same layer of the same file, on this machine."""
        return f"{self.path}:{self.layer}"


def no_crs(path: Path) -> InvalidInput:
    """What is said of a file that does not say where it is."""
    return InvalidInput(f"{path} has no CRS, so nobody knows where it is; say which it is with --crs EPSG:…")


def broken(path: Path, error: BaseException) -> InvalidInput:
    """What is said of a file that can't be read (on)."""
    reason = " ".join(str(error).split())[:200]
    return InvalidInput(f"{path} can't be read ({reason}); check it with ogrinfo, or write it anew")


def choose(path: Path, names: Sequence[str], wanted: str | None) -> str:
    """The layer `wanted`, or the only one. Raises InvalidInput that names those there are."""
    there = ", ".join(names[:20])
    if not names:
        raise InvalidInput(f"{path} can't be read: it has no layer with geometry; check it with ogrinfo")
    if wanted is not None:
        if wanted not in names:
            raise InvalidInput(f"{path} has no layer {wanted!r} with geometry; its layers: {there}")
        return wanted
    if len(names) != 1:
        raise InvalidInput(f"{path} has {len(names)} layers ({there}); choose one with --layer")
    return names[0]
