"""The three places the demo can label, behind one interface: a made-up scene, and two sets of real imagery."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
import shapely

from groundlook.core.errors import InvalidInput, NotFound
from groundlook.core.geo import TileRef
from groundlook.core.geometry import Box, Polygon, Shape, envelope
from groundlook.core.types import Region

_VISIBLE = 0.25
_SMALLEST_PX = 6.0  # of what a tile's edge left over
_SPECK_PX = 3.0  # of a whole thing: a car is 6 px wide, and all of them are drawn or none
_COLOURS = {"Building": "#e6550d", "Tree": "#31a354", "Vehicle": "#3182bd"}

Truth = Callable[[TileRef], Sequence[Region]]
"""Every region that may touch a tile, in pixels of the *tile*, not yet cut to it."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Pictures to ingest and what is really in them.

    `paths`: files for `groundlook ingest` with `tile_size` and `overlap` px and, beyond these, `ingest_options`
    (command-line words). `block`: side of a held-out block in units of the CRS.
    """

    name: str
    paths: tuple[Path, ...]
    labels: tuple[str, ...]
    config_xml: str
    tile_size: int
    overlap: int
    block: float
    truth: Truth = field(repr=False)
    ingest_options: tuple[str, ...] = ()

    def truth_for(self, tile: TileRef) -> list[Region]:
        """What a careful person would draw on this tile, in tile pixels: shapes end at the tile's edge; what shows
        less than a quarter of itself, or less than 6 px of what was cut, is left out."""
        found = (_cut(region, tile.size) for region in self.truth(tile))
        return [region for region in found if region is not None]


def load_dataset(name: str, work: Path, seed: int = 7, size: int = 2560) -> Dataset:
    """`scene` (made under `work`; `seed` and `size` in px are its), `oam` or `neon` (real imagery, read in place).

    Raises InvalidInput for another name, NotFound where the real imagery is not on this machine.
    """
    from groundlook.demo import places

    makers: dict[str, Callable[[], Dataset]] = {
        "scene": lambda: places.scene(work, seed, size),
        "oam": lambda: places.oam(real_data("oam_buildings")),
        "neon": lambda: places.neon(real_data("neon_trees")),
    }
    if name not in makers:
        raise InvalidInput(f"no demo data {name!r}: choose {', '.join(makers)}")
    return makers[name]()


def real_data(folder: str) -> Path:
    """A folder of the real data sets: under GROUNDLOOK_DATA, else `shared/data` beside the checkout or beside the
    working directory. Raises NotFound."""
    chosen = os.environ.get("GROUNDLOOK_DATA")
    checkout = Path(__file__).resolve().parents[3]
    roots = [Path(chosen)] if chosen else [p.parent / "shared" / "data" for p in (Path.cwd(), checkout)]
    for root in roots:
        if (root / folder).is_dir():
            return (root / folder).absolute()
    raise NotFound(
        f"{folder} is not in {' or '.join(str(r) for r in dict.fromkeys(roots))}: point GROUNDLOOK_DATA at the folder "
        "that holds it, or use the made-up scene (--data scene), which needs nothing"
    )


def config_xml(labels: Sequence[str]) -> str:
    """A Label Studio config: rectangles with these labels on one image."""
    rows = "".join(
        f"    <Label value={quoteattr(label)} background={quoteattr(_COLOURS.get(label, '#756bb1'))}/>\n"
        for label in labels
    )
    return (
        '<View>\n  <Image name="image" value="$image" zoom="true"/>\n'
        f'  <RectangleLabels name="label" toName="image">\n{rows}  </RectangleLabels>\n</View>\n'
    )


def _cut(region: Region, size: tuple[int, int]) -> Region | None:
    """The part on the tile: a turned box that reaches over the edge becomes the upright box of what is left."""
    whole = shapely.Polygon(region.shape.corners())
    x0, y0, x1, y1 = envelope(region.shape)
    if x0 >= 0 and y0 >= 0 and x1 <= size[0] and y1 <= size[1]:
        return region if min(_sides(region.shape)) >= _SPECK_PX else None
    part = whole.intersection(shapely.box(0, 0, *size))
    if part.is_empty or part.area < _VISIBLE * whole.area:
        return None
    left, top, right, bottom = part.bounds
    if min(right - left, bottom - top) < _SMALLEST_PX:
        return None
    return Region(Box(left, top, right - left, bottom - top), region.label)


def _sides(shape: Shape) -> tuple[float, float]:
    if isinstance(shape, Box):
        return shape.width, shape.height
    x0, y0, x1, y1 = envelope(shape)
    return x1 - x0, y1 - y0


def shifted(shape: Shape, dx: float, dy: float) -> Shape:
    """The same shape, `dx`, `dy` px further."""
    if isinstance(shape, Box):
        return Box(shape.x + dx, shape.y + dy, shape.width, shape.height, shape.rotation)
    return Polygon(tuple((float(x), float(y)) for x, y in shape.corners() + np.array([dx, dy])))
