"""Pictures behind smart tools: equal keys, equal pixels, whatever happens to the file."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import rasterio

from groundlook.core.errors import InvalidRaster
from groundlook.core.types import Task
from groundlook.service.wiring.parts import decode_task

from .conftest import House


def test_another_image_under_the_same_url_is_another_picture(house: House) -> None:
    task = Task(1, f"{house.host}/good.png")
    before = house.wired.images.picture(house.project, task)
    assert house.wired.images.picture(house.project, task).key == before.key
    house.files.files["/good.png"] = cv2.imencode(".png", np.full((64, 64, 3), 9, np.uint8))[1].tobytes()
    after = house.wired.images.picture(house.project, task)
    assert after.key != before.key
    assert after.size == before.size
    assert (after.read().pixels == 9).all()


def test_pictures_of_equal_bytes_and_other_shape_are_told_apart(house: House) -> None:
    for name, shape in (("/wide.png", (4, 8, 3)), ("/high.png", (8, 4, 3))):
        house.files.files[name] = cv2.imencode(".png", np.zeros(shape, np.uint8))[1].tobytes()
    keys = {
        house.wired.images.picture(house.project, Task(1, house.host + name)).key for name in ("/wide.png", "/high.png")
    }
    assert len(keys) == 2


def test_a_raster_that_was_replaced_is_refused_before_anything_is_answered_from_memory(house: House) -> None:
    task = decode_task(house.tile_tasks(1)[0], house.project)
    picture = house.wired.images.picture(house.project, task)
    assert picture.size == (64, 64)
    assert picture.read().pixels.shape == (64, 64, 3)
    path = house.folder / "scene.tif"
    with rasterio.open(path) as old:
        profile, pixels = old.profile, old.read()
    path.unlink()
    with rasterio.open(path, "w", **profile) as new:
        new.write(255 - pixels)
    with pytest.raises(InvalidRaster):
        house.wired.images.picture(house.project, task)
