"""A large export needs disk, not memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import json, sys
from pathlib import Path
import psutil
from groundlook.core.geo import GeoRef, TileRef
from groundlook.core.geometry import Box
from groundlook.core.types import Region
from groundlook_adapters.vectors.export.gis import Feature, Merging, Reviewed, export

count, form, merged, path = int(sys.argv[1]), sys.argv[2], sys.argv[3] == "merged", Path(sys.argv[4])
place = GeoRef("EPSG:32611", (0.1, 0.0, 321_882.2, 0.0, -0.1, 4_096_689.2))

def items(count):
    for number in range(count // 100):
        column, row = number % 64 * 896, number // 64 * 896
        tile = TileRef("/data/a.tif", "e", (column, row, 1024, 1024), place.window(column, row), "s")
        for i in range(100):
            box = Box(i % 10 * 100 + 7, i // 10 * 100 + 7, 40, 30)
            yield Feature(Region(box, "tree", uid=f"{number}.{i}"), tile, number, number, "ann", 1.7e9, 3.0)
        yield Reviewed(tile, number, False, "ann", 100)

export(path.with_name("warm" + path.suffix), form, items(1000), merging=Merging(merged))
before = psutil.Process().memory_info().rss
report = export(path, form, items(count), merging=Merging(merged))
# not ru_maxrss: that is never less than what the process that started this one held
(peak,) = (line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
grown = int(peak) * 1024 - before
print(json.dumps({"written": report.written, "merged": report.merged, "grown_mb": grown / 2**20}))
"""


def run(count: int, form: str, merged: bool, path: Path) -> dict[str, float]:
    words = [sys.executable, "-c", CODE, str(count), form, "merged" if merged else "apart", str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    print(report)
    return report


@pytest.mark.parametrize(
    ("form", "name", "merged"),
    [("gpkg", "o.gpkg", True), ("geoparquet", "o.parquet", False)],
)
def test_fifty_thousand_regions_fit_in_a_corner_of_memory(tmp_path: Path, form: str, name: str, merged: bool) -> None:
    report = run(50_000, form, merged, tmp_path / name)
    assert report["written"] < 45_000 if merged else report["written"] == 50_000
    assert report["grown_mb"] < 150


@pytest.mark.slow
@pytest.mark.parametrize("name", ["o.gpkg", "o.parquet", "o.fgb", "o.geojson"])
def test_a_million_regions_fit_in_a_gigabyte(tmp_path: Path, name: str) -> None:
    forms = {".gpkg": "gpkg", ".parquet": "geoparquet", ".fgb": "flatgeobuf", ".geojson": "geojson"}
    report = run(1_000_000, forms[Path(name).suffix], True, tmp_path / name)
    assert report["written"] > 700_000
    assert report["merged"] > 100_000
    assert report["grown_mb"] < 1000
