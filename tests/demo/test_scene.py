"""The made-up scene: repeatable, georeferenced, and its truth is where the picture shows it."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import rasterio

from groundlook.core.geometry import Box, envelope
from groundlook.demo.scene import GSD, LABELS, SceneTruth, make_scene

SIZE = 1024


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> SceneTruth:
    return make_scene(tmp_path_factory.mktemp("scene") / "scene.tif", SIZE, seed=3)


def _pixels(scene: SceneTruth) -> np.ndarray:
    with rasterio.open(scene.path) as source:
        return source.read().transpose(1, 2, 0)


def test_file_is_a_georeferenced_cog_on_the_tile_grid(scene: SceneTruth) -> None:
    with rasterio.open(scene.path) as source:
        assert (source.width, source.height, source.count) == (SIZE, SIZE, 3)
        assert source.dtypes == ("uint8",) * 3
        assert source.crs.to_string() == "EPSG:32631"
        assert tuple(source.transform)[:6] == pytest.approx(scene.georef.transform)
        assert source.block_shapes[0] == (256, 256)
        assert source.overviews(1)
    side = 256 * GSD
    assert scene.georef.transform[2] / side == pytest.approx(round(scene.georef.transform[2] / side))
    assert scene.georef.transform[5] / side == pytest.approx(round(scene.georef.transform[5] / side))


def test_same_seed_same_scene_other_seed_another(tmp_path: Path, scene: SceneTruth) -> None:
    again = make_scene(tmp_path / "again.tif", SIZE, seed=3)
    other = make_scene(tmp_path / "other.tif", SIZE, seed=4)
    assert again.regions == scene.regions
    assert (_pixels(again) == _pixels(scene)).all()
    assert other.regions != scene.regions


def test_every_label_occurs_and_touches_the_scene(scene: SceneTruth) -> None:
    count = Counter(r.label for r in scene.regions)
    assert set(count) == set(LABELS)
    assert count["Building"] > 15
    assert count["Tree"] > 60
    assert count["Vehicle"] > 15
    for region in scene.regions:
        x0, y0, x1, y1 = envelope(region.shape)
        assert x1 > 0
        assert y1 > 0
        assert x0 < SIZE
        assert y0 < SIZE


def test_buildings_are_turned_boxes_and_their_truth_holds_a_roof(scene: SceneTruth) -> None:
    """What lies inside a box differs from the ring around it for almost every building: the truth is in place."""
    pixels = _pixels(scene).astype(float)
    ys, xs = np.mgrid[0:SIZE, 0:SIZE]
    told_apart, seen, turned = 0, 0, 0
    for region in (r for r in scene.regions if r.label == "Building"):
        box = region.shape
        assert isinstance(box, Box)
        assert abs(box.rotation) <= 45
        x0, y0, x1, y1 = envelope(box)
        if x0 < 12 or y0 < 12 or x1 > SIZE - 12 or y1 > SIZE - 12:
            continue
        turned += box.rotation != 0
        area = np.s_[int(y0) - 10 : int(y1) + 10, int(x0) - 10 : int(x1) + 10]
        t = np.radians(box.rotation)
        dx, dy = xs[area] - box.x, ys[area] - box.y
        u, v = dx * np.cos(t) + dy * np.sin(t), dy * np.cos(t) - dx * np.sin(t)
        inside = (u > 2) & (u < box.width - 2) & (v > 2) & (v < box.height - 2)
        outside = (u < -2) | (u > box.width + 2) | (v < -2) | (v > box.height + 2)
        gap = np.abs(np.median(pixels[area][inside], axis=0) - np.median(pixels[area][outside], axis=0)).max()
        told_apart += gap > 12
        seen += 1
    assert seen > 10
    assert turned > seen / 2
    assert told_apart / seen > 0.85


def test_full_size_is_made_in_seconds(tmp_path: Path) -> None:
    start = time.monotonic()
    made = make_scene(tmp_path / "full.tif")
    assert time.monotonic() - start < 60  # about 6 s; wide, because other tests share the machine
    assert made.size == (2560, 2560)
