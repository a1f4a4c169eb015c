"""A dataset on disk: whole or not at all, under safe names, with everything left out counted."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput, InvalidRaster
from groundlook.core.geo import TileRef
from groundlook.core.geometry import Box, Point, Polygon, Shape, WholeTile
from groundlook.core.mask import Mask
from groundlook_adapters.vectors.datasets import Form, export_dataset
from tests.vectors.dataset_tiles import LABELS, PICTURE_FORMS, coco, grey, tile, write


def test_pictures_are_those_that_were_given(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    write(tmp_path / "d", "yolo", tile(size=(60, 40)), picture=lambda _: picture, image_format="png")
    (file,) = (tmp_path / "d" / "images" / "train").iterdir()
    assert np.array_equal(cv2.imread(str(file))[:, :, ::-1], picture)


@pytest.mark.parametrize(
    "source",
    [
        "../../etc/passwd",
        "/data/a b/\u202egnp.tif",
        "https://host/x/scene.tif?token=secret",
        "/data/" + "x" * 300 + ".tif",
        "/data/CON.tif",
        "/data/..",
        "C:\\scenes\\a.tif",
        "/data/a\nb\x00.tif",
        "",
    ],
)
def test_no_name_leads_out_of_the_folder(tmp_path: Path, source: str) -> None:
    for form in PICTURE_FORMS:
        write(tmp_path / form, form, tile(Box(1, 1, 5, 5), source=source, split="../up"))
        names = [p.name for p in (tmp_path / form).rglob("*")]
        assert all(name.isascii() and len(name) < 140 and "secret" not in name for name in names)
        assert "secret" not in "".join(p.read_text() for p in (tmp_path / form).rglob("*.[jx][sm]*"))
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(PICTURE_FORMS)


def test_tiles_of_one_name_stay_apart(tmp_path: Path) -> None:
    same = [tile(Box(1, 1, 5, 5), task=1), tile(task=2), tile(source="/other/scene.tif", task=3), tile(task=2)]
    report = write(tmp_path / "d", "yolo", *same)
    images = {p.stem for p in (tmp_path / "d" / "images" / "train").iterdir()}
    assert len(images) == report.images == 4
    assert images == {p.stem for p in (tmp_path / "d" / "labels" / "train").iterdir()}
    again = write(tmp_path / "e", "yolo", *same)
    assert again.listing.read_text() == report.listing.read_text()


def test_a_picture_that_fails_does_not_stop_the_rest(tmp_path: Path) -> None:
    def picture(ref: TileRef) -> NDArray[np.uint8]:
        if ref.window[0] == 5:
            raise InvalidRaster("the file is gone; ingest it again")
        return grey(ref)[:-1] if ref.window[0] == 6 else grey(ref)

    tiles = [tile(Box(1, 1, 5, 5), at=(i, 0), task=i) for i in (4, 5, 6)]
    report = write(tmp_path / "d", "coco", *tiles, picture=picture)
    assert (report.tiles, report.images, report.regions) == (3, 1, 1)
    assert report.skipped == {"tile_unreadable": 2}
    assert "task 5" in report.problems[0]
    assert "the file is gone" in report.problems[0]
    assert "(499, 1000, 3)" in report.problems[1]


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    shapes: list[Shape | tuple[Shape, str]] = [
        (Box(1, 1, 5, 5), "plane"),
        Box(1, 1, 0, 5),
        Polygon(((1, 1), (math.nan, 4), (3, 3))),
        Mask.of(np.ones((10, 10), dtype=bool)),
        Mask.of(np.zeros((500, 1000), dtype=bool)),
        Mask(1000, 500, np.array([[0, 10**9]])),
        Point(1e9, 3),
        (WholeTile(), "plane"),
    ]
    report = write(tmp_path / "d", "coco", tile(*shapes))
    reasons = {"label_not_in_config": 2, "nothing_left": 4, "mask_of_another_size": 1, "outside_tile": 1}
    assert (report.regions, report.skipped) == (0, reasons)


@pytest.mark.parametrize("form", PICTURE_FORMS)
def test_nothing_is_there_until_all_is(tmp_path: Path, form: Form) -> None:
    def broken() -> Any:
        yield tile(Box(1, 1, 5, 5))
        assert not (tmp_path / "d").exists()
        raise RuntimeError("cancelled")

    with pytest.raises(RuntimeError, match="cancelled"):
        export_dataset(tmp_path / "d", form, broken(), LABELS, grey)
    assert list(tmp_path.iterdir()) == []


def test_only_a_dataset_of_ours_is_replaced(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.txt").write_text("years of work")
    with pytest.raises(InvalidInput, match="exists"):
        write(home, "coco", tile())
    with pytest.raises(InvalidInput, match="not a dataset that we wrote"):
        write(home, "coco", tile(), overwrite=True)
    assert (home / "thesis.txt").read_text() == "years of work"
    write(tmp_path / "d", "coco", tile())
    report = write(tmp_path / "d", "yolo", tile(), overwrite=True)
    assert not (tmp_path / "d" / "annotations").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["d", "home"]
    with pytest.raises(InvalidInput, match="not a folder"):
        write(tmp_path / "missing" / "d", "coco", tile())
    lines = report.listing.read_text().splitlines()
    assert len(lines) == report.files
    for line in lines:
        digest, name = line.split("  ")
        assert hashlib.sha256((tmp_path / "d" / name).read_bytes()).hexdigest() == digest


def test_forms_and_picture_formats_are_checked_first(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="use coco, yolo"):
        write(tmp_path / "d", "tfrecord", tile())  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="use jpg"):
        write(tmp_path / "d", "coco", tile(), image_format="../x")
    assert list(tmp_path.iterdir()) == []


def test_no_tiles_are_a_dataset_too(tmp_path: Path) -> None:
    seen: list[float] = []
    for form in PICTURE_FORMS:
        write(tmp_path / form, form, progress=lambda share, _: seen.append(share))
    assert coco(tmp_path / "coco")["images"] == []
    assert seen[-1] == 1.0
