"""A stand-in for Label Studio's API, and the command line in front of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from typer.testing import CliRunner, Result

from groundlook.core.geo import TileRef
from groundlook.core.types import Control, LabelConfig, Project, Task
from groundlook.service.cli import app
from groundlook.service.wiring.parts import decode_task
from groundlook_adapters.rasters.tiling.geotile import tile_ref

CONFIG = LabelConfig(
    "label", "RectangleLabels", "image", "picture", ("House",), (Control("label", "RectangleLabels", ("House",)),)
)
PLACE = rasterio.Affine(0.5, 0, 500_000, 0, -0.5, 5_400_000)


@dataclass
class Studio:
    """Keeps the tasks that are imported, as JSON; `batches`: how many came at a time."""

    data: list[dict[str, Any]] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)

    def tasks(self, project: Project) -> list[Task]:
        return [decode_task({"id": i + 1, "data": d}, project) for i, d in enumerate(self.data)]

    def import_tasks(self, project: Project, tasks: Sequence[Any]) -> int:
        self.data += json.loads(json.dumps(list(tasks)))
        self.batches.append(len(tasks))
        return len(tasks)

    def tiles(self) -> list[TileRef]:
        return [tile for tile in map(tile_ref, self.data) if tile is not None]


@dataclass
class Desk:
    """Where commands are given."""

    folder: Path
    home: Path
    studio: Studio

    def run(self, *words: str | Path) -> Result:
        line = ["ingest", *map(str, words), "--project", "7"]
        return CliRunner().invoke(app, line, catch_exceptions=False)

    def report(self, *words: str | Path, code: int = 0) -> dict[str, Any]:
        result = self.run(*words, "--json")
        assert result.exit_code == code, result.output
        body: dict[str, Any] = json.loads(result.stdout)
        return body

    def raster(self, name: str, pixels: Any = None, crs: Any = "EPSG:32631", place: Any = PLACE, **more: Any) -> Path:
        if pixels is None:
            pixels = np.random.default_rng(0).integers(1, 255, (3, 512, 512), dtype=np.uint8)
        count, height, width = pixels.shape
        path = self.folder / name
        with rasterio.open(
            path, "w", driver="GTiff", count=count, width=width, height=height, dtype=pixels.dtype, crs=crs,
            transform=place, **more,
        ) as out:  # fmt: skip
            out.write(pixels)
        return path
