"""GDAL and PROJ where they are led astray."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from groundlook_adapters.rasters import environment

PROGRAM = "from groundlook_adapters.rasters.environment import broken_transforms; print('|'.join(broken_transforms()))"


def _utm(lon: float, lat: float, centre: float) -> tuple[float, float]:
    """Krüger's series to the fourth order for WGS84: an implementation that shares nothing with PROJ."""
    a, f = 6378137.0, 1 / 298.257223563
    n = f / (2 - f)
    alpha = (
        n / 2 - 2 * n**2 / 3 + 5 * n**3 / 16 + 41 * n**4 / 180,
        13 * n**2 / 48 - 3 * n**3 / 5 + 557 * n**4 / 1440,
        61 * n**3 / 240 - 103 * n**4 / 140,
        49561 * n**4 / 161280,
    )
    radius = a / (1 + n) * (1 + n**2 / 4 + n**4 / 64)
    phi, dlon, e = math.radians(lat), math.radians(lon - centre), math.sqrt(f * (2 - f))
    t = math.sinh(math.atanh(math.sin(phi)) - e * math.atanh(e * math.sin(phi)))
    xi, eta = math.atan2(t, math.cos(dlon)), math.atanh(math.sin(dlon) / math.sqrt(1 + t * t))
    east = eta + sum(c * math.cos(2 * j * xi) * math.sinh(2 * j * eta) for j, c in enumerate(alpha, 1))
    north = xi + sum(c * math.sin(2 * j * xi) * math.cosh(2 * j * eta) for j, c in enumerate(alpha, 1))
    return 500000 + 0.9996 * radius * east, 0.9996 * radius * north


def test_the_known_point_is_right() -> None:
    assert pytest.approx(_utm(*environment._LONLAT, 3.0), abs=0.001) == environment._EXPECTED


def test_transforms_work_here() -> None:
    assert environment.broken_transforms() == []
    assert "GDAL" in environment.versions()


def test_a_transform_that_is_off_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_LONLAT", (2.2945, 48.8583))  # 11 m further north
    told = environment.broken_transforms()
    assert len(told) == 2
    assert all("11.1" in text and "m off" in text for text in told)


def test_proj_data_without_a_database_is_told(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PROJ_DATA": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "rasterio can't transform EPSG:4326 to EPSG:32631" in done.stdout


def test_only_what_is_set_misleads() -> None:
    environ = {"PROJ_DATA": "/conda/share/proj", "GDAL_DATA": "", "PATH": "/bin"}
    assert environment.misleading(environ) == {"PROJ_DATA": "/conda/share/proj"}


OPEN = """
import sys
from pathlib import Path
from groundlook.core.errors import GroundlookError
from groundlook_adapters.rasters.reading.read import open_scene
path = Path(sys.argv[1])
try:
    print(open_scene(path, [path.parent]).georef.crs)
except GroundlookError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize("variable", ["PROJ_DATA", "PROJ_LIB"])
def test_a_hostile_variable_is_named_by_the_scene(
    tmp_path: Path, make_tif: Callable[..., Path], rgb: NDArray[np.uint8], variable: str
) -> None:
    path = make_tif(rgb)
    (tmp_path / "proj.db").write_bytes(b"not a database")
    clean = {k: v for k, v in os.environ.items() if k not in environment.MISLEADING}
    done = [
        subprocess.run([sys.executable, "-c", OPEN, str(path)], env=env, capture_output=True, text=True, check=True)
        for env in ({**clean, variable: str(tmp_path)}, clean)
    ]
    (line,) = done[0].stdout.splitlines()
    assert line.startswith(
        f"InvalidRaster {path} can't be placed: {variable}={tmp_path} leads GDAL and PROJ to another"
    )
    assert line.endswith("unset it and start again")
    assert (done[1].stdout, done[1].stderr) == ("EPSG:32611\n", "")
