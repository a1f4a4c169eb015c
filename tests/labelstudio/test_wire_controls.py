"""Regions that name their control: several images, numbers, ratings, one choice or many; and what the editor makes of a
smart tool's answer."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from label_studio_sdk.label_interface import LabelInterface

from groundlook.core.errors import InvalidInput
from groundlook.core.geometry import Box, Ellipse, Point, Polygon, WholeTile
from groundlook.core.mask import Mask
from groundlook.core.types import ModelVersion, Prediction, Region
from groundlook_adapters.labelstudio.config import parse_config
from groundlook_adapters.labelstudio.wire import decode_annotation, decode_regions, encode_prediction, encode_region

XML = """<View><Image name="after" value="$new"/><Image name="before" value="$old"/>
<RectangleLabels name="boxes" toName="after"><Label value="House"/></RectangleLabels>
<PolygonLabels name="outlines" toName="after"><Label value="House"/></PolygonLabels>
<BrushLabels name="paint" toName="after"><Label value="House"/></BrushLabels>
<KeyPointLabels name="click" toName="after" smart="true"><Label value="House"/></KeyPointLabels>
<EllipseLabels name="round" toName="before"><Label value="Tank"/></EllipseLabels>
<BrushLabels name="gone" toName="before"><Label value="House"/></BrushLabels>
<Choices name="one" toName="after"><Choice value="Town"/><Choice value="Coast"/></Choices>
<Choices name="some" toName="before" choice="multiple"><Choice value="Town"/><Choice value="Coast"/></Choices>
<Number name="count" toName="after" min="0" max="500"/>
<Rating name="sure" toName="after" maxRating="4"/>
<Number name="share" toName="before"/></View>"""
CONFIG = parse_config(XML)
SIZE, FRAME = (120, 80), (60, 50)
VERSION = ModelVersion("m", "1")


def mask(size: tuple[int, int]) -> Mask:
    return Mask.of(np.add.outer(np.arange(size[1]), np.arange(size[0])) % 7 < 3)


FIRST = (
    Region(Box(10, 20, 30, 15, 40), "House", 0.5, "r1", control="boxes"),
    Region(Polygon(((1, 2), (50, 3), (40, 60))), "House", 0.5, "r2", control="outlines"),
    Region(mask(SIZE), "House", 0.5, "r3", control="paint"),
    Region(Point(3.5, 4.25), "House", 0.5, "r4", control="click"),
    Region(WholeTile(), "Coast", 0.5, "r5", control="one"),
    Region(WholeTile(), "17", 0.5, "r6", control="count"),
    Region(WholeTile(), "4", 0.5, "r7", control="sure"),
)
FURTHER = (
    Region(Ellipse(30, 25, 20, 10, 25), "Tank", 0.5, "f1", control="round", frame=FRAME),
    Region(mask(FRAME), "House", 0.5, "f2", control="gone", frame=FRAME),
    Region(WholeTile(), "Coast", 0.5, "f3", control="some"),
    Region(WholeTile(), "-0.25", 0.5, "f4", control="share"),
)


def written(*regions: Region) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        json.dumps(encode_prediction(Prediction(VERSION, regions, size=SIZE), CONFIG, 0.1, "v"))
    )
    return found


def test_every_control_of_every_image_there_and_back() -> None:
    body = written(*FIRST, *FURTHER)
    assert LabelInterface(XML).validate_prediction(body, return_errors=True) == []
    assert [i["from_name"] for i in body["result"]] == [r.control for r in (*FIRST, *FURTHER)]
    assert [i["to_name"] for i in body["result"]] == ["after"] * len(FIRST) + ["before"] * len(FURTHER)
    named = {"count", "sure"}
    first = decode_regions(body["result"], CONFIG, SIZE)
    same([replace(r, control=r.control if r.control in named else "") for r in FIRST], first)
    same(FURTHER, decode_regions(body["result"], CONFIG, image="before"))
    assert decode_regions(body["result"], CONFIG, SIZE, image="after") == first
    assert decode_regions(body["result"], CONFIG, image="elsewhere") == decode_regions([], CONFIG)


def test_a_further_image_says_its_size_as_it_likes() -> None:
    item = {**encode_region(FURTHER[0], CONFIG, SIZE), "original_width": "60.0", "original_height": 50.0}
    (back,) = decode_regions([item], CONFIG, image="before")
    assert back.frame == FRAME


def same(regions: Any, back: Any) -> None:
    assert len(regions) == len(back)
    for sent, got in zip(regions, back, strict=True):
        assert replace(got, shape=sent.shape) == replace(sent, origin=got.origin)
        assert type(got.shape) is type(sent.shape)
        assert np.allclose(got.shape.corners(), sent.shape.corners(), rtol=0, atol=1e-9)
        if isinstance(sent.shape, Mask):
            assert got.shape == sent.shape


def test_one_choice_is_the_best_and_several_are_all() -> None:
    def said(control: str) -> list[list[str]]:
        regions = [
            Region(WholeTile(), label, score, control=control)
            for label, score in (("Town", 0.2), ("Coast", 0.7), ("Town", None))
        ]
        return [item["value"]["choices"] for item in written(*regions)["result"]]

    assert said("one") == [["Coast"]]
    assert said("some") == [["Town", "Coast"]]


def test_one_number_for_each_control() -> None:
    items = written(*(Region(WholeTile(), n, s, control="count") for n, s in (("3", 0.1), ("5", 0.2))))["result"]
    assert [i["value"] for i in items] == [{"number": 5}]


@pytest.mark.parametrize(
    ("control", "text", "value"),
    [
        ("count", "7", {"number": 7}),
        ("count", "7.0", {"number": 7}),
        ("count", "0", {"number": 0}),
        ("share", "1e21", {"number": 10**21}),
        ("share", "0.1", {"number": 0.1}),
        ("sure", "1", {"rating": 1}),
    ],
)
def test_a_number_is_a_number(control: str, text: str, value: dict[str, float]) -> None:
    item = encode_region(Region(WholeTile(), text, control=control), CONFIG, SIZE)
    assert (item["type"], item["value"]) == (next(iter(value)), value)
    assert type(next(iter(item["value"].values()))) is type(next(iter(value.values())))


@pytest.mark.parametrize(
    ("control", "text", "says"),
    [
        ("count", "many", "Number 'count' takes a number, not 'many'"),
        ("count", "501", "Number 'count' takes 0 to 500, not 501"),
        ("count", "nan", "takes a number, not 'nan'"),
        ("share", "inf", "takes a number, not 'inf'"),
        ("sure", "0", "Rating 'sure' takes 1 to 4, not 0"),
        ("sure", "5", "Rating 'sure' takes 1 to 4, not 5"),
        ("sure", "2.5", "Rating 'sure' takes whole stars, not 2.5"),
    ],
)
def test_a_number_that_nobody_could_submit_is_not_sent(
    control: str, text: str, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    region = Region(WholeTile(), text, control=control)
    with pytest.raises(InvalidInput, match=says):
        encode_region(region, CONFIG, SIZE)
    assert written(region)["result"] == []
    assert says in caplog.text


@pytest.mark.parametrize("number", ["7", None, True, float("nan"), float("inf"), [7]])
def test_a_number_that_is_none_is_broken(number: Any) -> None:
    item = {"id": "n", "type": "number", "from_name": "count", "to_name": "after", "value": {"number": number}}
    body = {"id": 3, "created_at": "2026-11-20T12:00:00Z", "result": [item]}
    with pytest.raises(InvalidInput, match="region 'n' is not a number of Label Studio"):
        decode_annotation(body, 5, CONFIG)


def test_a_number_of_one_region_is_none_of_the_tile(caplog: pytest.LogCaptureFixture) -> None:
    shape = encode_region(FIRST[0], CONFIG, SIZE)
    number = {"id": "n", "type": "number", "from_name": "count", "to_name": "after", "value": {"number": 3.0}}
    of_shape = {**number, "id": shape["id"]}
    with_place = {**number, "value": {"number": 3, "x": 1, "y": 1, "width": 2, "height": 2}}
    elsewhere = {**number, "from_name": "boxes"}
    mixed_up = {**number, "type": "rating", "value": {"rating": 3}}
    found = decode_regions([shape, number, of_shape, with_place, elsewhere, mixed_up], CONFIG, SIZE)
    assert [(r.label, r.control) for r in found] == [("House", ""), ("3", "count")]
    assert "not in the label config" not in caplog.text


def test_a_control_is_named_or_refused() -> None:
    with pytest.raises(InvalidInput, match=r"no control 'roof' that is answered \(it has: boxes, outlines, .*share\)"):
        encode_region(Region(Box(0, 0, 1, 1), "House", control="roof"), CONFIG, SIZE)
    with pytest.raises(InvalidInput, match="EllipseLabels 'round' takes no Box; fit the region to it first"):
        encode_region(Region(Box(0, 0, 1, 1), "Tank", control="round"), CONFIG, SIZE)
    with pytest.raises(InvalidInput, match="Number 'count' takes no Box"):
        encode_region(Region(Box(0, 0, 1, 1), "7", control="count"), CONFIG, SIZE)
    with pytest.raises(InvalidInput, match="a mask of 120 × 80 px on an image of 60 × 50 px"):
        encode_region(Region(mask(SIZE), "House", control="gone", frame=FRAME), CONFIG, SIZE)
    item = encode_region(Region(Box(0, 0, 12, 8), "House", control="outlines"), CONFIG, SIZE)
    assert (item["from_name"], item["value"]["points"][2]) == ("outlines", [10.0, 10.0])


def test_an_accepted_answer_of_a_smart_tool_is_one_region(caplog: pytest.LogCaptureFixture) -> None:
    """Beside the region that we sent, the editor keeps one of the smart tool's control: the same place, its label."""
    for region, control in ((FIRST[2], "click"), (FIRST[0], "click"), (FIRST[1], "click"), (FIRST[1], "boxes")):
        item = encode_region(region, CONFIG, SIZE)
        kind = {"click": "keypointlabels", "boxes": "rectanglelabels"}[control]
        value = {key: v for key, v in item["value"].items() if key != item["type"]}
        echo = {**item, "type": kind, "from_name": control, "value": {**value, kind: ["House"]}}
        for result in ([item, echo], [echo, item]):
            same([replace(region, control="")], decode_regions(result, CONFIG, SIZE))
    assert "left out" not in caplog.text


def test_regions_without_an_id_have_no_echoes() -> None:
    items = [encode_region(replace(r, uid=""), CONFIG, SIZE) for r in FIRST[:4]]
    assert len(decode_regions(items, CONFIG, SIZE)) == 4
