"""Reviewed tiles → COCO, YOLO, YOLO-OBB and Pascal VOC, as the tools that train on them read them."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from groundlook.core.geometry import Box, Ellipse, Point, Polygon, WholeTile
from groundlook.core.mask import Mask
from groundlook_adapters.vectors.datasets.coco import column_counts
from groundlook_adapters.vectors.datasets.yolo import quoted
from tests.vectors.dataset_tiles import (
    CORNERS,
    LABELS,
    PICTURE_FORMS,
    TURNED,
    UTM,
    WIDE,
    coco,
    decoded,
    numbers,
    tile,
    voc_objects,
    write,
    yolo_lines,
)

# ---- the turned rectangle ----


def test_the_turned_rectangle_is_right_in_every_format(tmp_path: Path) -> None:
    for form in PICTURE_FORMS:
        write(tmp_path / form, form, tile(TURNED))

    (annotation,) = coco(tmp_path / "coco")["annotations"]
    assert np.reshape(annotation["segmentation"][0], (4, 2)) == pytest.approx(np.array(CORNERS), abs=1e-3)
    assert annotation["area"] == pytest.approx(30_000)
    assert annotation["bbox"] == pytest.approx([350, 150, 309.808, 236.603], abs=1e-3)
    assert (annotation["category_id"], annotation["iscrowd"]) == (1, 0)

    (box,) = yolo_lines(tmp_path / "yolo")
    assert box == pytest.approx([0, 0.504904, 0.536603, 0.309808, 0.473205], abs=1e-5)

    (turned,) = yolo_lines(tmp_path / "yolo-obb")
    assert turned[0] == 0
    assert np.reshape(turned[1:], (4, 2)) * WIDE == pytest.approx(np.array(CORNERS), abs=1e-3)

    (thing,) = voc_objects(tmp_path / "voc")
    assert numbers(thing.find("bndbox")) == [351, 151, 660, 387]  # from 1, both ends inclusive
    cx, cy, w, h, angle = numbers(thing.find("robndbox"))
    assert (cx, cy) == pytest.approx((504.904, 268.301), abs=1e-3)
    assert (w, h, angle) == pytest.approx((300, 100, math.radians(30)), abs=1e-5)


def test_where_label_studios_own_converter_is_wrong(tmp_path: Path) -> None:
    """The same rectangle through label-studio-sdk: COCO turns it in percent space, YOLO and VOC don't turn it at all,
    and YOLO-OBB leaves out an upright one whose `rotation` is not written."""
    theirs = sdk_exports(tmp_path / "sdk", {"rotation": 30})
    for form in PICTURE_FORMS:
        write(tmp_path / form, form, tile(TURNED))
    x0, y0 = np.min(CORNERS, axis=0)
    x1, y1 = np.max(CORNERS, axis=0)
    true = shapely.box(x0, y0, x1, y1)

    # COCO: a box that is up to 50 px off, and no outline
    (annotation,) = json.loads((theirs / "coco" / "result.json").read_text())["annotations"]
    bx, by, bw, bh = annotation["bbox"]
    assert annotation["segmentation"] == []
    assert overlap(true, shapely.box(bx, by, bx + bw, by + bh)) < 0.95
    ox, oy, ow, oh = coco(tmp_path / "coco")["annotations"][0]["bbox"]
    assert overlap(true, shapely.box(ox, oy, ox + ow, oy + oh)) > 0.9999

    # YOLO: not turned
    line = only(theirs / "yolo" / "labels").split()
    assert overlap(true, centred([float(v) for v in line[1:]])) < 0.5
    assert overlap(true, centred(yolo_lines(tmp_path / "yolo")[0][1:])) > 0.9999

    # VOC: not turned, truncated to int
    found = ET.fromstring(only(theirs / "voc" / "Annotations"))  # noqa: S314
    vx0, vy0, vx1, vy1 = numbers(found.find("object/bndbox"))
    assert (vx0, vy0, vx1, vy1) == (400, 150, 700, 250)
    assert overlap(true, shapely.box(vx0, vy0, vx1, vy1)) < 0.5
    px0, py0, px1, py1 = numbers(voc_objects(tmp_path / "voc")[0].find("bndbox"))
    assert overlap(true, shapely.box(px0 - 1, py0 - 1, px1, py1)) > 0.99

    # YOLO-OBB: a rectangle that says nothing of its rotation is dropped; here it is written
    silent = sdk_exports(tmp_path / "silent", {})
    assert only(silent / "yolo-obb" / "labels") == ""
    write(tmp_path / "upright", "yolo-obb", tile(Box(400, 150, 300, 100)))
    (upright,) = yolo_lines(tmp_path / "upright")
    assert upright == pytest.approx([0, 0.4, 0.3, 0.7, 0.3, 0.7, 0.5, 0.4, 0.5])


def sdk_exports(folder: Path, extra: dict[str, float]) -> Path:
    """What label-studio-sdk writes of the rectangle, all four formats."""
    from label_studio_sdk.converter import Converter

    folder.mkdir()
    value = {"x": 40, "y": 30, "width": 30, "height": 20, "rectanglelabels": ["car"], **extra}
    region = {
        "id": "a",
        "type": "rectanglelabels",
        "from_name": "label",
        "to_name": "image",
        "original_width": 1000,
        "original_height": 500,
        "value": value,
    }
    task = {"id": 7, "data": {"image": "scene.jpg"}, "annotations": [{"id": 1, "completed_by": 1, "result": [region]}]}
    (folder / "tasks.json").write_text(json.dumps([task]))
    config = (
        '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
        '<Label value="car"/></RectangleLabels></View>'
    )
    converter = Converter(config, str(folder), download_resources=False)
    tasks = str(folder / "tasks.json")
    converter.convert_to_coco(tasks, str(folder / "coco"), is_dir=False)
    converter.convert_to_yolo(tasks, str(folder / "yolo"), is_dir=False)
    converter.convert_to_yolo(tasks, str(folder / "yolo-obb"), is_dir=False, is_obb=True)
    converter.convert_to_voc(tasks, str(folder / "voc"), is_dir=False)
    return folder


def only(folder: Path) -> str:
    """What the one file of a folder says."""
    (file,) = folder.iterdir()
    return file.read_text()


def overlap(a: Any, b: Any) -> float:
    return float(a.intersection(b).area / a.union(b).area)


def centred(fractions: Sequence[float]) -> Any:
    cx, cy, w, h = np.array(fractions) * [*WIDE, *WIDE]
    return shapely.box(cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)


# ---- COCO ----


@given(arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_runs_down_the_columns_give_the_mask_again(pixels: NDArray[np.bool_]) -> None:
    mask = Mask.of(pixels)
    counts = column_counts(mask)
    assert sum(counts) == pixels.size
    assert all(n > 0 for n in counts[1:])
    assert np.array_equal(decoded({"size": list(pixels.shape), "counts": counts}), pixels)


def test_coco_masks_keep_holes_and_parts(tmp_path: Path) -> None:
    pixels = np.zeros((500, 1000), dtype=bool)
    pixels[100:200, 300:420] = True
    pixels[130:150, 330:350] = False
    pixels[490:, 990:] = True
    write(tmp_path / "d", "coco", tile((Mask.of(pixels), "boat")))
    (annotation,) = coco(tmp_path / "d")["annotations"]
    assert np.array_equal(decoded(annotation["segmentation"]), pixels)
    assert annotation["area"] == pixels.sum()
    assert annotation["bbox"] == [300, 100, 700, 400]
    assert (annotation["category_id"], annotation["iscrowd"]) == (2, 0)


def test_coco_outlines_of_every_shape(tmp_path: Path) -> None:
    triangle = Polygon(((10, 10), (110, 10), (10, 60)))
    eight = Polygon(((0, 0), (100, 100), (100, 0), (0, 100)))
    write(tmp_path / "d", "coco", tile(triangle, Ellipse(500, 250, 100, 50, 20), eight))
    first, ellipse, bow = coco(tmp_path / "d")["annotations"]
    assert first["segmentation"] == [[10, 10, 110, 10, 10, 60]]
    assert (first["area"], first["bbox"]) == (2500, [10, 10, 100, 50])
    assert ellipse["area"] == pytest.approx(math.pi * 100 * 50, rel=2e-3)
    assert len(ellipse["segmentation"][0]) == 288
    assert len(bow["segmentation"]) == 2  # both halves
    assert bow["area"] == pytest.approx(5000)


def test_coco_cuts_at_the_edge_and_says_so(tmp_path: Path) -> None:
    report = write(tmp_path / "d", "coco", tile(Box(-50, 480, 100, 100), Box(2000, 0, 5, 5)))
    (annotation,) = coco(tmp_path / "d")["annotations"]
    assert (annotation["bbox"], annotation["area"]) == ([0, 480, 50, 20], 1000)
    assert (report.clipped, report.skipped, report.regions) == (1, {"outside_tile": 1}, 1)


def test_coco_keypoints_have_a_file_of_their_own(tmp_path: Path) -> None:
    write(tmp_path / "d", "coco", tile((Point(12.5, 30.25), "tree"), Box(1, 1, 5, 5)))
    (box,) = coco(tmp_path / "d")["annotations"]
    assert "keypoints" not in box
    points = coco(tmp_path / "d", "keypoints")
    (point,) = points["annotations"]
    assert point["keypoints"] == [12.5, 30.25, 2]
    assert point["num_keypoints"] == 1
    assert point["bbox"] == [12, 30, 1, 1]
    category = {c["id"]: c for c in points["categories"]}[point["category_id"]]
    assert (category["name"], category["keypoints"]) == ("tree", ["tree"])
    assert points["images"] == coco(tmp_path / "d")["images"]
    assert box["id"] != point["id"]


def test_coco_images_know_their_place_and_their_classes(tmp_path: Path) -> None:
    write(tmp_path / "d", "coco", tile((WholeTile(), "boat"), at=(1000, 500)), tile(at=(0, 0), split="val"))
    train, val = coco(tmp_path / "d"), coco(tmp_path / "d", split="val")
    (image,) = train["images"]
    assert image["image_labels"] == [{"category_id": 2, "name": "boat"}]
    assert image["geo"]["crs"] == "EPSG:32631"
    assert image["geo"]["transform"] == list(UTM.window(1000, 500).transform)
    assert image["geo"]["tile_uid"] == tile(at=(1000, 500)).tile.uid
    assert image["geo"]["scene"] == "scene.tif"
    assert (tmp_path / "d" / "images" / "train" / image["file_name"]).is_file()
    assert [c["name"] for c in train["categories"]] == LABELS
    assert [c["id"] for c in val["categories"]] == [1, 2, 3]
    assert (len(val["images"]), val["annotations"]) == (1, [])  # reviewed, empty
    assert val["images"][0]["id"] != image["id"]


def test_a_hole_in_coco_stays_a_hole(tmp_path: Path) -> None:
    # a ring that touches itself along a seam: an outline with a hole
    frame = Polygon(((0, 0), (90, 0), (90, 90), (0, 90), (0, 0), (30, 30), (30, 60), (60, 60), (60, 30), (30, 30)))
    write(tmp_path / "d", "coco", tile(frame))
    (annotation,) = coco(tmp_path / "d")["annotations"]
    assert annotation["area"] == 90 * 90 - 30 * 30
    filled = decoded(annotation["segmentation"])
    assert filled.sum() == 90 * 90 - 30 * 30
    assert not filled[45, 45]


# ---- YOLO ----


sides = st.floats(1, 400)
boxes = st.builds(Box, st.floats(-200, 1100), st.floats(-200, 600), sides, sides, st.floats(-360, 360))
FRAME = shapely.box(0, 0, *WIDE)


@settings(max_examples=60)
@given(boxes)
def test_yolo_values_are_what_ultralytics_accepts(tmp_path_factory: pytest.TempPathFactory, box: Box) -> None:
    folder = tmp_path_factory.mktemp("yolo")
    for form in ("yolo", "yolo-obb"):
        write(folder / form, form, tile(box))
    outline = shapely.Polygon(box.corners())
    seen = outline.intersection(FRAME)
    upright, turned = yolo_lines(folder / "yolo"), yolo_lines(folder / "yolo-obb")
    assert len(upright) == len(turned) == (1 if seen.area > 0 else 0)
    for line, corners in zip(upright, turned, strict=True):
        assert all(0 <= v <= 1 for v in [*line, *corners])
        assert centred(line[1:]).bounds == pytest.approx(seen.bounds, abs=1e-3)
        found = np.reshape(corners[1:], (4, 2)) * WIDE
        if FRAME.covers(outline):
            assert found == pytest.approx(box.corners(), abs=1e-4)
        else:
            assert shapely.Polygon(found).buffer(1e-3).intersection(seen).area >= 0.5 * seen.area


def test_yolo_obb_gives_every_shape_its_smallest_rectangle(tmp_path: Path) -> None:
    diamond = Polygon(((100, 50), (150, 100), (100, 150), (50, 100)))
    pixels = np.zeros((500, 1000), dtype=bool)
    pixels[20:40, 30:90] = True
    ellipse = Ellipse(500, 250, 80, 20, 40)
    report = write(tmp_path / "d", "yolo-obb", tile(diamond, Mask.of(pixels), ellipse, Point(3, 3), WholeTile()))
    lines = [shapely.Polygon(np.reshape(v[1:], (4, 2)) * WIDE) for v in yolo_lines(tmp_path / "d")]
    assert overlap(lines[0], shapely.Polygon(diamond.points)) > 0.9999
    assert overlap(lines[1], shapely.box(30, 20, 90, 40)) > 0.9999
    assert lines[2].area == pytest.approx(160 * 40, rel=1e-4)
    assert report.skipped == {"point_has_no_area": 1, "class_of_whole_tile": 1}


def test_yolo_knows_its_splits_and_its_names(tmp_path: Path) -> None:
    hostile = ["car", "no", "a: b # c", 'quo"te\n- x', "3.14", "\u2028\x85\ud800", "東京 🚗"]
    tiles = [tile(Box(1, 1, 5, 5), split=s, at=(i, 0)) for i, s in enumerate(("train", "val", "margin"))]
    report = write(tmp_path / "d", "yolo", *tiles, tile(at=(9, 9)), labels=hostile)
    body = yaml.safe_load((tmp_path / "d" / "data.yaml").read_text())
    assert list(body["names"].values()) == [*hostile[:5], "\u2028\x85\ufffd", hostile[6]]
    assert (body["train"], body["val"], "path" in body) == ("images/train", "images/val", False)
    assert "margin" not in (tmp_path / "d" / "data.yaml").read_text()
    assert report.splits == {"train": 2, "val": 1, "margin": 1}
    assert (tmp_path / "d" / "labels" / "train" / "scene_9_9_1000_500.txt").read_text() == ""
    for image in (tmp_path / "d" / "images").rglob("*.jpg"):
        assert (tmp_path / "d" / "labels" / image.parent.name / f"{image.stem}.txt").is_file()


@given(st.text())
def test_yaml_reads_any_label_as_it_was(label: str) -> None:
    assert yaml.safe_load(f"names:\n  0: {quoted(label)}\n") == {"names": {0: label}}


# ---- VOC ----


def test_voc_counts_pixels_from_one(tmp_path: Path) -> None:
    write(tmp_path / "d", "voc", tile(Box(0, 0, 10, 20), Box(990, 490, 30, 30), Box(5.4, 5.4, 0.1, 0.1)))
    upright, cut, tiny = voc_objects(tmp_path / "d")
    assert numbers(upright.find("bndbox")) == [1, 1, 10, 20]
    assert upright.find("robndbox") is None
    assert numbers(cut.find("bndbox")) == [991, 491, 1000, 500]
    assert [o.findtext("truncated") for o in (upright, cut)] == ["0", "1"]
    assert numbers(tiny.find("bndbox")) == [6, 6, 6, 6]


def test_voc_escapes_labels_and_lists_its_sets(tmp_path: Path) -> None:
    labels = ["<a>&\"'\x00]]>", "b"]
    write(tmp_path / "d", "voc", tile((Box(1, 1, 9, 9), labels[0])), tile(split="val", at=(5, 5)), labels=labels)
    file = tmp_path / "d" / "Annotations" / "scene_0_0_1000_500.xml"
    root = ET.fromstring(file.read_text())  # noqa: S314
    assert root.findtext("object/name") == "<a>&\"'\ufffd]]>"
    assert (tmp_path / "d" / "JPEGImages" / str(root.findtext("filename"))).is_file()
    sets = tmp_path / "d" / "ImageSets" / "Main"
    assert (sets / "train.txt").read_text() == "scene_0_0_1000_500\n"
    assert (sets / "val.txt").read_text() == "scene_5_5_1000_500\n"
    assert [numbers(root.find("size"))] == [[1000, 500, 3]]
