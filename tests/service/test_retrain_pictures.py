"""Where a retraining that knows a URL and a token only has its pictures from, and which of them it holds out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundlook.core.errors import InvalidImage, InvalidRaster, NotAllowed
from groundlook.core.types import Project, Task
from groundlook.service.wiring.parts import TaskImages, decode_task

from .conftest import CONFIG, House

PROJECT = Project(7, "http://127.0.0.1:1", "token", CONFIG)


def side(image: Any, **more: Any) -> str:
    return decode_task({"id": 1, "data": {"image": image, **more}}, PROJECT).split


def test_one_in_five_foreign_pictures_is_held_out_whatever_else_is_there() -> None:
    sides = [side(f"https://example.org/{i}.jpg") for i in range(1000)]
    assert 160 < sides.count("val") < 240
    assert set(sides) == {"train", "val"}
    assert sides == [side(f"https://example.org/{i}.jpg", site="alps") for i in range(1000)]


@given(st.sampled_from(["train", "val", "margin"]), st.integers(0, 30))
def test_what_the_data_says_goes(said: str, number: int) -> None:
    assert side(f"https://example.org/{number}.jpg", split=said) == said


@given(st.text(), st.text(alphabet="0123456789abcdef", min_size=8, max_size=8), st.integers(1, 10**6))
def test_a_picture_that_is_uploaded_again_has_the_same_side(name: str, mark: str, project: int) -> None:
    assert side(f"/data/upload/{project}/{mark}-{name}.png") == side(f"/data/upload/1/00000000-{name}.png")


@pytest.mark.parametrize("image", ["", None, 5])
def test_a_task_without_a_picture_proves_nothing(image: Any) -> None:
    assert side(image) == "train"


@pytest.fixture
def away(house: House) -> Task:
    """A tile of a raster that may not be read here, and that its service shows."""
    task = decode_task(house.tile_tasks(1)[0], house.project)
    return replace(task, image=f"{house.host}/good.png")


def elsewhere(house: House, *hosts: str) -> TaskImages:
    settings = replace(house.wired.settings, roots=(), image_hosts=hosts)
    return TaskImages(settings, house.wired.client)


def test_a_tile_whose_raster_lies_elsewhere_is_read_as_its_service_shows_it(house: House, away: Task) -> None:
    other = replace(house.project, url="http://127.0.0.1:1")
    images = elsewhere(house, house.host.removeprefix("http://"))
    tile = images.read(other, away)
    images.close()
    shown = cv2.imdecode(np.frombuffer(house.files.files["/good.png"], np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert (tile.pixels == shown).all()
    assert tile.ref == away.tile, "its place is known all the same"


def test_a_host_that_is_not_allowed_is_not_asked(house: House, away: Task) -> None:
    images = elsewhere(house)
    with pytest.raises(NotAllowed, match="GROUNDLOOK_ROOTS"):
        images.read(replace(house.project, url="http://127.0.0.1:1"), away)
    images.close()
    assert house.files.asked == []


def test_another_picture_than_the_tile_is_refused(house: House, away: Task) -> None:
    house.files.files["/good.png"] = cv2.imencode(".png", np.zeros((32, 64, 3), np.uint8))[1].tobytes()
    images = elsewhere(house)
    with pytest.raises(InvalidImage, match="is no picture of its tile"):
        images.read(house.project, away)
    images.close()


def test_a_raster_that_is_here_and_was_changed_is_not_read_by_its_url(house: House) -> None:
    task = replace(decode_task(house.tile_tasks(1)[0], house.project), image=f"{house.host}/good.png")
    path = house.folder / "scene.tif"
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(InvalidRaster):
        house.wired.images.read(house.project, task)
    assert house.files.asked == []
