"""The ground of many tiles at once is that of each."""

from __future__ import annotations

import pytest
import shapely

from groundlook.core.geo import GeoRef, TileRef
from groundlook_adapters.rasters.tiling import ground as module
from groundlook_adapters.rasters.tiling.ground import ground, grounds


def tile(crs: str, x: float, y: float, metres: float = 0.5, size: tuple[int, int] = (256, 200)) -> TileRef:
    return TileRef("/s.tif", "e", (0, 0, *size), GeoRef(crs, (metres, 0, x, 0, -metres, y)))


PLAIN = [tile("EPSG:32631", 500_000 + 128.0 * i, 5_400_000 - 100.0 * (i % 7)) for i in range(300)]
ODD = {
    "of no place": TileRef("/s.png", "e", (0, 0, 9, 9)),
    "of an engineer's own grid": tile('LOCAL_CS["site",UNIT["metre",1]]', 0, 0),
    "beyond the map": tile("EPSG:32631", 1e30, 0),
    "wide and curved": tile("EPSG:32631", 300_000, 7_000_000, 400.0),
    "at the antimeridian": tile("EPSG:32660", 833_900, 10_000),
    "around the pole": tile("EPSG:3031", -5e4, 5e4, 400.0),
    "near the pole": tile("EPSG:3031", 2e5, 2e5),
    "upside down": TileRef("/s.tif", "e", (0, 0, 64, 64), GeoRef("EPSG:32631", (0.5, 0, 5e5, 0, 0.5, 5e6))),
    "turned": TileRef("/s.tif", "e", (0, 0, 64, 64), GeoRef("EPSG:32631", (0.4, 0.3, 5e5, 0.3, -0.4, 5e6))),
    "in degrees": tile("EPSG:4326", 7.0, 47.0, 1e-5),
    "west of the antimeridian in degrees": tile("EPSG:4326", 179.9995, 10.0, 1e-5),
}


@pytest.mark.parametrize("kind", ODD)
def test_the_ground_of_many_is_that_of_each(kind: str) -> None:
    tiles = [*PLAIN[:5], ODD[kind], *PLAIN[5:9]]
    for one, together in zip(map(ground, tiles), grounds(tiles), strict=True):
        assert (one is None) == (together is None)
        assert one is None or shapely.equals_exact(one, together, 1e-9)


def test_plain_tiles_are_placed_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where one of them is nowhere."""
    alone: list[TileRef] = []
    monkeypatch.setattr(module, "ground", alone.append)
    assert all(grounds(PLAIN))
    assert alone == []
    grounds([*PLAIN, ODD["beyond the map"]])
    assert alone == [ODD["beyond the map"]]
    assert grounds([]) == []
