"""Results, predictions and annotations of Label Studio ↔ regions, for every kind of control."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundlook.core.errors import InvalidInput
from groundlook.core.geometry import Box, Ellipse, Point, Polygon, Shape, WholeTile
from groundlook.core.mask import Mask
from groundlook.core.types import Control, LabelConfig, ModelVersion, Prediction, Region
from groundlook_adapters.labelstudio.config import parse_config
from groundlook_adapters.labelstudio.wire import (
    decode_annotation,
    decode_item,
    decode_region,
    decode_regions,
    encode_prediction,
    encode_region,
)

XML = """<View><Image name="image" value="$image"/>
<RectangleLabels name="label" toName="image"><Label value="House"/><Label value="Tree"/></RectangleLabels>
<RectangleLabels name="cars" toName="image"><Label value="Car"/></RectangleLabels>
<PolygonLabels name="outline" toName="image"><Label value="House"/><Label value="Field"/></PolygonLabels>
<EllipseLabels name="round" toName="image"><Label value="Tank"/></EllipseLabels>
<KeyPointLabels name="spot" toName="image"><Label value="Tree"/></KeyPointLabels>
<BrushLabels name="paint" toName="image"><Label value="Water"/></BrushLabels>
<Choices name="scene" toName="image" choice="multiple"><Choice value="Urban"/><Choice value="Coast"/></Choices>
<Choices name="roof" toName="image" perRegion="true"><Choice value="Flat"/></Choices></View>"""
CONFIG = parse_config(XML)
ONE = LabelConfig("label", "RectangleLabels", "image", "image", ("House", "Tree"))
SIZE = (120, 80)
MASK = Mask.of(np.add.outer(np.arange(80), np.arange(120)) % 7 < 3)
EVERY: list[tuple[Shape, str, str, str]] = [
    (Box(10, 20, 30, 15, 40), "Tree", "label", "rectanglelabels"),
    (Box(10, 20, 30, 15), "Car", "cars", "rectanglelabels"),
    (Polygon(((1, 2), (50, 3), (40, 60))), "Field", "outline", "polygonlabels"),
    (Ellipse(60, 40, 20, 10, 25), "Tank", "round", "ellipselabels"),
    (Point(7.25, 8.5), "Tree", "spot", "keypointlabels"),
    (MASK, "Water", "paint", "brushlabels"),
    (WholeTile(), "Coast", "scene", "choices"),
]
GOOD = {"x": 0, "y": 0, "width": 50, "height": 50, "rectanglelabels": ["House"]}


@pytest.mark.parametrize(("shape", "label", "control", "kind"), EVERY)
def test_every_region_goes_out_and_comes_back(shape: Shape, label: str, control: str, kind: str) -> None:
    region = Region(shape, label, 0.5, "abc", "prediction")
    item = json.loads(json.dumps(encode_region(region, CONFIG, SIZE, meta="osm:way/7")))
    assert (item["from_name"], item["to_name"], item["type"]) == (control, "image", kind)
    assert item["value"][kind] == [label]
    assert item["meta"] == {"text": ["osm:way/7"]}
    for size in (None, SIZE):
        (back,) = decode_regions([item], CONFIG, size)
        assert (back.label, back.score, back.uid, back.origin) == (
            label,
            0.5,
            "abc",
            "prediction",
        )
        assert type(back.shape) is type(shape)
        assert np.allclose(back.shape.corners(), shape.corners(), rtol=0, atol=1e-6)
    if shape is MASK:
        assert decode_region(item).shape == MASK


@given(st.integers(1, 8192), st.integers(1, 8192), st.lists(st.floats(0, 1), min_size=5, max_size=5))
def test_a_box_survives_the_round_trip(w: int, h: int, f: list[float]) -> None:
    box = Box(f[0] * w, f[1] * h, f[2] * w, f[3] * h, f[4] * 360)
    (back,) = decode_regions([encode_region(Region(box, "Tree"), ONE, (w, h))], ONE, (w, h))
    assert np.abs(back.shape.corners() - box.corners()).max() < 1e-6


def test_what_we_send_is_what_label_studio_takes() -> None:
    """Its own check of predictions, as it runs on import."""
    from label_studio_sdk.label_interface import LabelInterface

    regions = tuple(Region(shape, label, 0.5, f"r{k}") for k, (shape, label, _, _) in enumerate(EVERY))
    body = encode_prediction(Prediction(ModelVersion("m", "1"), regions, size=SIZE), CONFIG, 0.1, "m@1+w1")
    assert len(body["result"]) == len(EVERY)
    interface = LabelInterface(XML)
    assert interface.validate_prediction(body)
    body["result"][0]["value"]["x"] = 101
    assert not interface.validate_prediction(body), "the check does check"


def test_percent_is_of_each_side() -> None:
    item = encode_region(Region(Box(100, 100, 50, 50), "House"), CONFIG, (200, 400))
    sides = {"x": 50.0, "y": 25.0, "width": 25.0, "height": 12.5, "rotation": 0.0}
    assert item["value"] == {**sides, "rectanglelabels": ["House"]}
    assert (item["original_width"], item["original_height"], item["image_rotation"]) == (200, 400, 0)
    assert "meta" not in item
    assert "id" not in item


def test_the_control_that_has_the_label_is_taken() -> None:
    def control(shape: Shape, label: str) -> str:
        return str(encode_region(Region(shape, label), CONFIG, SIZE)["from_name"])

    assert control(Box(0, 0, 1, 1), "Car") == "cars"
    assert control(Box(0, 0, 1, 1), "Boat") == "label", "the first, for a label that no control has"


def test_a_box_becomes_a_polygon_where_there_is_no_control_for_boxes() -> None:
    config = LabelConfig(
        "o", "PolygonLabels", "image", "image", ("House",), (Control("o", "PolygonLabels", ("House",)),)
    )
    box = Box(10, 20, 30, 15, 40)
    item = encode_region(Region(box, "House"), config, SIZE)
    assert (item["type"], item["from_name"]) == ("polygonlabels", "o")
    (back,) = decode_regions([item], config)
    assert isinstance(back.shape, Polygon)
    assert np.allclose(back.shape.corners(), box.corners(), rtol=0, atol=1e-6)


def test_a_shape_that_no_control_takes_is_refused_by_name() -> None:
    with pytest.raises(
        InvalidInput, match=r"takes shapes of type Ellipse \(it has: RectangleLabels\); add <EllipseLabels>"
    ):
        encode_region(Region(Ellipse(1, 1, 1, 1), "House"), ONE, SIZE)


def test_a_prediction_says_its_version_and_place() -> None:
    prediction = Prediction(ModelVersion("yolo", "a1"), (Region(Box(0, 0, 10, 10), "Tree", 0.9),), size=(20, 20))
    body = encode_prediction(prediction, ONE, 0.25, "yolo@a1+w3")
    assert (body["score"], body["model_version"]) == (0.25, "yolo@a1+w3")
    assert body["result"][0]["score"] == 0.9


def test_an_empty_prediction_is_a_prediction() -> None:
    body = encode_prediction(Prediction(ModelVersion("yolo", "a1"), ()), ONE, 0.0, "v")
    assert body == {"result": [], "score": 0.0, "model_version": "v"}


def test_a_region_that_would_cost_the_prediction_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    shapes = (Box(0, 0, 10, 10), Box(25, 0, 4, 4), Ellipse(5, 5, 1, 1), Mask.of(np.eye(3)))
    prediction = Prediction(ModelVersion("m", "1"), tuple(Region(s, "Tree") for s in shapes), size=(20, 20))
    body = encode_prediction(prediction, ONE, 0.0, "v")
    assert len(body["result"]) == 1
    assert caplog.text.count("left out of a prediction") == 3


def test_the_classes_of_a_tile_are_one_item() -> None:
    regions = (Region(WholeTile(), "Urban", 0.9), Region(Point(1, 1), "Tree"), Region(WholeTile(), "Coast", 0.6))
    body = encode_prediction(Prediction(ModelVersion("m", "1"), regions, size=SIZE), CONFIG, 0.0, "v")
    assert [i["value"].get("choices") for i in body["result"]] == [["Urban", "Coast"], None]
    back = decode_regions(body["result"], CONFIG)
    assert [r.label for r in back] == ["Urban", "Coast", "Tree"]


def test_a_class_of_one_region_is_no_class_of_the_tile() -> None:
    shape = _item("rectanglelabels", GOOD)
    of_tile = {"id": "c1", "type": "choices", "from_name": "scene", "to_name": "image", "value": {"choices": ["Urban"]}}
    of_shape = {**of_tile, "id": shape["id"]}
    with_place = {**of_tile, "id": "x", "value": {"x": 0, "y": 0, "choices": ["Urban"]}}
    declared = {**of_tile, "id": "y", "from_name": "roof", "value": {"choices": ["Flat"]}}
    found = decode_regions([shape, of_tile, of_shape, with_place, declared], CONFIG)
    assert [(type(r.shape), r.label) for r in found] == [(Box, "House"), (WholeTile, "Urban")]


def test_a_nested_choice_goes_by_its_last_part() -> None:
    item = {"type": "choices", "from_name": "scene", "value": {"choices": [["Land", "Urban"], "Coast"]}}
    assert [r.label for r in decode_item(item)] == ["Urban", "Coast"]


def test_other_controls_are_left_out() -> None:
    foreign = {**_item("rectanglelabels", GOOD), "from_name": "something else"}
    rating = {"type": "rating", "from_name": "label", "value": {"rating": 3}}
    assert decode_regions([foreign, rating, "x", None, {"from_name": []}], CONFIG) == ()  # type: ignore[list-item]


def test_a_config_without_a_list_of_controls_has_its_own() -> None:
    assert len(decode_regions([_item("rectanglelabels", GOOD)], ONE)) == 1


def test_of_several_labels_the_first_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    (region,) = decode_regions([_item("rectanglelabels", {**GOOD, "rectanglelabels": ["Tree", "House"]})], CONFIG)
    assert region.label == "Tree"
    assert "has 2 labels" in caplog.text


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("rectanglelabels", {**GOOD, "x": "a"}),
        ("rectanglelabels", {**GOOD, "x": float("nan")}),
        ("rectanglelabels", {**GOOD, "x": None}),
        ("rectanglelabels", {**GOOD, "x": 10**400}),
        ("rectanglelabels", {"x": 0, "y": 0, "rectanglelabels": ["House"]}),
        ("rectanglelabels", {**GOOD, "rectanglelabels": []}),
        ("rectanglelabels", {**GOOD, "rectanglelabels": "House"}),
        ("rectanglelabels", {**GOOD, "rectanglelabels": 7}),
        ("rectanglelabels", []),
        ("rectanglelabels", None),
        ("polygonlabels", {"points": 5, "polygonlabels": ["House"]}),
        ("polygonlabels", {"points": [[1, 2, 3]] * 3, "polygonlabels": ["House"]}),
        ("ellipselabels", {"x": 1, "y": 1, "ellipselabels": ["Tank"]}),
        ("keypointlabels", {"x": 1, "keypointlabels": ["Tree"]}),
        ("brushlabels", {"rle": [1, 2, 3], "brushlabels": ["Water"]}),
        ("brushlabels", {"rle": 10**10, "brushlabels": ["Water"]}),
        ("brushlabels", {"touches": [], "brushlabels": ["Water"]}),
        ("choices", {"choices": []}),
        ("choices", {}),
    ],
)
def test_a_broken_region_is_named_and_the_others_are_kept(kind: str, value: Any) -> None:
    item, good = _item(kind, value), _item("rectanglelabels", GOOD)
    with pytest.raises(InvalidInput, match=f"region 'r1' is not a {kind}"):
        decode_region(item)
    item["id"] = "broken"
    assert len(decode_regions([item, good], CONFIG)) == 1


@pytest.mark.parametrize(
    "wrong", [{"original_width": 0}, {"original_width": None}, {"score": "x"}, {"score": float("nan")}]
)
def test_a_region_without_a_size_or_with_a_broken_score(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="region 'r1'"):
        decode_region({**_item("rectanglelabels", GOOD), **wrong})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["x", "y", "points", "rle"]), inner),
    max_leaves=8,
)
keys = ["x", "y", "width", "height", "rotation", "radiusX", "radiusY", "points", "rle", "format", "choices", "labels"]


@given(
    st.sampled_from([(kind, control) for _, _, control, kind in EVERY]),
    st.dictionaries(st.sampled_from(keys), json_values),
    st.dictionaries(
        st.sampled_from(["original_width", "original_height", "score", "id", "value", "origin"]), json_values
    ),
)
def test_no_json_stops_the_loop(where: tuple[str, str], value: dict[str, Any], more: dict[str, Any]) -> None:
    item = {**_item(where[0], {**value, where[0]: value.get("labels", ["House"])}), "from_name": where[1], **more}
    for region in decode_regions([item], CONFIG):
        assert np.isfinite(region.shape.corners()).all()


def test_a_label_that_the_config_lost_is_kept_and_noted(caplog: pytest.LogCaptureFixture) -> None:
    (region,) = decode_regions([_item("rectanglelabels", {**GOOD, "rectanglelabels": ["Boat"]})], CONFIG)
    assert region.label == "Boat"
    assert "'Boat' is not in the label config" in caplog.text


def test_an_annotation_of_the_api_and_one_of_a_webhook_say_the_same() -> None:
    body = {
        "id": 3,
        "created_at": "2026-11-20T12:00:00.500000Z",
        "lead_time": 2.5,
        "was_cancelled": False,
        "result": [_item("rectanglelabels", GOOD)],
    }
    by_api = decode_annotation({**body, "completed_by": {"id": 7, "email": "a@b.co"}}, 5, CONFIG, (200, 200))
    by_hook = decode_annotation({**body, "completed_by": 7}, 5, None)
    assert (by_api.task_id, by_api.author, by_api.lead_time) == (5, "a@b.co", 2.5)
    assert by_api.regions[0].shape == Box(0, 0, 100, 100), "in pixels of the tile, whatever size was shown"
    assert (by_hook.created, by_hook.author, by_hook.regions) == (by_api.created, "7", ())


def test_an_annotation_of_which_nothing_can_be_read_is_not_an_empty_one() -> None:
    body = {"id": 3, "created_at": "2026-11-20T12:00:00Z", "result": [_item("rectanglelabels", {**GOOD, "x": 1e300})]}
    with pytest.raises(InvalidInput, match=r"annotation 3 of task 5 has no region that can be read: .*1e\+300"):
        decode_annotation(body, 5, CONFIG)
    assert decode_annotation({**body, "was_cancelled": True}, 5, CONFIG).skipped
    body["result"].append(_item("rectanglelabels", GOOD))
    assert len(decode_annotation(body, 5, CONFIG).regions) == 1
    assert decode_annotation({**body, "result": []}, 5, CONFIG).regions == ()


def _item(kind: str, value: Any, width: int = 100, height: int = 100) -> dict[str, Any]:
    sizes = {"original_width": width, "original_height": height}
    return {"id": "r1", "type": kind, "from_name": "label", "to_name": "image", **sizes, "value": value}
